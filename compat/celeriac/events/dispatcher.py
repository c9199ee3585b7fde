"""Sending events from anywhere: programs, tasks, producers. The worker's own loop has `EventSender`.

Spec: control-and-events#2.2, control-and-events#2.5
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from celeriac.brokers.connections import producer as make_producer
from celeriac.events.event import Event, get_exchange, group_from
from celeriac.events.sender import utc_offset_hours
from celeriac.helpers.nodenames import anon_nodename
from celeriac.result.current import app_or_current
from celeriac_protocol.events import BATCH_ROUTING_KEY, routing_key

__all__ = ["EventDispatcher"]


class EventDispatcher:
    """Sends events; a context manager that closes at the end.

    Args:
        connection: A `kombu.Connection`.
        hostname: Node name of the sender; by default ``gen<pid>@<host>``.
        enabled: Send from the start.
        channel: Channel to use; by default a new one of the connection, opened when enabled.
        buffer_while_offline: Keep what cannot be sent for `flush`, instead of raising.
        app: Default: the current app.
        serializer: By default `event_serializer`.
        groups: Send events of these groups only.
        delivery_mode: 1, or 2 for events the broker writes to disk.
        buffer_group: Groups whose events are collected and sent as one message.
        buffer_limit: So many at most.
        on_send_buffered: Called after an event was put into such a message.
    """

    DISABLED_TRANSPORTS = frozenset({"sql"})
    app: Any = None

    def __init__(
        self,
        connection: Any = None,
        hostname: str | None = None,
        enabled: bool = True,
        channel: Any = None,
        buffer_while_offline: bool = True,
        app: Any = None,
        serializer: str | None = None,
        groups: Iterable[str] | None = None,
        delivery_mode: int = 1,
        buffer_group: Iterable[str] | None = None,
        buffer_limit: int = 24,
        on_send_buffered: Callable[[], Any] | None = None,
    ) -> None:
        self.app = app or self.app or app_or_current()
        self.connection = connection
        self.channel = channel
        self.hostname = hostname or anon_nodename()
        self.buffer_while_offline = buffer_while_offline
        self.buffer_group = frozenset(buffer_group or ())
        self.buffer_limit = buffer_limit
        self.on_send_buffered = on_send_buffered
        self.delivery_mode = delivery_mode
        self.groups = set(groups or ())
        self.serializer = serializer or self.app.conf.event_serializer
        self.clock = self.app.clock
        self.pid = os.getpid()
        self.on_enabled: set[Callable[[], Any]] = set()
        self.on_disabled: set[Callable[[], Any]] = set()
        self.enabled = False
        self.producer: Any = None
        self.mutex = threading.Lock()
        self._outbound: deque[tuple[dict[str, Any], str]] = deque()
        self._batches: dict[str, list[dict[str, Any]]] = {}
        if connection is None and channel is not None:
            self.connection = channel.connection.client
        transport = self.connection.transport.driver_type
        self.exchange = get_exchange(self.connection, name=self.app.conf.event_exchange)
        if enabled and transport not in self.DISABLED_TRANSPORTS:
            self.enable()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def publisher(self) -> Any:
        """The same as `producer`."""
        return self.producer

    @publisher.setter
    def publisher(self, producer: Any) -> None:
        self.producer = producer

    def enable(self) -> None:
        """Send from now on."""
        self.producer = make_producer(
            self.channel or self.connection,
            exchange=self.exchange,
            serializer=self.serializer,
            auto_declare=False,
        )
        self.enabled = True
        for callback in self.on_enabled:
            callback()

    def disable(self) -> None:
        """Send no more."""
        if self.enabled:
            self.enabled = False
            self.close()
            for callback in self.on_disabled:
                callback()

    def publish(
        self,
        type: str,
        fields: Mapping[str, Any],
        producer: Any,
        blind: bool = False,
        Event: Callable[..., dict[str, Any]] = Event,  # noqa: N803 - the public name
        **kwargs: Any,
    ) -> None:
        """Send one event now, by another producer.

        Args:
            type: Its type.
            fields: What belongs to the type.
            producer: A `kombu.Producer`.
            blind: Do not count it by the clock.
            Event: Makes the mapping.
            **kwargs: `retry` and `retry_policy`.
        """
        event = self._prepared(type, fields, blind, Event)
        self._publish(event, producer, routing_key(type), **kwargs)

    def send(
        self,
        type: str,
        blind: bool = False,
        retry: bool = False,
        retry_policy: Mapping[str, Any] | None = None,
        Event: Callable[..., dict[str, Any]] = Event,  # noqa: N803 - the public name
        **fields: Any,
    ) -> None:
        """Send one event, or collect it if its group is collected; nothing while not enabled.

        Args:
            type: Its type, e.g. ``task-progress``.
            blind: Do not count it by the clock.
            retry: Publish again on connection errors.
            retry_policy: How, by kombu's keys.
            Event: Makes the mapping.
            **fields: What belongs to the type.
        """
        group = group_from(type)
        if not self.enabled or (self.groups and group not in self.groups):
            return
        event = self._prepared(type, fields, blind, Event)
        if group in self.buffer_group:
            batch = self._batches.setdefault(group, [])
            batch.append(event)
            if len(batch) >= self.buffer_limit:
                self.flush(errors=False)
            elif self.on_send_buffered:
                self.on_send_buffered()
            return
        with self.mutex:
            try:
                self._publish(event, self.producer, routing_key(type), retry, retry_policy)
            except Exception:
                if not self.buffer_while_offline:
                    raise
                self._outbound.append((event, routing_key(type)))

    def _prepared(
        self,
        type: str,
        fields: Mapping[str, Any],
        blind: bool,
        make: Callable[..., dict[str, Any]],
    ) -> dict[str, Any]:
        common: dict[str, Any] = {
            "hostname": self.hostname,
            "utcoffset": utc_offset_hours(time.time()),
            "pid": self.pid,
        }
        if not blind:
            common["clock"] = self.clock.forward()
        return make(type, {**common, **fields})

    def _publish(
        self,
        event: Any,
        producer: Any,
        key: str,
        retry: bool = False,
        retry_policy: Mapping[str, Any] | None = None,
    ) -> None:
        producer.publish(
            event,
            routing_key=key,
            exchange=self.exchange.name,
            retry=retry,
            retry_policy=retry_policy,
            declare=[self.exchange],
            serializer=self.serializer,
            headers={"hostname": self.hostname},
            delivery_mode=self.delivery_mode,
        )

    def flush(self, errors: bool = True, groups: bool = True) -> None:
        """Send what was kept.

        Args:
            errors: What could not be sent before.
            groups: What was collected.
        """
        if errors:
            with self.mutex:
                while self._outbound:
                    event, key = self._outbound[0]
                    self._publish(event, self.producer, key)
                    self._outbound.popleft()
        if groups:
            with self.mutex:
                for group, batch in self._batches.items():
                    if batch:
                        key = BATCH_ROUTING_KEY if group == "task" else f"{group}.multi"
                        self._publish(list(batch), self.producer, key)
                        batch.clear()

    def extend_buffer(self, other: EventDispatcher) -> None:
        """Take over what another dispatcher could not send."""
        self._outbound.extend(other._outbound)

    def close(self) -> None:
        """Let go of the producer. The connection belongs to whoever opened it."""
        self.producer = None
