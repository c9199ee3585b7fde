"""Stand-ins for what a test does not start: a publisher that keeps what it is given."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from celeriac.brokers.base import Publisher
from celeriac_protocol.message import Message

__all__ = ["RecordingPublisher", "Sent"]


@dataclass(frozen=True)
class Sent:
    """One published message and where it went."""

    message: Message
    exchange: Any
    routing_key: str
    declare: Sequence[Any]
    retry: bool
    retry_policy: Mapping[str, Any] | None
    options: Mapping[str, Any]

    @property
    def headers(self) -> Mapping[str, Any]:
        return self.message.headers

    @property
    def body(self) -> Any:
        """The decoded JSON body."""
        return json.loads(self.message.body)

    @property
    def embed(self) -> dict[str, Any]:
        found: dict[str, Any] = self.body[2]
        return found


@dataclass
class RecordingPublisher(Publisher):
    """Keeps messages instead of sending them; `fail_with` makes the next publish raise."""

    sent: list[Sent] = field(default_factory=list)
    fail_with: Exception | None = None

    def publish(
        self,
        message: Message,
        *,
        exchange: Any = "",
        routing_key: str = "",
        declare: Sequence[Any] = (),
        retry: bool = True,
        retry_policy: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if self.fail_with is not None:
            raise self.fail_with
        self.sent.append(
            Sent(message, exchange, routing_key, declare, retry, retry_policy, options or {})
        )

    def close(self) -> None:
        self.sent.clear()

    def after_fork(self) -> None:
        self.sent.clear()

    def take(self) -> list[Sent]:
        """Return what was sent since the last call."""
        taken, self.sent = self.sent, []
        return taken
