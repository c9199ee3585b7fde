"""Tasks that wait for their eta, in memory, ordered by due time."""

from __future__ import annotations

import heapq
from datetime import datetime
from typing import Generic, TypeVar

__all__ = ["Holds"]

T = TypeVar("T")


class Holds(Generic[T]):
    """A queue of things that are due at a wall-clock time; equal times keep their order of arrival."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, until: datetime, item: T) -> None:
        """Hold `item` until the aware datetime `until`."""
        self._count += 1
        heapq.heappush(self._heap, (until.timestamp(), self._count, item))

    def due(self, now: datetime) -> list[T]:
        """Remove and return everything due at `now`, earliest first."""
        limit = now.timestamp()
        ready: list[T] = []
        while self._heap and self._heap[0][0] <= limit:
            ready.append(heapq.heappop(self._heap)[2])
        return ready

    def next_in_s(self, now: datetime) -> float | None:
        """Return the seconds until the next item is due (0 when one is), or `None` when nothing is held."""
        if not self._heap:
            return None
        return max(0.0, self._heap[0][0] - now.timestamp())

    def clear(self) -> list[T]:
        """Remove and return everything, earliest first."""
        items = [item for _, _, item in sorted(self._heap, key=lambda entry: entry[:2])]
        self._heap.clear()
        return items
