"""Runs jobs in threads of this process.

A soft limit raises `SoftTimeLimitExceeded` inside the task as soon as it runs Python code again. A hard limit
cannot stop a thread: the job is reported as over at once, its thread is told to end by an asynchronous `SystemExit`
and is replaced; whatever it still reports is dropped.

Spec: control-and-events#4.5
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final

from celeriac.exceptions import SoftTimeLimitExceeded
from celeriac.pools.base import (
    Accepted,
    Finished,
    Job,
    Lost,
    Pool,
    PoolEvent,
    TimedOut,
    exit_status,
)

__all__ = ["ThreadsPool"]

logger = logging.getLogger(__name__)

_NOTHING: Final = object()
_EXIT_BROKEN: Final = 1


def _raise_in(thread_id: int, kind: type[BaseException] | None) -> None:
    """Make `kind` appear in a thread when it next runs bytecode; `None` takes back what has not appeared yet."""
    exception = ctypes.py_object(kind) if kind is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), exception)


class _Worker:
    """One thread and the job it has."""

    def __init__(self, pool: ThreadsPool, name: str) -> None:
        self.pool = pool
        self.inbox: SimpleQueue[Job | None] = SimpleQueue()
        self.job: Job | None = None
        """What the loop gave it; owned by the loop's thread."""
        self.deadlines: list[tuple[float, bool, float]] = []
        self.lock = threading.Lock()
        self.running: int | None = None
        """Number of the job that may be interrupted; guarded by `lock`."""
        self.is_ending = False
        self.thread = threading.Thread(target=self._serve, name=name, daemon=True)

    def interrupt(self, number: int, kind: type[BaseException]) -> None:
        """Raise `kind` inside job `number` if it still runs."""
        with self.lock:
            if self.running == number and self.thread.ident is not None:
                _raise_in(self.thread.ident, kind)

    def _serve(self) -> None:
        while (job := self.inbox.get()) is not None:
            try:
                self._run(job)
            except SystemExit:
                return  # abandoned, or the task asked for it: the loop replaces this thread

    def _run(self, job: Job) -> None:
        outcome: Any = _NOTHING
        try:
            try:
                outcome = self.pool.execute(job.payload, lambda: self._accept(job))
            finally:
                self._leave()
        except SoftTimeLimitExceeded:
            self._leave()  # it appeared between the end of the task and the line above
        except SystemExit as exc:
            self._leave()
            self.is_ending = True
            self.pool.report(self, Lost(job.number, os.getpid(), exit_status(exc), raised=True))
            raise
        except BaseException:
            logger.critical("Pool job %d broke down", job.number, exc_info=True)
        if outcome is _NOTHING:
            self.pool.report(self, Lost(job.number, os.getpid(), _EXIT_BROKEN))
        else:
            self.pool.report(self, Finished(job.number, outcome))

    def _accept(self, job: Job) -> None:
        with self.lock:
            self.running = job.number
        self.pool.report(self, Accepted(job.number, os.getpid(), time.time()))

    def _leave(self) -> None:
        with self.lock:
            if self.running is not None:
                self.running = None
                _raise_in(threading.get_ident(), None)


class ThreadsPool(Pool):
    """Runs up to `size` jobs in daemon threads. See `Pool` for the arguments; recycling limits do not apply."""

    name = "threads"
    supports_hard_limit = True
    supports_soft_limit = True
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
    ) -> None:
        super().__init__(
            size,
            execute,
            initialize=initialize,
            finalize=finalize,
            max_tasks_per_child=max_tasks_per_child,
            max_memory_per_child_kib=max_memory_per_child_kib,
        )
        self._workers: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._extra: _Worker | None = None
        self._settling: deque[Job] = deque()
        self._timed: set[_Worker] = set()
        self._reports: deque[tuple[_Worker, PoolEvent]] = deque()
        """Filled by the threads."""
        self._events: list[PoolEvent] = []
        self._signaled = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._started = 0

    def start(self) -> None:
        """Start the threads. Raises `OSError` when one cannot be started."""
        if self.initialize is not None:
            self.initialize(0)
        for _ in range(self.size):
            self._idle.append(self._new_worker())

    def _new_worker(self) -> _Worker:
        self._started += 1
        worker = _Worker(self, f"ThreadPoolWorker-{self._started}")
        try:
            worker.thread.start()
        except RuntimeError as exc:
            raise OSError(str(exc)) from exc
        self._workers.add(worker)
        return worker

    def free_slots(self) -> int:
        """Threads without a job."""
        return len(self._idle)

    def submit(self, job: Job) -> None:
        """Give a job to an idle thread. Raises `RuntimeError` when there is none."""
        if not self._idle:
            raise RuntimeError("no free slot in the pool")
        self._give(self._idle.pop(), job)

    def settle(self, job: Job) -> None:
        """Give a job to the extra thread, which is started on first use."""
        if self._extra is None:
            self._extra = self._new_worker()
        if self._extra.job is None:
            self._give(self._extra, job)
        else:
            self._settling.append(job)

    def _give(self, worker: _Worker, job: Job) -> None:
        worker.job = job
        worker.inbox.put(job)

    def report(self, worker: _Worker, event: PoolEvent) -> None:
        """Hand an event to the loop; called by the threads."""
        self._reports.append((worker, event))
        if not self._signaled:
            self._signaled = True
            try:
                os.write(self._writer, b"\0")
            except OSError:
                # Full: the loop is awake anyway. Closed: nobody listens to an abandoned thread.
                logger.debug("no wake-up for %r", event)

    def filenos(self) -> Iterable[int]:
        """The pipe the threads write to."""
        return (self._reader,)

    def poll(self) -> Sequence[PoolEvent]:
        """Return what the threads reported and see to the limits."""
        with suppress(BlockingIOError):
            os.read(self._reader, 4096)
        self._signaled = False  # before the reports are read: one that comes later signals again
        while self._reports:
            self._on_report(*self._reports.popleft())
        if self._timed:
            self._check_limits(time.monotonic())
        events, self._events = self._events, []
        return events

    def _on_report(self, worker: _Worker, event: PoolEvent) -> None:
        job = worker.job
        if job is None or job.number != event.number or worker not in self._workers:
            return  # of a job that is over already
        self._events.append(event)
        if isinstance(event, Accepted):
            self._start_clock(worker, job)
            return
        worker.job = None
        worker.deadlines = []
        self._timed.discard(worker)
        if worker.is_ending:
            self._replace(worker)
        else:
            self._make_idle(worker)

    def _start_clock(self, worker: _Worker, job: Job) -> None:
        limits = ((job.soft_limit_s, True), (job.hard_limit_s, False))
        now = time.monotonic()
        worker.deadlines = sorted((now + s, is_soft, s) for s, is_soft in limits if s)
        if worker.deadlines:
            self._timed.add(worker)

    def _check_limits(self, now: float) -> None:
        for worker in list(self._timed):
            job = worker.job
            if job is None or not worker.deadlines or worker.deadlines[0][0] > now:
                continue
            _, is_soft, limit_s = worker.deadlines.pop(0)
            self._events.append(TimedOut(job.number, soft=is_soft, limit_s=limit_s))
            if is_soft:
                worker.interrupt(job.number, SoftTimeLimitExceeded)
                if not worker.deadlines:
                    self._timed.discard(worker)
            else:
                worker.interrupt(job.number, SystemExit)
                worker.inbox.put(None)  # should it ever get there
                self._timed.discard(worker)
                self._replace(worker)

    def _replace(self, worker: _Worker) -> None:
        self._workers.discard(worker)
        fresh = self._new_worker()
        if worker is self._extra:
            self._extra = fresh
        self._make_idle(fresh)

    def _make_idle(self, worker: _Worker) -> None:
        if worker is not self._extra and self._is_surplus():
            self._dismiss(worker)
        elif worker is not self._extra:
            self._idle.append(worker)
        elif self._settling:
            self._give(worker, self._settling.popleft())

    def _is_surplus(self) -> bool:
        """Whether there are more threads than slots, since the pool shrank while they were busy."""
        return len(self._workers) - (self._extra is not None) > self.size

    def next_deadline(self) -> float | None:
        """When the next limit passes."""
        if self._events or self._reports:
            return time.monotonic()
        return min((w.deadlines[0][0] for w in self._timed if w.deadlines), default=None)

    def grow(self, count: int = 1) -> None:
        """Start more threads. Raises `OSError` when one cannot be started."""
        for _ in range(count):
            self._idle.append(self._new_worker())
            self.size += 1

    def shrink(self, count: int = 1) -> None:
        """End threads, idle ones now and busy ones after their job.

        Raises:
            ValueError: Fewer than one would be left.
        """
        if self.size - count < 1:
            raise ValueError("Can't shrink pool. All threads busy!")
        self.size -= count
        for _ in range(min(count, len(self._idle))):
            self._dismiss(self._idle.pop(0))

    def _dismiss(self, worker: _Worker) -> None:
        self._workers.discard(worker)
        worker.inbox.put(None)

    def terminate(self, number: int, signum: int) -> bool:
        """Not supported: a thread takes no signal."""
        return False

    def stop(self) -> None:
        """Let idle threads end and wait for them."""
        for worker in self._workers:
            worker.inbox.put(None)
        for worker in self._workers:
            if worker.job is None:
                worker.thread.join()
        self._close()

    def kill(self) -> None:
        """Ask running jobs to end by `SystemExit`; threads in C code go on until the process ends."""
        for worker in self._workers:
            worker.inbox.put(None)
            if worker.job is not None:
                worker.interrupt(worker.job.number, SystemExit)
        self._close()

    def _close(self) -> None:
        self._workers.clear()
        self._idle.clear()
        self._timed.clear()
        self._settling.clear()
        self._extra = None
        if self._reader >= 0:
            os.close(self._reader)
            os.close(self._writer)
            self._reader = self._writer = -1
            self._signaled = True  # nobody writes any more

    def info(self) -> dict[str, Any]:
        """The `pool` map of `inspect stats`."""
        return {
            "implementation": f"{type(self).__module__}:{type(self).__qualname__}",
            "max-concurrency": self.size,
            "threads": len(self._workers),
        }
