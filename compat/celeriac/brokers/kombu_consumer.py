"""What `KombuBroker` asks of one connection, by transport family, and the form that fits any kombu transport."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import kombu

from celeriac_protocol.errors import RemoteProtocolError
from celeriac_protocol.message import DeliveryInfo, Message, Properties

__all__ = ["AnyConsumer", "Consumer", "Received", "read_properties"]

_kombu: Any = kombu

_TEXTS: Final = (
    "content_type",
    "content_encoding",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)
_KNOWN: Final = frozenset(
    {
        *_TEXTS,
        "delivery_mode",
        "priority",
        "timestamp",
        "application_headers",
        "delivery_info",
        "delivery_tag",
        "body_encoding",
    }
)


class Received(NamedTuple):
    """One message as a consumer hands it on; `handle` identifies it on its connection."""

    handle: Hashable
    message: Message
    broken: RemoteProtocolError | None = None


class Consumer(ABC):
    """The consuming side of one open connection. Raises whatever the client library raises."""

    poll_interval_s: float | None = None

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    @abstractmethod
    def consume(self, queues: Sequence[Any], prefetch_count: int) -> None:
        """Declare and consume."""

    @abstractmethod
    def add_queue(self, queue: Any) -> None:
        """Consume one more queue, which exists already."""

    @abstractmethod
    def remove_queue(self, name: str) -> None:
        """Stop consuming one queue, if it is consumed."""

    @abstractmethod
    def cancel(self) -> None:
        """Stop consuming; give back what was received and not handed on."""

    @abstractmethod
    def set_prefetch(self, prefetch_count: int) -> None:
        """Change the window."""

    @abstractmethod
    def filenos(self) -> Iterable[int]:
        """Descriptors that announce something to fetch."""

    @abstractmethod
    def fetch(self, limit: int) -> list[Received]:
        """Take what is there."""

    @abstractmethod
    def ack(self, handles: Sequence[Any]) -> None:
        """Acknowledge."""

    @abstractmethod
    def reject(self, handles: Sequence[Any], *, requeue: bool) -> None:
        """Refuse."""

    def renew(self, handles: Sequence[Any]) -> None:
        """Prolong the lease, where there is one."""

    def heartbeat(self) -> float | None:
        """Do what is due from time to time; return seconds to the next call, `None` for never."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Leave orderly: what is held goes back to its queue."""

    def lost(self) -> None:
        """The connection is gone: do without it what can be done; nothing is sent."""

    def forget(self) -> None:
        """In a forked child: close the inherited sockets without using them."""


def read_properties(given: Mapping[str, Any], *, extra: bool) -> Properties:
    """Return basic properties from kombu's mapping, dropping those of a type they cannot have."""
    fields: dict[str, Any] = {name: _text(given.get(name)) for name in _TEXTS}
    if extra:
        fields["extra"] = {k: v for k, v in given.items() if k not in _KNOWN}
    return Properties(
        delivery_mode=_number(given.get("delivery_mode")),
        priority=_number(given.get("priority")),
        timestamp=given.get("timestamp"),
        **fields,
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


class AnyConsumer(Consumer):
    """For transports nothing better is known of: kombu's own consumer, drained without waiting."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self.poll_interval_s = float(getattr(connection.transport, "polling_interval", None) or 1.0)
        self._channel: Any = None
        self._consumer: Any = None
        self._received: deque[Received] = deque()
        self._held: dict[int, Any] = {}
        self._next = 0

    def consume(self, queues: Sequence[Any], prefetch_count: int) -> None:
        """Declare and consume through `kombu.Consumer`."""
        self._channel = self._channel or self.connection.channel()
        self._consumer = _kombu.Consumer(
            self._channel, list(queues), on_message=self._on_message, auto_declare=True
        )
        self._consumer.qos(prefetch_count=prefetch_count)
        self._consumer.consume()

    def _on_message(self, message: Any) -> None:
        info = message.delivery_info or {}
        body = message.body
        self._next += 1
        self._held[self._next] = message
        properties = dict(message.properties or {})
        properties.update(
            content_type=message.content_type, content_encoding=message.content_encoding
        )
        self._received.append(
            Received(
                self._next,
                Message(
                    headers=message.headers or {},
                    properties=read_properties(properties, extra=True),
                    body=body.encode() if isinstance(body, str) else bytes(body or b""),
                    delivery_info=DeliveryInfo(
                        exchange=info.get("exchange") or "",
                        routing_key=info.get("routing_key") or "",
                        redelivered=bool(info.get("redelivered")),
                    ),
                ),
            )
        )

    def add_queue(self, queue: Any) -> None:
        """Consume through the same `kombu.Consumer`."""
        self._consumer.add_queue(queue(self._channel))
        self._consumer.consume()

    def remove_queue(self, name: str) -> None:
        """Cancel it there."""
        if self._consumer.consuming_from(name):
            self._consumer.cancel_by_queue(name)

    def cancel(self) -> None:
        """Cancel the consumer and requeue what was not handed on."""
        if self._consumer is not None:
            self._consumer.cancel()
        left = [received.handle for received in self._received]
        self._received.clear()
        self.reject(left, requeue=True)

    def set_prefetch(self, prefetch_count: int) -> None:
        """Set the channel's window."""
        if self._consumer is not None:
            self._consumer.qos(prefetch_count=prefetch_count)

    def filenos(self) -> Iterable[int]:
        """None: such a transport is polled."""
        return ()

    def fetch(self, limit: int) -> list[Received]:
        """Drain until there is nothing or enough."""
        received = self._received
        deadline = time.monotonic() + 1.0
        while len(received) < limit and time.monotonic() < deadline:
            before = len(received)
            try:
                self.connection.drain_events(timeout=0)
            except TimeoutError:
                break
            if len(received) == before:
                break
        return [received.popleft() for _ in range(min(limit, len(received)))]

    def ack(self, handles: Sequence[Any]) -> None:
        """Acknowledge one by one."""
        for handle in handles:
            message = self._held.pop(handle, None)
            if message is not None:
                message.ack()

    def reject(self, handles: Sequence[Any], *, requeue: bool) -> None:
        """Refuse one by one."""
        for handle in handles:
            message = self._held.pop(handle, None)
            if message is not None:
                message.reject(requeue=requeue)

    def close(self) -> None:
        """Close the channel, which gives back what is held."""
        if self._channel is not None:
            self._channel.close()
        self.connection.close()
