"""Receiving events: monitors, cameras, exporters. Spec: control-and-events#2.1, control-and-events#2.2."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kombu.entity import Queue as _Queue

from celeriac.brokers.connections import ConsumerMixin, maybe_channel
from celeriac.events.event import get_exchange
from celeriac.events.sender import utc_offset_hours
from celeriac.exceptions import ImproperlyConfigured
from celeriac.result.current import app_or_current
from celeriac_protocol.errors import RemoteProtocolError
from celeriac_protocol.events import Event

__all__ = ["CLIENT_CLOCK_SKEW", "EventReceiver"]

logger = logging.getLogger("celery.events")

Queue: Any = _Queue

CLIENT_CLOCK_SKEW = -1
"""A producer's clock means nothing; its events are put just before those that come next."""


class EventReceiver(ConsumerMixin):  # type: ignore[misc]
    """Captures events and calls handlers.

    Args:
        channel: A `kombu.Connection`, or a channel of one; a copy of the connection is used.
        handlers: Type of event → function called with it; ``*`` for all other types.
        routing_key: Which events: ``#`` all, ``worker.#`` those of workers.
        node_id: Last part of the queue's name.
        app: Default: the current app.
        queue_prefix: First part of the queue's name; by default `event_queue_prefix`.
        accept: Content types; by default that of `event_serializer` and JSON.
        queue_ttl: Seconds an event may wait; by default `event_queue_ttl`.
        queue_expires: Seconds the unused queue lives; by default `event_queue_expires`.
        queue_exclusive: By default `event_queue_exclusive`.
        queue_durable: By default `event_queue_durable`.

    Raises:
        ImproperlyConfigured: The queue cannot be both durable and exclusive.
    """

    app: Any = None

    def __init__(
        self,
        channel: Any,
        handlers: Mapping[str, Callable[[dict[str, Any]], Any]] | None = None,
        routing_key: str = "#",
        node_id: str | None = None,
        app: Any = None,
        queue_prefix: str | None = None,
        accept: Any = None,
        queue_ttl: float | None = None,
        queue_expires: float | None = None,
        queue_exclusive: bool | None = None,
        queue_durable: bool | None = None,
    ) -> None:
        self.app = app or self.app or app_or_current()
        conf = self.app.conf
        self.channel = maybe_channel(channel)
        self.handlers = handlers if handlers is not None else {}
        self.routing_key = routing_key
        self.node_id = node_id or str(uuid.uuid4())
        self.queue_prefix = queue_prefix or conf.event_queue_prefix
        self.exchange = get_exchange(self.connection, name=conf.event_exchange)
        exclusive = conf.event_queue_exclusive if queue_exclusive is None else queue_exclusive
        durable = conf.event_queue_durable if queue_durable is None else queue_durable
        if exclusive and durable:
            raise ImproperlyConfigured(
                "event_queue_durable and event_queue_exclusive cannot both be True: "
                "an exclusive queue goes with its connection."
            )
        self.queue = Queue(
            ".".join((self.queue_prefix, self.node_id)),
            exchange=self.exchange,
            routing_key=self.routing_key,
            auto_delete=not durable,
            durable=durable,
            exclusive=exclusive,
            message_ttl=conf.event_queue_ttl if queue_ttl is None else queue_ttl,
            expires=conf.event_queue_expires if queue_expires is None else queue_expires,
        )
        self.accept = set(accept) if accept else {conf.event_serializer, "json"}
        self.clock = self.app.clock
        self.adjust_clock = self.clock.adjust
        self.forward_clock = self.clock.forward

    @property
    def connection(self) -> Any:
        """The connection whose copy is used."""
        return self.channel.connection.client if self.channel else None

    # -- kombu's hooks -----------------------------------------------------------------------------

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:  # noqa: N803 - kombu's name
        """Return the one consumer."""
        return [
            Consumer(
                queues=[self.queue], callbacks=[self._receive], no_ack=True, accept=self.accept
            )
        ]

    def on_consume_ready(
        self, connection: Any, channel: Any, consumers: Any, wakeup: bool = True, **kwargs: Any
    ) -> None:
        """Ask all workers to show themselves."""
        if wakeup:
            self.wakeup_workers(channel=channel)

    # -- capturing ---------------------------------------------------------------------------------

    def itercapture(
        self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True
    ) -> Iterator[None]:
        """Return an iterator that yields after each message; see `capture`."""
        found: Iterator[None] = self.consume(limit=limit, timeout=timeout, wakeup=wakeup)
        return found

    def capture(
        self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True
    ) -> None:
        """Receive events, until `should_stop` is set.

        Args:
            limit: So many messages at most.
            timeout: Seconds without a message after which to give up.
            wakeup: First ask all workers for a heartbeat.

        Raises:
            TimeoutError: Nothing came for `timeout` seconds.
        """
        for _ in self.itercapture(limit=limit, timeout=timeout, wakeup=wakeup):
            pass

    def wakeup_workers(self, channel: Any = None) -> None:
        """Let all workers send a heartbeat, so that they are seen at once."""
        self.app.control.broadcast("heartbeat", connection=self.connection, channel=channel)

    def process(self, type: str, event: dict[str, Any]) -> None:
        """Hand one event to its handler."""
        handler = self.handlers.get(type) or self.handlers.get("*")
        if handler is not None:
            handler(event)

    def event_from_message(
        self,
        body: dict[str, Any],
        localize: bool = True,
        now: Callable[[], float] = time.time,
        **_unused: Any,
    ) -> tuple[str, dict[str, Any]]:
        """Return type and event; the clock is adjusted, the time shifted into the local zone.

        Args:
            body: The event as it travelled; changed in place.
            localize: Shift `timestamp`.
            now: The time, for `local_received`.
        """
        kind: str = body["type"]
        if kind == "task-sent":
            body["clock"] = (self.clock.value or 1) + CLIENT_CLOCK_SKEW
        elif "clock" in body:
            self.adjust_clock(body["clock"])
        else:
            body["clock"] = self.forward_clock()
        received = now()
        if localize:
            event = Event.from_dict(body)
            shifted = event.local_timestamp(utc_offset_hours(received))
            if shifted is not None:
                body["timestamp"] = shifted
        body["local_received"] = received
        return kind, body

    def _receive(self, body: Any, message: Any) -> None:
        hostname = (message.headers or {}).get("hostname")
        for item in body if isinstance(body, list | tuple) else (body,):
            try:
                # One broken event must not cost a monitor all the others.
                Event.from_dict(item, hostname=hostname if isinstance(hostname, str) else None)
            except RemoteProtocolError as exc:
                logger.error("Ignored a broken event: %s", exc)
                continue
            item.setdefault("hostname", hostname)
            self.process(*self.event_from_message(item))
