"""The worker's sign of life: online, every so often a heartbeat, offline. Spec: control-and-events#2.3."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import Any, Final

from celeriac import signals
from celeriac.events.sender import EventSender

__all__ = ["DEFAULT_INTERVAL_S", "SOFTWARE", "Heart"]

DEFAULT_INTERVAL_S: Final = 2.0
SOFTWARE: Final[dict[str, Any]] = {
    "sw_ident": "py-celery",
    "sw_ver": "5.7.0",
    "sw_sys": platform.system(),
}
"""What monitors are told of the software: the interface that is served, as `celery.__version__` says it."""


class Heart:
    """Makes the worker's events.

    Args:
        sender: Where they go.
        load: Returns how many tasks run now, and how many the pool has taken so far.
        interval_s: Between heartbeats.
    """

    def __init__(
        self,
        sender: EventSender,
        load: Callable[[], tuple[int, int]],
        interval_s: float = DEFAULT_INTERVAL_S,
    ) -> None:
        self.interval_s = interval_s
        self._sender = sender
        self._load = load
        self._next: float | None = None

    def start(self, monotonic: float) -> None:
        """A connection was made."""
        self._beat("worker-online")
        self._next = monotonic + self.interval_s

    def stop(self) -> None:
        """The worker takes no more tasks."""
        if self._next is not None:
            self._next = None
            self._beat("worker-offline")

    def pause(self) -> None:
        """The connection is gone: nobody would hear it."""
        self._next = None

    def due_in_s(self, monotonic: float) -> float | None:
        """Return the seconds to the next heartbeat; `None` while there is none."""
        return None if self._next is None else max(0.0, self._next - monotonic)

    def beat_when_due(self, monotonic: float) -> None:
        """Send a heartbeat if it is time."""
        if self._next is not None and monotonic >= self._next:
            self._next = monotonic + self.interval_s
            self._beat("worker-heartbeat")

    def _beat(self, kind: str) -> None:
        signals.heartbeat_sent.send(sender=self)
        active, processed = self._load()
        self._sender.send(
            kind,
            freq=self.interval_s,
            active=active,
            processed=processed,
            loadavg=[round(value, 2) for value in os.getloadavg()],
            **SOFTWARE,
        )
