"""Sending a worker's events: counted, stamped, collected, and kept while there is no connection.

Spec: control-and-events#2.2, control-and-events#2.5, control-and-events#3.1
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from celeriac_protocol.events import (
    BATCH_ROUTING_KEY,
    Event,
    encode_batch,
    encode_event,
    routing_key,
)
from celeriac_protocol.lamport import LamportClock
from celeriac_protocol.message import Message

__all__ = ["BATCH_SIZE", "BUFFER_LIMIT", "EventSender", "utc_offset_hours"]

logger = logging.getLogger("celery.events")

BATCH_SIZE: Final = 24
"""Task events in one message at most."""
BUFFER_LIMIT: Final = 10_000
"""Events kept while the broker is away; then the oldest go."""


def utc_offset_hours(timestamp: float) -> float:
    """Return the local zone's distance from UTC at a time, in hours west."""
    return -(time.localtime(timestamp).tm_gmtoff or 0) / 3600


class EventSender:
    """Makes events in the order they happen; whoever holds a connection takes them from `flush`.

    Used by one thread, the worker's loop.

    Args:
        hostname: Node name of the sender.
        clock: The app's logical clock.
        serializer: `event_serializer`.
        now: Unix time.
        limit: See `BUFFER_LIMIT`.
    """

    def __init__(
        self,
        hostname: str,
        clock: LamportClock,
        *,
        serializer: str = "json",
        now: Callable[[], float] = time.time,
        limit: int = BUFFER_LIMIT,
    ) -> None:
        self.hostname = hostname
        self.clock = clock
        self.serializer = serializer
        self.limit = limit
        self.dropped = 0
        """Events lost because too many were kept."""
        self._now = now
        self._pid = os.getpid()
        self._waiting: deque[Event] = deque()

    @property
    def is_empty(self) -> bool:
        """Whether `flush` would do nothing."""
        return not self._waiting

    def send(self, kind: str, **fields: Any) -> None:
        """Make one event; it leaves with the next `flush`.

        Args:
            kind: Its type, e.g. ``task-received``.
            **fields: What belongs to the type.
        """
        now = self._now()
        if len(self._waiting) >= self.limit:
            if not self.dropped:
                logger.warning(
                    "More than %s events wait for the broker: dropping old ones", self.limit
                )
            self.dropped += 1
            self._waiting.popleft()
        self._waiting.append(
            Event(
                type=kind,
                hostname=self.hostname,
                utcoffset=utc_offset_hours(now),
                pid=self._pid,
                clock=self.clock.forward(),
                timestamp=now,
                fields=fields,
            )
        )

    def flush(self, publish: Callable[[Message, str], None]) -> None:
        """Hand everything on, in order; task events up to `BATCH_SIZE` in a message.

        Args:
            publish: Called with message and routing key. When it raises, its events and those behind them stay.
        """
        waiting = self._waiting
        while waiting:
            count = self._batch_length()
            if count:
                batch = [waiting[index] for index in range(count)]
                message = encode_batch(batch, hostname=self.hostname, serializer=self.serializer)
                publish(message, BATCH_ROUTING_KEY)
            else:
                event = waiting[0]
                publish(encode_event(event, serializer=self.serializer), routing_key(event.type))
            for _ in range(count or 1):
                waiting.popleft()
        if self.dropped:
            logger.warning("%s events were lost while the broker was away", self.dropped)
            self.dropped = 0

    def _batch_length(self) -> int:
        """How many task events stand in front, up to `BATCH_SIZE`."""
        count = 0
        for event in self._waiting:
            if count == BATCH_SIZE or event.group != "task":
                break
            count += 1
        return count
