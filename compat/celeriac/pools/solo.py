"""Runs every job in the calling thread, inside `submit`."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from celeriac.pools.base import Accepted, Finished, Job, Lost, Pool, PoolEvent, exit_status

__all__ = ["SoloPool"]

logger = logging.getLogger(__name__)


class SoloPool(Pool):
    """One slot, no process or thread of its own: `submit` returns when the job is done.

    The loop stands still meanwhile, so an early ack would come after the task. A loop that cares sets `on_accepted`,
    which is called in the middle of `submit`, before the task starts; the event is still returned by `poll`.

    Spec: control-and-events#4.5
    """

    name = "solo"
    supports_hard_limit = False
    supports_soft_limit = False
    supports_terminate = False

    def __init__(
        self,
        size: int,
        execute: Callable[[Any, Callable[[], None]], Any],
        *,
        initialize: Callable[[int], None] | None = None,
        finalize: Callable[[int], None] | None = None,
        max_tasks_per_child: int | None = None,
        max_memory_per_child_kib: int | None = None,
        on_accepted: Callable[[Accepted], None] | None = None,
    ) -> None:
        super().__init__(
            1,
            execute,
            initialize=initialize,
            finalize=finalize,
            max_tasks_per_child=max_tasks_per_child,
            max_memory_per_child_kib=max_memory_per_child_kib,
        )
        self.on_accepted = on_accepted
        self._events: list[PoolEvent] = []
        self._busy = False

    def start(self) -> None:
        """Call `initialize`."""
        if self.initialize is not None:
            self.initialize(0)

    def free_slots(self) -> int:
        """One, unless events of the job before wait to be polled: its ack comes before the next job."""
        return 0 if self._busy or self._events else 1

    def submit(self, job: Job) -> None:
        """Run the job now. Raises `RuntimeError` when called from inside a job."""
        if self._busy:
            raise RuntimeError("the solo pool is running a job")
        self._run(job)

    def settle(self, job: Job) -> None:
        """Run the job now."""
        self._run(job)

    def _run(self, job: Job) -> None:
        outer, self._busy = self._busy, True
        pid = os.getpid()

        def accept() -> None:
            event = Accepted(job.number, pid, time.time())
            self._events.append(event)
            if self.on_accepted is not None:
                self.on_accepted(event)

        try:
            outcome = self.execute(job.payload, accept)
        except Exception:
            logger.critical("Pool job %d broke down", job.number, exc_info=True)
            self._events.append(Lost(job.number, pid, 1))
        except SystemExit as exc:
            # A task may ask for its process to end; there is only the worker's, and that goes on.
            self._events.append(Lost(job.number, pid, exit_status(exc), raised=True))
        except KeyboardInterrupt:
            self._events.append(Lost(job.number, pid, 1))
            raise
        else:
            self._events.append(Finished(job.number, outcome))
        finally:
            self._busy = outer

    def filenos(self) -> Iterable[int]:
        """None: nothing happens behind the loop's back."""
        return ()

    def poll(self) -> Sequence[PoolEvent]:
        """Return what the last jobs left."""
        events, self._events = self._events, []
        return events

    def next_deadline(self) -> float | None:
        """Now, while there are events."""
        return time.monotonic() if self._events else None

    def terminate(self, number: int, signum: int) -> bool:
        """Not possible: the caller is the one who runs the job."""
        return False

    def stop(self) -> None:
        """Nothing to stop."""

    def kill(self) -> None:
        """Nothing to kill."""

    def info(self) -> dict[str, Any]:
        """The `pool` map of `inspect stats`."""
        return {
            "implementation": f"{type(self).__module__}:{type(self).__qualname__}",
            "max-concurrency": 1,
            "processes": [os.getpid()],
            "max-tasks-per-child": None,
            "put-guarded-by-semaphore": True,
            "timeouts": [],
        }
