"""What goes from the loop to the place where a task runs: builtin values only, cheap to pickle."""

from __future__ import annotations

import signal
from typing import Any, NamedTuple

from celeriac.exceptions import WorkerLostError
from celeriac.worker.actions import Settlement
from celeriac_protocol.message import DeliveryInfo, Message, Properties

__all__ = ["MarkRevoked", "Payload", "SettlePayload", "worker_lost"]


class Payload(NamedTuple):
    """One message on its way to the place where it runs: builtin values only, cheap to pickle."""

    headers: dict[str, Any]
    body: bytes
    content_type: str | None
    content_encoding: str | None
    correlation_id: str | None
    reply_to: str | None
    priority: int | None
    delivery: tuple[str, str, bool]
    """Exchange, routing key, redelivered."""
    properties: dict[str, Any]
    """The remaining basic properties that are set."""

    @classmethod
    def of(cls, message: Message) -> Payload:
        """Make the payload of a delivered message."""
        properties, info = message.properties, message.delivery_info
        headers = message.headers
        return cls(
            headers if type(headers) is dict else dict(headers),
            message.body,
            properties.content_type,
            properties.content_encoding,
            properties.correlation_id,
            properties.reply_to,
            properties.priority,
            (info.exchange, info.routing_key, info.redelivered),
            _rest(properties),
        )

    def message(self) -> Message:
        """Make the message again."""
        exchange, routing_key, redelivered = self.delivery
        return Message(
            self.headers,
            Properties(
                content_type=self.content_type,
                content_encoding=self.content_encoding,
                correlation_id=self.correlation_id,
                reply_to=self.reply_to,
                priority=self.priority,
                **self.properties,
            ),
            self.body,
            DeliveryInfo(exchange=exchange, routing_key=routing_key, redelivered=redelivered),
        )


_REST = (
    "delivery_mode",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)


def _rest(properties: Properties) -> dict[str, Any]:
    rest = {name: value for name in _REST if (value := getattr(properties, name)) is not None}
    if properties.extra:
        rest["extra"] = dict(properties.extra)
    return rest


class SettlePayload(NamedTuple):
    """Bookkeeping for a message that no slot ran, or whose run was cut off."""

    kind: Settlement
    payload: Payload
    detail: Any
    """REVOKED: the reason. LOST: ``(exitcode, job number)``. TIMED_OUT: the limit in seconds.
    INVALID: ``(task name, task id, text)``."""


class MarkRevoked(NamedTuple):
    """Store REVOKED for ids that remote control revoked and that no worker has begun."""

    ids: tuple[str, ...]


def worker_lost(exitcode: int, number: int | None) -> WorkerLostError:
    """Return the exception of a task whose child died. Spec: results-and-workflows#1.4."""
    if exitcode < 0:
        try:
            how = f"signal {-exitcode} ({signal.Signals(-exitcode).name})"
        except ValueError:
            how = f"signal {-exitcode}"
    else:
        how = f"exitcode {exitcode}"
    job = "" if number is None else f" Job: {number}"
    return WorkerLostError(f"Worker exited prematurely: {how}{job}.")
