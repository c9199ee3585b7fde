"""`Broker` and `Publisher` over kombu: AMQP and every other transport kombu has.

The broker owns one connection at a time. Each connection has an epoch; tags carry it, so that whatever is still
settled after a loss is known to be stale. What a connection does is up to its consumer, one per transport family.

Spec: transports#1, transports#2, transports#3
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from celeriac.brokers.base import Broker, BrokerLostError, Delivery, Tag
from celeriac.brokers.kombu_amqp import AmqpConsumer
from celeriac.brokers.kombu_connection import (
    BrokerErrors,
    ConnectionMaker,
    abandon,
    display_url,
    is_amqp,
)
from celeriac.brokers.kombu_consumer import AnyConsumer, Consumer
from celeriac.brokers.kombu_publisher import KombuPublisher
from celeriac.brokers.kombu_virtual import guarded_transport

__all__ = ["KombuBroker", "KombuPublisher"]

logger = logging.getLogger(__name__)


class KombuBroker(Broker):
    """Consumes task messages through any kombu transport, from one thread, without waiting.

    Args:
        url: Broker URL, or several joined by ``;``.
        transport_options: `broker_transport_options`.
        connect_timeout_s: Limit for one connection attempt.
        heartbeat_s: AMQP heartbeat to ask for; `None` or 0: none.
        ssl: `broker_use_ssl`.
        login_method: AMQP SASL mechanism.
        failover_strategy: ``round-robin``, ``shuffle``, or a callable from the URLs to an infinite iterator.
    """

    def __init__(
        self,
        url: str,
        *,
        transport_options: Mapping[str, Any] | None = None,
        connect_timeout_s: float = 4.0,
        heartbeat_s: float | None = None,
        ssl: Any = None,
        login_method: str | None = None,
        failover_strategy: str | Callable[[list[str]], Iterator[str]] | None = None,
    ) -> None:
        self.url = url
        self.display_url = display_url(url)
        self.poll_interval_s = None
        self._maker = ConnectionMaker(
            url,
            transport_options=transport_options or {},
            connect_timeout_s=connect_timeout_s,
            heartbeat_s=heartbeat_s,
            ssl=ssl,
            login_method=login_method,
            failover_strategy=failover_strategy,
            guard=guarded_transport,
        )
        self._connection: Any = None
        self._consumer: Consumer | None = None
        self._is_lost = False
        self._epoch = 0
        self._contexts: dict[str, BrokerErrors] = {}
        self._memory: dict[str, Any] = {}
        """What a consumer leaves for its successor after a loss."""

    # -- life ------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Open the connection, trying every URL once."""
        self.disconnect()
        with BrokerErrors(lambda: None, f"connecting to {self.display_url}", declaring=True):
            connection = self._maker.open()
        self._connection = connection
        self._is_lost = False
        with self._errors("preparing to consume", declaring=True):
            self._consumer = self._make_consumer(connection)
        self._epoch += 1
        self.display_url = display_url(self._maker.uri)
        self.poll_interval_s = self._consumer.poll_interval_s

    def _make_consumer(self, connection: Any) -> Consumer:
        if is_amqp(connection):
            return AmqpConsumer(connection)
        make = getattr(connection.transport, "make_consumer", None)
        if make is not None:
            consumer: Consumer = make(connection, self._memory)
            return consumer
        return AnyConsumer(connection)

    def disconnect(self) -> None:
        """Leave orderly if the connection lives, else drop it."""
        connection, self._connection = self._connection, None
        consumer, self._consumer = self._consumer, None
        if connection is None:
            return
        self._epoch += 1
        if consumer is not None:
            try:
                if not self._is_lost:
                    consumer.close()
            except Exception as exc:  # noqa: BLE001 - so it is lost
                logger.debug("closing the connection to %s: %r", self.display_url, exc)
                self._is_lost = True
            if self._is_lost:
                self._leave_lost(consumer)
        abandon(connection)

    def _leave_lost(self, consumer: Consumer) -> None:
        try:
            consumer.lost()
        except Exception as exc:  # noqa: BLE001 - nothing more can be done with it
            logger.debug("leaving the lost connection to %s: %r", self.display_url, exc)

    def after_fork_in_child(self) -> None:
        """Close the inherited sockets without a word to the broker."""
        consumer, self._consumer = self._consumer, None
        self._connection = None
        if consumer is not None:
            consumer.forget()

    def _errors(self, doing: str, *, declaring: bool = False) -> BrokerErrors:
        found = self._contexts.get(doing)
        if found is None:
            found = self._contexts[doing] = BrokerErrors(
                lambda: self._connection, doing, declaring=declaring, on_error=self._note_loss
            )
        return found

    def _note_loss(self) -> None:
        self._is_lost = True

    def _open(self) -> Consumer:
        if self._consumer is None:
            raise BrokerLostError("not connected")
        return self._consumer

    # -- consuming -------------------------------------------------------------------------------

    def consume(self, queues: Sequence[Any], prefetch_count: int) -> None:
        """Declare and consume `queues`."""
        consumer = self._open()
        with self._errors("declaring and consuming queues", declaring=True):
            consumer.consume(queues, prefetch_count)

    def add_queue(self, queue: Any) -> None:
        """Consume one more."""
        consumer = self._open()
        with self._errors("consuming one more queue"):
            consumer.add_queue(queue)

    def remove_queue(self, name: str) -> None:
        """Consume one less."""
        consumer = self._open()
        with self._errors("cancelling a queue"):
            consumer.remove_queue(name)

    def cancel(self) -> None:
        """Stop consuming."""
        consumer = self._open()
        with self._errors("cancelling the consumers"):
            consumer.cancel()

    def set_prefetch(self, prefetch_count: int) -> None:
        """Change the window."""
        consumer = self._open()
        with self._errors("changing the prefetch count"):
            consumer.set_prefetch(prefetch_count)

    def filenos(self) -> Iterable[int]:
        """Sockets to watch; they change, ask every time."""
        consumer = self._open()
        with self._errors("looking at the connection"):
            return consumer.filenos()

    def fetch(self, limit: int) -> list[Delivery]:
        """Return what is there."""
        consumer = self._open()
        with self._errors("receiving"):
            received = consumer.fetch(limit)
        epoch = self._epoch
        return [Delivery((epoch, handle), message, broken) for handle, message, broken in received]

    # -- settling --------------------------------------------------------------------------------

    def ack(self, tags: Sequence[Tag]) -> None:
        """Acknowledge."""
        consumer, handles = self._fresh(tags)
        if len(handles) < len(tags):
            self._settle_late(tags)
        if consumer is not None and handles:
            with self._errors("acknowledging"):
                consumer.ack(handles)

    def reject(self, tags: Sequence[Tag], *, requeue: bool) -> None:
        """Refuse."""
        consumer, handles = self._fresh(tags)
        if len(handles) < len(tags) and not requeue:
            self._settle_late(tags)
        if consumer is not None and handles:
            with self._errors("rejecting"):
                consumer.reject(handles, requeue=requeue)

    def renew(self, tags: Sequence[Tag]) -> None:
        """Prolong the leases."""
        consumer, handles = self._fresh(tags)
        if consumer is not None and handles:
            with self._errors("renewing leases"):
                consumer.renew(handles)

    def _fresh(self, tags: Sequence[Tag]) -> tuple[Consumer | None, list[Any]]:
        handles = []
        for tag in tags:
            epoch, handle = cast("tuple[int, Any]", tag)
            if epoch == self._epoch:
                handles.append(handle)
        return self._consumer, handles

    def _settle_late(self, tags: Sequence[Tag]) -> None:
        """Note what was settled while there is no connection, where the broker still tracks it by the same tag."""
        orphans = self._memory.get("orphans")
        if orphans:
            handles = {cast("tuple[int, Any]", tag)[1] for tag in tags}
            self._memory["settled"] |= handles & orphans.keys()

    def heartbeat(self) -> float | None:
        """Send or check heartbeats, sweep, restore: what is due from time to time."""
        consumer = self._open()
        with self._errors("keeping the connection alive"):
            return consumer.heartbeat()
