"""Receiving rpc replies through any kombu transport.

Until somebody waits, messages are fetched one by one and the queue keeps them; from the first wait on the queue is
consumed, and the consumer stays, because the broker deletes an auto-delete queue with its last consumer.

Spec: results-and-workflows#2.1
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kombu.connection import Connection
from kombu.entity import Queue
from kombu.exceptions import OperationalError

from celeriac.backends.rpc import ReplyConsumer
from celeriac.brokers.base import BrokerLostError
from celeriac_protocol.message import DeliveryInfo, Message, Properties

__all__ = ["KombuReplyConsumer"]

logger = logging.getLogger(__name__)

_DECLARED_FOR_S = 60.0
"""A declaration is believed for so long at most, and never longer than a quarter of the queue's time to live."""
_AT_ONCE = 1000
"""Messages taken in one call, so that a flood cannot keep the caller busy for ever."""


class KombuReplyConsumer(ReplyConsumer):
    """One connection, one channel, one queue.

    Args:
        connect: Makes an unconnected `kombu.Connection`.
        queue: Name of the reply queue.
        expires_s: Time to live of the unused queue in seconds; `None`: for ever.
        monotonic: A monotonic clock.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        queue: str,
        expires_s: float | None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._monotonic = monotonic
        self._queue: Any = Queue(  # type: ignore[no-untyped-call]
            queue,
            exchange=None,
            durable=True,
            auto_delete=True,
            exclusive=False,
            expires=expires_s,
        )
        self._believed_s = min(_DECLARED_FOR_S, expires_s / 4) if expires_s else _DECLARED_FOR_S
        self._declared_at: float | None = None
        self._connection: Any = None
        self._channel: Any = None
        self._consumer: Any = None
        self._errors: tuple[type[Exception], ...] = (OSError,)
        self._arrived: list[Message] = []

    @classmethod
    def from_url(
        cls,
        url: str,
        queue: str,
        expires_s: float | None,
        *,
        transport_options: Mapping[str, Any] | None = None,
    ) -> KombuReplyConsumer:
        """Make a consumer that needs nothing but a broker URL."""
        return cls(
            lambda: Connection(  # type: ignore[no-untyped-call]
                url, transport_options=dict(transport_options or {})
            ),
            queue,
            expires_s,
        )

    def declare(self) -> list[Message]:
        with self._connected():
            self._declare()
            if self._consumer is not None:
                self._drain(0)
        return self._taken()

    def poll(self) -> list[Message]:
        with self._connected():
            self._declare()
            # With a consumer the messages come by themselves; the answer to a fetch comes after all that were sent.
            for _ in range(_AT_ONCE):
                message = self._channel.basic_get(self._queue.name, no_ack=True)
                if message is None:
                    break
                self._receive(message)
            if self._consumer is not None:
                self._drain(0)
        return self._taken()

    def wait(self, timeout_s: float) -> list[Message]:
        with self._connected():
            self._declare()
            if self._consumer is None:
                self._consumer = self._connection.Consumer(
                    channel=self._channel,
                    queues=[self._queue],
                    no_ack=True,
                    auto_declare=False,
                    on_message=self._receive,
                    accept=None,
                )
                self._consumer.consume()
            self._drain(0 if self._arrived else timeout_s)
        return self._taken()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        self._forget()
        if connection is not None:
            try:
                connection.release()
            except self._errors as exc:
                logger.debug("Closing the reply connection: %r", exc)

    def after_fork(self) -> None:
        # Dropping the last reference closes the descriptor here and leaves the connection to the parent.
        self._connection = None
        self._forget()

    def _forget(self) -> None:
        self._channel = self._consumer = self._declared_at = None

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Connect if need be; turn the transport's errors into `BrokerLostError`, after which nothing is left open."""
        try:
            if self._connection is None:
                self._connection = connection = self._connect()
                self._errors = (
                    *connection.connection_errors,
                    *connection.channel_errors,
                    OperationalError,
                    OSError,
                )
            if self._channel is None:
                # Once round the failover list; the caller decides about more.
                self._connection.ensure_connection(
                    max_retries=len(self._connection.alt) or 1, interval_start=0, interval_step=0
                )
                self._channel = self._connection.channel()
            yield
        except self._errors as exc:
            self.close()
            raise BrokerLostError(f"{type(exc).__name__}: {exc}") from exc

    def _declare(self) -> None:
        now = self._monotonic()
        if self._declared_at is None or now - self._declared_at > self._believed_s:
            self._queue(self._channel).queue_declare()
            self._declared_at = now

    def _drain(self, timeout_s: float) -> None:
        """Take in events: wait for the first at most `timeout_s`, then go on while there are any."""
        try:
            for _ in range(_AT_ONCE):
                self._connection.drain_events(timeout=timeout_s)
                timeout_s = 0
        except TimeoutError:
            return

    def _receive(self, message: Any) -> None:
        self._arrived.append(_to_message(message))

    def _taken(self) -> list[Message]:
        arrived, self._arrived = self._arrived, []
        return arrived


def _to_message(message: Any) -> Message:
    body = message.body
    properties = message.properties
    return Message(
        headers=message.headers or {},
        properties=Properties(
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            correlation_id=properties.get("correlation_id"),
        ),
        body=body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body or b""),
        delivery_info=DeliveryInfo(
            routing_key=(message.delivery_info or {}).get("routing_key") or ""
        ),
    )
