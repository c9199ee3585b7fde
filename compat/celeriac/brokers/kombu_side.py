"""The worker's side channel over kombu: one connection that hears remote control and carries replies and events.

The mailbox is declared as Celery 5.7 declares it. Requests arrive without acknowledgement; how depends on the family:
AMQP delivers them, Redis publishes them to a subscription, the others put them into a queue that is polled. What
cannot be opened is handed on as a broken delivery: nothing that arrives here ends the connection of the tasks.

Spec: control-and-events#1.1, control-and-events#1.5, control-and-events#2.1, transports#4
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import redis
from kombu.entity import Exchange as _Exchange
from kombu.entity import Queue as _Queue

from celeriac.brokers.base import (
    BrokerAccessError,
    BrokerError,
    BrokerLostError,
    Delivery,
    EventQueue,
    Mailbox,
    PublishError,
    SideChannel,
    SideChannelUnsupportedError,
)
from celeriac.brokers.kombu_amqp import AmqpConsumer
from celeriac.brokers.kombu_connection import (
    BrokerErrors,
    ConnectionMaker,
    abandon,
    display_url,
    is_amqp,
)
from celeriac.brokers.kombu_consumer import AnyConsumer, Consumer, Received
from celeriac.brokers.kombu_virtual import guarded_transport, received_from
from celeriac_protocol.message import Message

__all__ = ["KombuSideChannel", "RedisMailbox"]

logger = logging.getLogger(__name__)

Exchange: Any = _Exchange
Queue: Any = _Queue
_redis: Any = redis

_DEADLINE_S: Final = 5.0
"""The loop waits no longer for the side channel; what takes longer counts as lost."""
_POLL_S: Final = 0.5
"""Clients wait a second for an answer."""
_REPLY_POLL_S: Final = 0.05
"""On Redis, while other workers are asked something: their answers wait in a list."""
_RESOURCE_LOCKED: Final = 405
_KNOWN_EXCHANGES: Final = 16
"""Reply exchanges remembered as declared; there is one, unless somebody makes names up."""
_IN_USE: Final = (
    "A node named %s is already using this process mailbox!\n\n"
    "Maybe you forgot to shutdown the other node or did not do so properly?\n"
    "Or if you meant to start multiple nodes on the same host please make sure\n"
    "you give each node a unique node name! This worker listens on %s."
)


class RedisMailbox(Consumer):
    """A pattern subscription on a connection of its own."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self._channel: Any = connection.channel()
        self._pubsub: Any = _redis.Redis(connection_pool=self._channel.pool).pubsub()
        self._queue_of: dict[bytes, str] = {}
        """Pattern → queue."""
        self._lists: list[str] = []
        """Queues that nobody publishes to a subscription for: they are asked."""

    def consume(self, queues: Sequence[Any], prefetch_count: int) -> None:
        """Declare and subscribe."""
        for queue in queues:
            self.add_queue(queue)

    def add_queue(self, queue: Any) -> None:
        """Declare and subscribe."""
        channel = self._channel
        queue(channel).declare()
        for topic in channel._get_subscribe_topics(queue.name):
            pattern = channel.global_keyprefix + topic
            self._queue_of[pattern.encode()] = queue.name
            self._pubsub.psubscribe(pattern)

    def add_list(self, queue: Any) -> None:
        """Declare a queue that is fed directly; `fetch` looks into it each time."""
        queue(self._channel).declare()
        self._lists.append(queue.name)

    def remove_list(self, name: str) -> None:
        """Delete such a queue with its binding."""
        if name in self._lists:
            self._lists.remove(name)
            self._channel.queue_delete(name)

    def remove_queue(self, name: str) -> None:
        """Unsubscribe."""
        for pattern in [key for key, queue in self._queue_of.items() if queue == name]:
            del self._queue_of[pattern]
            self._pubsub.punsubscribe(pattern)

    def cancel(self) -> None:
        """Unsubscribe from everything."""
        self._queue_of.clear()
        self._pubsub.close()

    def set_prefetch(self, prefetch_count: int) -> None:
        """There is no window."""

    def filenos(self) -> Iterable[int]:
        """The subscription's socket."""
        connection = self._pubsub.connection
        sock = None if connection is None else connection._sock
        return () if sock is None else (sock.fileno(),)

    def fetch(self, limit: int) -> list[Received]:
        """Read what is there."""
        received: list[Received] = []
        pubsub = self._pubsub
        while (
            len(received) < limit
            and pubsub.connection is not None
            and pubsub.connection.can_read(timeout=0)
        ):
            reply = pubsub.handle_message(pubsub.parse_response(block=True))
            if reply is None or reply["type"] != "pmessage":
                continue
            queue = self._queue_of.get(reply["pattern"])
            if queue is not None:
                received.append(received_from("fanout", queue, reply["data"]))
        for name in self._lists:
            received += self._take(name, limit - len(received))
        return received

    def _take(self, name: str, limit: int) -> list[Received]:
        taken: list[Received] = []
        while len(taken) < limit:
            # One at a time: servers before Redis 6.2 know no count.
            raw = self._channel.client.rpop(name)
            if raw is None:
                break
            taken.append(received_from("direct", name, raw))
        return taken

    def ack(self, handles: Sequence[Any]) -> None:
        """Nothing to settle."""

    def reject(self, handles: Sequence[Any], *, requeue: bool) -> None:
        """Nothing to settle."""

    def heartbeat(self) -> float | None:
        """Ping the server when the subscription has been silent for long."""
        self._pubsub.check_health()
        return 5.0

    def close(self) -> None:
        """Unsubscribe; releasing the connection takes the mailbox out of the binding set."""
        self._pubsub.close()
        self.connection.release()

    def forget(self) -> None:
        """Close our copies of the sockets."""
        pool = self._channel.pool
        for connection in (*pool._available_connections, *pool._in_use_connections):
            sock = getattr(connection, "_sock", None)
            if sock is not None:
                sock.close()


class KombuSideChannel(SideChannel):
    """Remote control and events over any kombu transport that can broadcast.

    Args:
        url: Broker URL, or several joined by ``;``.
        mailbox: Where to listen; `None`: not at all.
        events: How to hear other workers' events; `None`: not at all.
        event_exchange: Name of the exchange for events.
        transport_options: `broker_transport_options`.
        connect_timeout_s: Limit for one connection attempt.
        heartbeat_s: AMQP heartbeat to ask for; `None` or 0: none.
        ssl: `broker_use_ssl`.
        login_method: AMQP SASL mechanism.
    """

    def __init__(
        self,
        url: str,
        mailbox: Mailbox | None,
        *,
        events: EventQueue | None = None,
        event_exchange: str = "celeryev",
        transport_options: Mapping[str, Any] | None = None,
        connect_timeout_s: float = 4.0,
        heartbeat_s: float | None = None,
        ssl: Any = None,
        login_method: str | None = None,
    ) -> None:
        self.display_url = display_url(url)
        self.poll_interval_s = None
        self._mailbox = mailbox
        self._events = events
        self._replies: Any = None
        self._event_exchange_name = event_exchange
        self._maker = ConnectionMaker(
            url,
            transport_options={**_deadlines(url), **(transport_options or {})},
            connect_timeout_s=min(connect_timeout_s or _DEADLINE_S, _DEADLINE_S),
            heartbeat_s=heartbeat_s,
            ssl=ssl,
            login_method=login_method,
            guard=guarded_transport,
        )
        self._connection: Any = None
        self._consumer: Consumer | None = None
        self._channel: Any = None
        """For publishing; apart from the consumer's, since a refused declaration closes it."""
        self._event_exchange: Any = None
        self._declared: set[str] = set()
        self._is_lost = False

    # -- life ------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect, declare the event exchange and the mailbox, listen."""
        self.disconnect()
        with BrokerErrors(lambda: None, f"connecting to {self.display_url}", declaring=True):
            connection = self._maker.open()
        self._connection = connection
        self._is_lost = False
        kinds = connection.transport.implements.exchange_type
        if "fanout" not in kinds:
            name = connection.transport.driver_type
            self.disconnect()
            raise SideChannelUnsupportedError(f"the transport {name} cannot broadcast")
        with self._errors("setting up remote control and events", declaring=True):
            self._open_channel()
            kind = "fanout" if connection.transport.driver_type == "redis" else "topic"
            self._event_exchange = Exchange(self._event_exchange_name, kind)
            self._event_exchange(self._channel).declare()
            if self._mailbox is not None:
                self._listen(self._mailbox)

    def _open_channel(self) -> None:
        self._channel = self._connection.channel()
        self._declared.clear()

    def _listen(self, mailbox: Mailbox) -> None:
        connection = self._connection
        queue = _mailbox_queue(mailbox, mailbox.node)
        if is_amqp(connection):
            queue = self._claim(mailbox, queue)
            consumer: Consumer = AmqpConsumer(connection, no_ack=True)
        elif connection.transport.driver_type == "redis":
            consumer = RedisMailbox(connection)
        else:
            make = getattr(connection.transport, "make_consumer", None)
            consumer = AnyConsumer(connection) if make is None else make(connection, {})
        queues = [queue]
        if self._events is not None and self._has_neighbours:
            queues.append(self._event_queue(self._events))
            self.event_queue = queues[-1].name
        consumer.consume(queues, 0)
        self._consumer = consumer
        self._set_poll_interval()

    def _set_poll_interval(self) -> None:
        interval_s = None if self._consumer is None else self._consumer.poll_interval_s
        self.poll_interval_s = None if interval_s is None else min(interval_s, _POLL_S)

    @property
    def _has_neighbours(self) -> bool:
        """Whether other workers can be heard here: on the transports where Celery does."""
        connection = self._connection
        return is_amqp(connection) or connection.transport.driver_type == "redis"

    def _event_queue(self, events: EventQueue) -> Any:
        return Queue(
            f"{events.prefix}.{uuid.uuid4()}",
            self._event_exchange,
            routing_key="worker.#",
            durable=events.durable,
            exclusive=events.exclusive,
            auto_delete=not events.durable,
            expires=events.expires_s,
            message_ttl=events.ttl_s,
            no_ack=True,
        )

    def _claim(self, mailbox: Mailbox, queue: Any) -> Any:
        """Declare the mailbox; return another one where a second worker of the same name holds it."""
        channel = self._connection.channel()
        try:
            queue(channel).declare()
        except self._connection.channel_errors as exc:
            if getattr(exc, "reply_code", None) != _RESOURCE_LOCKED:
                raise
        else:
            channel.close()
            return queue
        own = _mailbox_queue(mailbox, f"{mailbox.node}.{uuid.uuid4().hex[:12]}")
        logger.warning(_IN_USE, mailbox.node, own.name)
        return own

    def disconnect(self) -> None:
        """Leave orderly if the connection lives, else drop it."""
        connection, self._connection = self._connection, None
        consumer, self._consumer = self._consumer, None
        self._channel = None
        self._replies = self.event_queue = self.reply_queue = None
        if connection is None:
            return
        try:
            if self._is_lost and consumer is not None:
                consumer.lost()
            elif consumer is not None:
                consumer.close()
            elif not self._is_lost:
                connection.release()
        except Exception as exc:  # noqa: BLE001 - it is being thrown away
            logger.debug("closing the side connection to %s: %r", self.display_url, exc)
        abandon(connection)

    def after_fork_in_child(self) -> None:
        """Close the inherited sockets without a word to the broker."""
        consumer, self._consumer = self._consumer, None
        self._connection = self._channel = None
        if consumer is not None:
            consumer.forget()

    @contextmanager
    def _errors(self, doing: str, *, declaring: bool = False) -> Iterator[None]:
        try:
            with BrokerErrors(lambda: self._connection, doing, declaring=declaring):
                yield
        except BrokerError:
            self._is_lost = True
            raise

    # -- in --------------------------------------------------------------------------------------

    def filenos(self) -> Iterable[int]:
        """The socket to watch."""
        if self._consumer is None:
            return ()
        with self._errors("looking at the side connection"):
            return self._consumer.filenos()

    def fetch(self, limit: int) -> list[Delivery]:
        """Return the requests that are there."""
        consumer = self._consumer
        if consumer is None:
            return []
        with self._errors("receiving remote control"):
            received = consumer.fetch(limit)
            if received:
                consumer.ack([handle for handle, _, _ in received])
        return [Delivery(handle, message, broken) for handle, message, broken in received]

    def heartbeat(self) -> float | None:
        """Keep the connection alive."""
        consumer = self._consumer
        if consumer is None:
            return None
        with self._errors("keeping the side connection alive"):
            return consumer.heartbeat()

    # -- out -------------------------------------------------------------------------------------

    def reply(self, message: Message, *, exchange: str, routing_key: str) -> None:
        """Declare the exchange, once, and answer."""
        with self._refusals(f"replying to {exchange!r}"):
            if exchange not in self._declared:
                if len(self._declared) >= _KNOWN_EXCHANGES:
                    self._declared.clear()
                Exchange(exchange, "direct", durable=False)(self._channel).declare()
                self._declared.add(exchange)
            self._send(message, exchange, routing_key)

    def ask(self, message: Message, oid: str) -> bool:
        """Declare a reply queue, consume it, and broadcast."""
        mailbox, consumer = self._mailbox, self._consumer
        if mailbox is None or consumer is None or not self._has_neighbours:
            return False
        with self._errors("asking other workers"):
            queue = _reply_queue(mailbox, oid)
            if isinstance(consumer, RedisMailbox):
                consumer.add_list(queue)
                self.poll_interval_s = _REPLY_POLL_S
            else:
                queue(self._channel).declare()
                consumer.add_queue(queue)
            self._replies, self.reply_queue = queue, queue.name
            self._send(message, f"{mailbox.namespace}.pidbox", "")
        return True

    def end_replies(self) -> None:
        """Give the reply queue up."""
        queue, self._replies, self.reply_queue = self._replies, None, None
        consumer = self._consumer
        if queue is None or consumer is None:
            return
        with self._errors("giving up replies"):
            if isinstance(consumer, RedisMailbox):
                consumer.remove_list(queue.name)
                self._set_poll_interval()
            else:
                consumer.remove_queue(queue.name)

    def publish_event(self, message: Message, *, routing_key: str) -> None:
        """Send to the event exchange."""
        with self._errors("sending events"):
            self._send(message, self._event_exchange_name, routing_key)

    def declare(self, queue: Any) -> None:
        """Declare a queue with its exchange and binding."""
        try:
            with self._refusals(f"declaring queue {queue.name!r}"):
                queue(self._channel).declare()
        except PublishError as exc:
            raise BrokerAccessError(str(exc)) from exc

    @contextmanager
    def _refusals(self, doing: str) -> Iterator[None]:
        """Let a refusal cost one channel; anything else costs the connection."""
        if self._connection is None:
            raise BrokerLostError("not connected")
        connection = self._connection
        lost = connection.connection_errors
        with self._errors(doing):
            try:
                yield
            except connection.channel_errors as exc:
                if isinstance(exc, lost) or not is_amqp(connection):
                    raise
                self._open_channel()
                raise PublishError(f"{doing}: {exc}") from exc

    def _send(self, message: Message, exchange: str, routing_key: str) -> None:
        if self._channel is None:
            raise BrokerLostError("not connected")
        given = message.properties
        prepared = self._channel.prepare_message(
            message.body,
            given.priority,
            given.content_type,
            given.content_encoding,
            dict(message.headers),
            {"delivery_mode": given.delivery_mode},
        )
        self._channel.basic_publish(prepared, exchange=exchange, routing_key=routing_key)


def _deadlines(url: str) -> dict[str, float]:
    """Return the transport options that bound every synchronous call."""
    scheme = url.partition(":")[0].partition("+")[0].lower()
    if scheme.startswith(("redis", "sentinel", "valkey")):
        return {"socket_timeout": _DEADLINE_S}
    if scheme in ("amqp", "amqps", "pyamqp"):
        return {"read_timeout": _DEADLINE_S, "write_timeout": _DEADLINE_S}
    return {}


def _reply_queue(mailbox: Mailbox, oid: str) -> Any:
    exchange = Exchange(f"reply.{mailbox.namespace}.pidbox", "direct", durable=False)
    return Queue(
        f"{oid}.reply.{mailbox.namespace}.pidbox",
        exchange,
        routing_key=oid,
        durable=mailbox.durable,
        exclusive=mailbox.exclusive,
        auto_delete=not mailbox.durable,
        expires=mailbox.expires_s,
        message_ttl=mailbox.ttl_s,
        no_ack=True,
    )


def _mailbox_queue(mailbox: Mailbox, name: str) -> Any:
    exchange = Exchange(
        f"{mailbox.namespace}.pidbox", "fanout", durable=False, delivery_mode="transient"
    )
    return Queue(
        f"{name}.{mailbox.namespace}.pidbox",
        exchange,
        routing_key="",
        durable=mailbox.durable,
        exclusive=mailbox.exclusive,
        auto_delete=not mailbox.durable,
        expires=mailbox.expires_s,
        message_ttl=mailbox.ttl_s,
        no_ack=True,
    )
