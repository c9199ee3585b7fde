"""What is kept of requests that are over: how to settle a late redelivery, and how often a task took its process down.

Both are bounded: they are a help, and forgetting the oldest costs one more run.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from celeriac.worker.actions import Ack, Reject
from celeriac.worker.delivery import Request

__all__ = ["LOSSES_AT_MOST", "EndedRuns", "Losses", "attempt_of"]

_REMEMBERED: Final = 1000

LOSSES_AT_MOST: Final = 5
"""So often may a task with `reject_on_worker_lost` take a process of this worker down before it counts as failed."""


def attempt_of(request: Request) -> tuple[str, int]:
    """Return what a redelivery has in common with the delivery before; a retry is another attempt under the same id."""
    return request.headers.id, request.headers.retries


class EndedRuns:
    """Runs that ended without their connection and whose redelivery is still expected. Spec: transports#8 R3."""

    def __init__(self) -> None:
        self._settle: OrderedDict[tuple[str, int], Ack | Reject] = OrderedDict()

    def remember(self, request: Request, settle: Ack | Reject) -> None:
        """Keep how its redelivery is to be settled."""
        self._settle[attempt_of(request)] = settle
        if len(self._settle) > _REMEMBERED:
            self._settle.popitem(last=False)

    def pop(self, again: Request) -> Ack | Reject | None:
        """Return how to settle a redelivery of such a run; `None`: it is not one."""
        return self._settle.pop(attempt_of(again), None)


class Losses:
    """How often a task was lost with its process. Without it a task that kills its process is run for ever."""

    def __init__(self, at_most: int = LOSSES_AT_MOST) -> None:
        self.at_most = at_most
        self._counts: OrderedDict[tuple[str, int], int] = OrderedDict()

    def are_too_many(self, request: Request) -> bool:
        """Count one more; tell whether that was the last one allowed."""
        key = attempt_of(request)
        count = self._counts.pop(key, 0) + 1
        if count >= self.at_most:
            return True
        self._counts[key] = count
        if len(self._counts) > _REMEMBERED:
            self._counts.popitem(last=False)
        return False
