"""A little time for running tasks before a cold shutdown (`worker_soft_shutdown_timeout`).

Spec: control-and-events#5
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from celeriac.clock import Clock
from celeriac.worker.service import Service

__all__ = ["SoftStop"]

logger = logging.getLogger("celery.worker")


class SoftStop(Service):
    """Decides how long a cold shutdown waits.

    Args:
        timeout_s: Seconds that running tasks get; 0: none.
        clock: Monotonic time.
        is_running: Tells whether a task runs.
        waits_when_idle: Wait also when none does: tasks that are held are given back in any case.
    """

    def __init__(
        self,
        timeout_s: float,
        clock: Clock,
        is_running: Callable[[], bool],
        *,
        waits_when_idle: bool = False,
    ) -> None:
        self.timeout_s = timeout_s
        self.clock = clock
        self._is_running = is_running
        self._waits_when_idle = waits_when_idle
        self._until: float | None = None

    def waits(self, times_asked: int) -> bool:
        """Tell whether running tasks may still go on.

        Args:
            times_asked: How often a cold shutdown was asked for; the second time ends the wait.
        """
        if not self.timeout_s or times_asked > 1:
            return False
        if self._until is None:
            if not self._is_running() and not self._waits_when_idle:
                return False
            logger.warning("Initiating Soft Shutdown, terminating in %s seconds", self.timeout_s)
            self._until = self.clock.monotonic() + self.timeout_s
        return self.clock.monotonic() < self._until

    def filenos(self) -> Iterable[int]:
        """None: only time matters."""
        return ()

    def due_in_s(self, monotonic: float) -> float | None:
        """Until the time is up."""
        return None if self._until is None else max(0.0, self._until - monotonic)

    def serve(self, ready: set[int], monotonic: float) -> None:
        """The loop asks by itself whether to stop."""

    def stop(self) -> None:
        """A warm shutdown is not limited."""

    def close(self) -> None:
        """Nothing is open."""
