"""Letting the pool grow with the load and shrink when it is over. Spec: control-and-events#4.5."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Any, Final

from celeriac.worker.loop import Loop
from celeriac.worker.request import Phase
from celeriac.worker.service import Service

__all__ = ["Autoscaler"]

logger = logging.getLogger("celery.worker.autoscale")

_KEEPALIVE_S: Final = 30.0
_LOOK_EVERY_S: Final = 1.0
_BEGUN: Final = (Phase.READY, Phase.SUBMITTED, Phase.RUNNING)


class Autoscaler(Service):
    """Keeps the number of slots between two bounds.

    Growing happens at once, when tasks wait for a slot; shrinking when nothing has grown for a while.

    Args:
        loop: Whose pool it is.
        largest: The most slots.
        smallest: The fewest; a pool keeps one at least.
        multiplier: Messages fetched ahead per slot.
        keepalive_s: How long after growing there is no shrinking; by default ``AUTOSCALE_KEEPALIVE`` or 30.
    """

    def __init__(
        self,
        loop: Loop,
        largest: int,
        smallest: int,
        *,
        multiplier: int,
        keepalive_s: float | None = None,
    ) -> None:
        self.loop = loop
        self.largest = largest
        self.smallest = smallest
        self.keepalive_s = (
            float(os.environ.get("AUTOSCALE_KEEPALIVE", _KEEPALIVE_S))
            if keepalive_s is None
            else keepalive_s
        )
        self._multiplier = multiplier
        self._grown_at = loop.clock.monotonic()
        self._look_at = self._grown_at
        self._is_stopping = False

    @property
    def load(self) -> int:
        """Tasks that have, or want, a slot."""
        return sum(r.state.phase in _BEGUN for r in self.loop.requests.values())

    def set_range(self, largest: int | None, smallest: int | None) -> None:
        """Change the bounds; None keeps one. The pool is brought between them at once.

        Raises:
            ValueError: The fewest would be more than the most, or a bound is no number.
        """
        new = (
            self.largest if largest is None else largest,
            self.smallest if smallest is None else smallest,
        )
        if not all(isinstance(each, int) and not isinstance(each, bool) for each in new):
            raise ValueError(f"expected numbers of slots, got {new!r}")
        if not 0 <= new[1] <= new[0] or new[0] < 1:
            raise ValueError(f"max={new[0]} min={new[1]} is no range")
        before, (self.largest, self.smallest) = self.largest, new
        if self.loop.prefetch:
            # The window is that of the largest pool.
            more = (self.largest - before) * self._multiplier
            self.loop.prefetch = max(1, self.loop.prefetch + more)
        size = self.loop.pool.size
        self._resize(min(max(size, self.smallest, 1), self.largest))

    def info(self) -> dict[str, Any]:
        """Return what `inspect stats` shows."""
        return {
            "max": self.largest,
            "min": self.smallest,
            "current": self.loop.pool.size,
            "qty": self.load,
        }

    # -- service ----------------------------------------------------------------------------------

    def filenos(self) -> Iterable[int]:
        """None: it looks after every turn that left tasks waiting, and now and then."""
        return ()

    def due_in_s(self, monotonic: float) -> float | None:
        """Until the next look at an idle pool; None while it is as small as it may be."""
        if self._is_stopping or self.loop.pool.size <= max(self.smallest, 1):
            return None
        return max(0.0, self._look_at - monotonic)

    def serve(self, ready: set[int], monotonic: float) -> None:
        """Grow if tasks wait; shrink if the load has been low for long enough."""
        if self._is_stopping:
            return
        pool = self.loop.pool
        if self.loop.has_waiting and pool.size < self.largest and not pool.free_slots():
            self._resize(min(self.load, self.largest))
        elif monotonic >= self._look_at:
            self._look_at = monotonic + min(_LOOK_EVERY_S, self.keepalive_s)
            if monotonic >= self._grown_at + self.keepalive_s:
                self._resize(max(min(self.load, pool.size), self.smallest, 1))

    def _resize(self, size: int) -> None:
        pool = self.loop.pool
        change = size - pool.size
        if change > 0:
            logger.info("Scaling up %s processes.", change)
            self._grown_at = self.loop.clock.monotonic()
            try:
                pool.grow(change)
            except OSError as exc:
                # Out of processes or memory: the pool goes on as it is.
                logger.error("The pool cannot grow: %s", exc)
        elif change < 0:
            logger.info("Scaling down %s processes.", -change)
            pool.shrink(-change)

    def stop(self) -> None:
        """No task starts any more."""
        self._is_stopping = True

    def close(self) -> None:
        """The pool is somebody else's to end."""
