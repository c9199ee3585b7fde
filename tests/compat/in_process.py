"""A worker without processes, broker and waiting: runs what a `RecordingPublisher` keeps, in order."""

from __future__ import annotations

from celeriac.app.app import Celery
from celeriac.worker.execute import Executor
from celeriac.worker.payload import Payload
from celeriac_protocol.message import DeliveryInfo, Message
from tests.compat.doubles import RecordingPublisher, Sent

__all__ = ["run_all"]


def run_all(app: Celery, publisher: RecordingPublisher) -> list[Sent]:
    """Run messages, and those that running them publishes, until none are left; return all of them."""
    execute = Executor(app, "celery@here", accept=frozenset({"application/json"}))
    done: list[Sent] = []
    waiting = publisher.take()
    while waiting:
        sent = waiting.pop(0)
        done.append(sent)
        message = Message(
            sent.message.headers,
            sent.message.properties,
            sent.message.body,
            DeliveryInfo(exchange="", routing_key=sent.routing_key),
        )
        execute.run(Payload.of(message), lambda: None)
        waiting += publisher.take()
    return done
