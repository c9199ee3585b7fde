"""A loop with scripted surroundings, and a panel that commands it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from celeriac import Celery
from celeriac.brokers.base import BrokerAccessError, Delivery, SideChannel
from celeriac.events.sender import EventSender
from celeriac.worker.connection import Reconnector
from celeriac.worker.delivery import Hooks
from celeriac.worker.loop import Loop
from celeriac.worker.remote.panel import Dispatcher
from celeriac.worker.remote.state import ControlState
from celeriac.worker.revoked import RevokedIds
from celeriac.worker.shutdown import ShutdownSignals
from celeriac_protocol.lamport import LamportClock
from celeriac_protocol.message import Message, Properties
from tests.compat.worker.doubles import ScriptedBroker, ScriptedPool, SimulatedClock

JSON = frozenset({"application/json"})
NODE = "w@h"


class ScriptedSide(SideChannel):
    """Hands out requests; remembers replies and events."""

    display_url = "scripted://"
    poll_interval_s = 0.0

    def __init__(self) -> None:
        self.requests: list[Delivery] = []
        self.replies: list[tuple[str, str, dict[str, Any]]] = []
        self.events: list[tuple[str, Any]] = []
        self.declared: list[str] = []
        self.connects = 0
        self.fail_next: Exception | None = None
        self.refuse: Exception | None = None

    def _check(self) -> None:
        if self.fail_next is not None:
            error, self.fail_next = self.fail_next, None
            raise error

    def connect(self) -> None:
        self.connects += 1
        if self.refuse is not None:
            raise self.refuse

    def disconnect(self) -> None:
        self.requests.clear()

    def filenos(self) -> Iterable[int]:
        return ()

    def fetch(self, limit: int) -> list[Delivery]:
        self._check()
        taken, self.requests = self.requests[:limit], self.requests[limit:]
        return taken

    def reply(self, message: Message, *, exchange: str, routing_key: str) -> None:
        self._check()
        self.replies.append((exchange, routing_key, json.loads(message.body)))

    def publish_event(self, message: Message, *, routing_key: str) -> None:
        self._check()
        self.events.append((routing_key, json.loads(message.body)))

    def declare(self, queue: Any) -> None:
        if queue.name == "refused":
            raise BrokerAccessError("406")
        self.declared.append(queue.name)

    def heartbeat(self) -> float | None:
        return None

    def after_fork_in_child(self) -> None:
        self.requests.clear()


def request(method: str, *, reply: bool = True, **body: Any) -> Delivery:
    """Return a control request as it arrives."""
    if reply:
        body.update(ticket="t1", reply_to={"exchange": "reply.x", "routing_key": "k"})
    raw = json.dumps({"method": method, **body}).encode()
    properties = Properties(content_type="application/json", content_encoding="utf-8")
    return Delivery("fanout", Message({"clock": 100}, properties, raw))


class Bench:
    """What a command works on."""

    def __init__(self, *, task_events: bool = False, has_sender: bool = True) -> None:
        self.app = Celery("bench", broker="memory://", set_as_current=False)

        def add(x: int, y: int) -> int:
            return x + y

        self.app.task(add, name="proj.add")
        self.app.finalize()
        self.broker, self.pool, self.clock = ScriptedBroker(), ScriptedPool(), SimulatedClock()
        self.revoked, self.side = RevokedIds(), ScriptedSide()
        self.loop = Loop(
            broker=self.broker,
            pool=self.pool,
            queues=[self.app.amqp.queues["celery"]],
            tasks=self.app.tasks,
            prefetch=8,
            clock=self.clock,
            reconnector=Reconnector(),
            hooks=Hooks(),
            accept=JSON,
            revoked=self.revoked,
        )
        self.sender = EventSender(NODE, LamportClock()) if has_sender else None
        self.worker = SimpleNamespace(
            app=self.app,
            hostname=NODE,
            shutdown=ShutdownSignals(say=lambda text: None),
            prefetch_multiplier=4,
            uptime_s=12.9,
            autoscaler=None,
        )
        self.state = ControlState(
            self.worker,  # type: ignore[arg-type]
            self.loop,
            revoked=self.revoked,
            side=self.side,
            sender=self.sender,
            task_events=task_events,
        )
        self.dispatcher = Dispatcher(self.state, accept=JSON)
        self.loop.turn()

    def run(self, method: str, **arguments: Any) -> Any:
        return self.dispatcher.run(method, arguments)

    def deliver(self, tag: int, **headers: Any) -> None:
        self.broker.deliver(tag, headers)
        self.loop.turn()

    def accept(self, *numbers: int) -> None:
        for number in numbers:
            self.pool.accept(number)
        self.loop.turn()

    def close(self) -> None:
        self.loop.waiter.close()
