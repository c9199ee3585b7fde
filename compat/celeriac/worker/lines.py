"""The log lines that people and tools read, in one place. Spec: control-and-events#6.1, results-and-workflows#4.8."""

from __future__ import annotations

import logging
from typing import Any

from celeriac.app import log_lines
from celeriac_protocol.errors import Reason, RemoteProtocolError, abbreviate
from celeriac_protocol.message import Message

__all__ = [
    "broken",
    "discarded",
    "hard_limit",
    "is_logging_received",
    "lost",
    "received",
    "refused",
    "soft_limit",
    "unknown_task",
]

strategy = logging.getLogger("celery.worker.strategy")
consumer = logging.getLogger("celery.worker.consumer")
request = logging.getLogger("celery.worker.request")


def received(name: str, task_id: str, data: dict[str, Any]) -> None:
    """A task arrived."""
    context = {"id": task_id, "name": name, **data}
    strategy.info(log_lines.LOG_RECEIVED, context, extra={"data": context})


def is_logging_received() -> bool:
    """Tell whether `received` would write anything."""
    return strategy.isEnabledFor(logging.INFO)


def unknown_task(name: str, task_id: str, message: Message) -> None:
    """No task of this name."""
    consumer.error(
        "Received unregistered task of type %r.\n"
        "The message has been ignored and discarded.\n\n"
        "Did you remember to import the module containing this task?\n"
        "Or maybe you're using relative imports?\n\n"
        "id: %s\nThe full contents of the message body was:\n%s (%sb)\n\n"
        "The full contents of the message headers:\n%s\n\nThe delivery info for this task is:\n%s",
        name,
        task_id,
        abbreviate(message.body, 1024),
        len(message.body),
        abbreviate(dict(message.headers), 2048),
        message.delivery_info,
    )


def broken(error: RemoteProtocolError, message: Message) -> None:
    """A message could not be read; says where, what was expected and what was found."""
    refused(error.reason, error.field, str(error), message)


def refused(reason: Reason, field: str, text: str, message: Message) -> None:
    """The same, for a refusal told by the pool."""
    context = f"[reason:{reason} field:{field} queue:{message.delivery_info.routing_key!r}]"
    if reason is Reason.UNKNOWN_MESSAGE:
        consumer.warning(
            "Received and deleted unknown message.  Wrong destination?!?\n\n%s %s\n"
            "The full contents of the message was: %s",
            text,
            context,
            abbreviate(message.body, 1024),
        )
    elif reason is Reason.UNDECODABLE_BODY:
        consumer.critical(
            "Can't decode message body: %s [type:%r encoding:%r headers:%s] %s",
            text,
            message.properties.content_type,
            message.properties.content_encoding,
            abbreviate(dict(message.headers), 1024),
            context,
        )
    else:
        consumer.error(
            "Received invalid task message: %s %s\nThe message has been ignored and discarded.",
            text,
            context,
        )


def discarded(name: str, task_id: str, stamps: object = None) -> None:
    """A revoked or expired task will not run."""
    if stamps:
        request.info(
            "Discarding revoked task: %s[%s] (revoked by header: %s)", name, task_id, stamps
        )
    else:
        request.info("Discarding revoked task: %s[%s]", name, task_id)


def soft_limit(limit_s: float, name: str, task_id: str) -> None:
    """The soft time limit passed; the task was told."""
    request.warning("Soft time limit (%ss) exceeded for %s[%s]", limit_s, name, task_id)


def hard_limit(limit_s: float, name: str, task_id: str) -> None:
    """The hard time limit passed; the run was ended."""
    request.error("Hard time limit (%ss) exceeded for %s[%s]", limit_s, name, task_id)


def lost(exc: BaseException, name: str, task_id: str) -> None:
    """The child that ran the task died."""
    request.error("Task handler raised error: %r (%s[%s])", exc, name, task_id)
