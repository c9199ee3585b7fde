"""The pool port: where tasks run. The worker's loop owns a pool and calls it from one thread, never blocking."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Accepted", "Finished", "Job", "Lost", "Pool", "PoolEvent", "TimedOut", "exit_status"]


@dataclass(slots=True)
class Job:
    """One unit of work for the pool.

    `payload` is handed unchanged to the `execute` callable of the pool in the place where the work runs (another
    process for prefork: it must pickle).
    """

    number: int
    """Unique within this worker process; identifies the job in every `PoolEvent`."""
    payload: Any
    soft_limit_s: float | None = None
    hard_limit_s: float | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The place that runs the job took it and is about to start; an early ack is due now."""

    number: int
    pid: int
    at: float
    """Wall clock seconds (`time.time()`)."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The job ended and told how; `outcome` is what `execute` returned."""

    number: int
    outcome: Any


@dataclass(frozen=True, slots=True)
class Lost:
    """The child died with the job. `exitcode` as in `multiprocessing`: negative means killed by that signal."""

    number: int
    pid: int
    exitcode: int
    raised: bool = False
    """The task itself raised `SystemExit`."""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """A limit passed. Soft: the task was told and may go on. Hard: the job is over (its child was replaced)."""

    number: int
    soft: bool
    limit_s: float


PoolEvent: TypeAlias = Accepted | Finished | Lost | TimedOut


def exit_status(exc: SystemExit) -> int:
    """Return the exit status that `exc` asks for, as the interpreter would; a text goes to standard error."""
    if exc.code is None:
        return 0
    if isinstance(exc.code, int):
        return exc.code
    sys.stderr.write(f"{exc.code}\n")
    return 1


class Pool(ABC):
    """Runs jobs.

    Args:
        size: Number of jobs run at once.
        execute: Called as ``execute(payload, accept)`` where the job runs; it calls ``accept()`` when it has checked
            the payload and is about to start the task (this produces `Accepted`), and returns the outcome.
        initialize: Called once as ``initialize(index)`` in every child process (or once in-process) before its
            first job.
        finalize: Called once as ``finalize(exitcode)`` in every child process before it exits.
    """

    name: str
    """``prefork``, ``threads``, ``solo``…"""
    supports_hard_limit: bool
    supports_soft_limit: bool
    supports_terminate: bool
    on_accepted: Callable[[Accepted], None] | None = None
    """Set by the loop. A pool that runs jobs in the calling thread calls it instead of reporting `Accepted` from
    `poll`, so that an early ack is out before the task starts; others ignore it."""

    def __init__(
        self,
        size: int,
        execute: Callable[[Any, Callable[[], None]], Any],
        *,
        initialize: Callable[[int], None] | None = None,
        finalize: Callable[[int], None] | None = None,
        max_tasks_per_child: int | None = None,
        max_memory_per_child_kib: int | None = None,
    ) -> None:
        self.size = size
        self.execute = execute
        self.initialize = initialize
        self.finalize = finalize
        self.max_tasks_per_child = max_tasks_per_child
        self.max_memory_per_child_kib = max_memory_per_child_kib

    @abstractmethod
    def start(self) -> None:
        """Create the children or threads. Raises `OSError` when it cannot."""

    @abstractmethod
    def free_slots(self) -> int:
        """How many jobs `submit` takes now without queueing behind a running one."""

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Start a job in a free slot. Raises `RuntimeError` when there is none."""

    @abstractmethod
    def settle(self, job: Job) -> None:
        """Run bookkeeping (store a result, send errbacks) for a task no slot ran, outside the `size` slots.

        Reported by `Accepted`/`Finished` like any job; must not wait for a slot to become free.
        """

    @abstractmethod
    def filenos(self) -> Iterable[int]:
        """File descriptors whose readability (or writability, see `writers`) means `poll` has work."""

    def writers(self) -> Iterable[int]:
        """File descriptors the pool waits to write to."""
        return ()

    @abstractmethod
    def poll(self) -> Sequence[PoolEvent]:
        """Do what can be done without waiting and return what happened, in order."""

    @abstractmethod
    def next_deadline(self) -> float | None:
        """Monotonic time at which `poll` must be called at the latest (limits, respawn), or `None`."""

    @abstractmethod
    def terminate(self, number: int, signum: int) -> bool:
        """Signal the child running job `number`; False when that job is not running or it is not supported."""

    @abstractmethod
    def stop(self) -> None:
        """End orderly: no job is running; children leave, threads join."""

    @abstractmethod
    def kill(self) -> None:
        """End at once, running jobs included."""

    def grow(self, count: int = 1) -> None:
        """Add slots. Raises `NotImplementedError` where the number is fixed."""
        raise NotImplementedError(f"{type(self)} does not implement grow")

    def shrink(self, count: int = 1) -> None:
        """Remove slots; running jobs end first. Raises `ValueError` when fewer than one would be left."""
        raise NotImplementedError(f"{type(self)} does not implement shrink")

    def restart(self) -> None:
        """Replace the places where jobs run, after their jobs; nothing where there are none."""

    @abstractmethod
    def info(self) -> dict[str, Any]:
        """The `pool` map of `inspect stats`. Spec: control-and-events#1.9."""
