"""Child processes made by `os.fork` from a single-threaded parent, each on its own socket.

What the parent guarantees: it never waits for a child outside `stop` and `kill`; a child has at most one job, so
nothing queues behind a stuck one; a job is reported finished, timed out or lost exactly once; every slot gets a new
child when the old one leaves, however it left. All sockets and process handles sit in one selector whose own
descriptor is the only one the loop has to watch.

Spec: control-and-events#4.5, control-and-events#4.6
"""

from __future__ import annotations

import logging
import os
import pickle
import selectors
import signal
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

from celeriac.pools.base import Accepted, Finished, Job, Lost, Pool, PoolEvent, TimedOut
from celeriac.pools.child import ChildSettings, Target
from celeriac.pools.framing import ACCEPTED, FINISHED, JOB, LEAVING, RAISED_EXIT, UP, frame
from celeriac.pools.process import Process, describe_exit, fork_process

__all__ = ["PreforkPool"]

logger = logging.getLogger(__name__)

_TIME = struct.Struct("!d")
_READ: Final = selectors.EVENT_READ
_WRITE: Final = selectors.EVENT_WRITE
_SETTLE: Final = -1
"""Slot of the extra child for `settle` jobs."""
_KILL_AFTER_S: Final = 0.1
"""Between TERM and KILL of a child past its hard limit."""
_REAP_INTERVAL_S: Final = 0.5
"""How often children are asked for where the system has no process handles."""
_RESPAWN_DELAYS_S: Final = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
"""By the number of children in a row that died before they were up."""


class PreforkPool(Pool):
    """Runs every job in one of `size` forked processes.

    Args:
        size: Number of processes.
        execute: See `Pool`. Its outcome must pickle: what does not is a broken child.
        initialize: See `Pool`; the index of the extra process for `settle` jobs is `size`.
        finalize: See `Pool`.
        max_tasks_per_child: A child is replaced after so many jobs.
        max_memory_per_child_kib: A child whose peak resident memory is above is replaced after its job.
        after_fork_in_child: Called first thing in every child: close what the parent's loop holds (its selector,
            the broker connection).
        proc_alive_timeout_s: A child that is not up by then is killed and replaced.
        accept_timeout_s: A child that got a job and did not accept it by then counts as stuck: it is killed and
            its job is `Lost`. `None`: never.
        node_name: For process titles, where `setproctitle` is installed and NOSETPS is unset.
        limits: The default ``(soft, hard)`` limits shown by `info`.
    """

    name = "prefork"
    supports_hard_limit = True
    supports_soft_limit = True
    supports_terminate = True

    def __init__(
        self,
        size: int,
        execute: Callable[[Any, Callable[[], None]], Any],
        *,
        initialize: Callable[[int], None] | None = None,
        finalize: Callable[[int], None] | None = None,
        max_tasks_per_child: int | None = None,
        max_memory_per_child_kib: int | None = None,
        after_fork_in_child: Iterable[Callable[[], None]] = (),
        proc_alive_timeout_s: float = 4.0,
        accept_timeout_s: float | None = 60.0,
        node_name: str | None = None,
        limits: tuple[float, float] = (0, 0),
    ) -> None:
        super().__init__(
            size,
            execute,
            initialize=initialize,
            finalize=finalize,
            max_tasks_per_child=max_tasks_per_child,
            max_memory_per_child_kib=max_memory_per_child_kib,
        )
        self.after_fork_in_child = list(after_fork_in_child)
        self.proc_alive_timeout_s = proc_alive_timeout_s
        self.accept_timeout_s = accept_timeout_s
        self.node_name = node_name
        self.limits = limits
        self._selector: Any = selectors.DefaultSelector()
        self._processes: dict[int, Process] = {}
        """By pid: every child not yet reaped."""
        self._slots: dict[int, Process | None] = {}
        """Who fills each slot; `None` while its next child is waited for."""
        self._idle: list[Process] = []
        self._jobs: dict[int, Process] = {}
        """By job number, until the job is reported over."""
        self._watched: set[Process] = set()
        """Children with something due: to be up, to accept, a limit, a KILL."""
        self._respawn: list[tuple[float, int]] = []
        """``(monotonic time, slot)`` of children to fork later."""
        self._early_deaths = 0
        self._events: list[PoolEvent] = []
        self._settling: deque[Job] = deque()
        self._next_reap: float | None = None
        self._running = False
        self._total_sent = 0

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Fork `size` children; each counts as free once it is up. Raises `OSError` when a fork fails."""
        self._running = True
        try:
            for index in range(self.size):
                self._fork(index)
        except OSError:
            self.kill()
            raise

    def stop(self, timeout_s: float = 10.0) -> None:
        """Let the children leave; those still there after `timeout_s` are killed."""
        self._running = False
        for process in list(self._processes.values()):
            self._dismiss(process)
        deadline = time.monotonic() + timeout_s
        while self._processes and time.monotonic() < deadline:
            self._selector.select(0.02)
            for process in list(self._processes.values()):
                self._reap(process)
        self.kill()

    def kill(self) -> None:
        """Kill every child and wait until the kernel has."""
        self._running = False
        processes = list(self._processes.values())
        for process in processes:
            process.signal(signal.SIGKILL)
        for process in processes:
            self._reap(process, wait=True)
        self._respawn.clear()
        self._settling.clear()

    def grow(self, count: int = 1) -> None:
        """Add slots. Raises `OSError` when a fork fails."""
        for _ in range(count):
            index = next(i for i in range(self.size + 1) if i not in self._slots)
            self._fork(index)
            self.size += 1

    def shrink(self, count: int = 1) -> None:
        """Remove slots, idle ones first; a child with a job leaves after it.

        Raises:
            ValueError: Fewer than one slot would be left.
        """
        if self.size - count < 1:
            raise ValueError("Can't shrink pool. All processes busy!")
        indexes = sorted(
            (i for i in self._slots if i != _SETTLE), key=lambda i: (self._is_busy(i), -i)
        )
        for index in indexes[:count]:
            process = self._slots.pop(index)
            self._respawn = [(at, i) for at, i in self._respawn if i != index]
            self.size -= 1
            if process is not None:
                self._retire(process)

    def restart(self) -> None:
        """Replace every child: idle ones now, the others after their job."""
        for process in list(self._slots.values()):
            if process is not None:
                self._retire(process)

    def _is_busy(self, index: int) -> bool:
        process = self._slots[index]
        return process is not None and process.job is not None

    def _fork(self, index: int) -> None:
        process = fork_process(index, lambda *parts: self._child_settings(index, *parts))
        if process.pidfd is not None:
            # A grandchild may keep the socket open; the process handle tells the truth.
            self._selector.register(process.pidfd, _READ, process)
        else:
            self._next_reap = time.monotonic() + _REAP_INTERVAL_S
        self._selector.register(process.sock, _READ, process)
        self._processes[process.pid] = process
        self._slots[index] = process
        self._watched.add(process)

    def _child_settings(
        self, index: int, name: str, ours: socket.socket, theirs: socket.socket, target: Target
    ) -> ChildSettings:
        is_extra = index == _SETTLE
        title = None
        if self.node_name is not None and not os.environ.get("NOSETPS"):
            title = f"[celeryd: {self.node_name}:{name}]"
        return ChildSettings(
            name=name,
            index=self.size if is_extra else index,
            sock=theirs,
            target=target,
            execute=self.execute,
            initialize=self.initialize,
            finalize=self.finalize,
            max_tasks=None if is_extra else self.max_tasks_per_child,
            max_memory_kib=self.max_memory_per_child_kib,
            parent_pid=os.getpid(),
            title=title,
            after_fork=(ours.close, self._close_inherited, *self.after_fork_in_child),
        )

    def _close_inherited(self) -> None:
        for process in self._processes.values():
            process.sock.close()
            if process.pidfd is not None:
                os.close(process.pidfd)
        self._selector.close()

    # -- jobs ------------------------------------------------------------------------------------

    def free_slots(self) -> int:
        """Children that are up and have no job."""
        return len(self._idle)

    def submit(self, job: Job) -> None:
        """Send a job to an idle child. Raises `RuntimeError` when there is none, or what pickle raises."""
        if not self._idle:
            raise RuntimeError("no free slot in the pool")
        data = frame(JOB, job.number, pickle.dumps(job.payload, pickle.HIGHEST_PROTOCOL))
        self._give(self._idle.pop(), job, data)

    def settle(self, job: Job) -> None:
        """Queue a job for the extra child, which is forked on first use."""
        self._settling.append(job)
        if _SETTLE not in self._slots and self._running:
            self._spawn(_SETTLE)
        else:
            self._settle_next()

    def _settle_next(self) -> None:
        process = self._slots.get(_SETTLE)
        if process is None or not process.is_up or process.is_leaving or process.job is not None:
            return
        if self._settling:
            job = self._settling.popleft()
            data = frame(JOB, job.number, pickle.dumps(job.payload, pickle.HIGHEST_PROTOCOL))
            self._give(process, job, data)

    def _give(self, process: Process, job: Job, data: bytes) -> None:
        process.job = job
        process.sent += 1
        self._total_sent += 1
        self._jobs[job.number] = process
        if self.accept_timeout_s is not None:
            process.since = time.monotonic()
            self._watched.add(process)
        try:
            process.writer.send(process.sock, data)
        except OSError:
            return  # it is dying: `poll` reports how it ended
        if process.writer.pending:
            self._selector.modify(process.sock, _READ | _WRITE, process)

    def terminate(self, number: int, signum: int) -> bool:
        """Signal the child that runs job `number`, unless it has just finished it."""
        process = self._jobs.get(number)
        if process is None:
            return False
        self._read(process)
        if self._jobs.get(number) is not process:
            return False
        process.target.set(number)
        return process.signal(signum)

    # -- events ----------------------------------------------------------------------------------

    def filenos(self) -> Iterable[int]:
        """The selector's own descriptor: readable when a child has something, can take more, or died."""
        return (self._selector.fileno(),)

    def poll(self) -> Sequence[PoolEvent]:
        """Read what children sent, write what they take, see to limits, dead children and new ones."""
        for key, mask in self._selector.select(0):
            process: Process = key.data
            if process.is_reaped:
                continue
            if key.fd == process.pidfd:
                self._reap(process)
                continue
            if mask & _WRITE:
                self._write(process)
            if mask & _READ:
                self._read(process)
        if self._watched or self._respawn or self._next_reap is not None:
            self._tick(time.monotonic())
        events = self._events
        if events:
            self._events = []
        return events

    def next_deadline(self) -> float | None:
        """When the next limit passes, or a KILL or a fork is due."""
        if self._events:
            return time.monotonic()
        times = [at for process in self._watched if (at := self._due(process)) is not None]
        times += [at for at, _ in self._respawn]
        if self._next_reap is not None:
            times.append(self._next_reap)
        return min(times, default=None)

    def _due(self, process: Process) -> float | None:
        if process.kill_at is not None:
            return process.kill_at
        if process.deadlines:
            return process.deadlines[0][0]
        if not process.is_up:
            return process.since + self.proc_alive_timeout_s
        if process.job is not None and self.accept_timeout_s is not None:
            return process.since + self.accept_timeout_s
        return None

    def _read(self, process: Process) -> None:
        for kind, number, payload in process.reader.drain(process.sock):
            if kind == ACCEPTED:
                self._on_accepted(process, number, payload)
            elif kind in (FINISHED, LEAVING):
                self._on_finished(process, number, payload, is_last=kind == LEAVING)
            elif kind == RAISED_EXIT:
                process.raised_exit = True
            elif kind == UP:
                self._on_up(process)
        if process.reader.closed and not process.is_reaped:
            with suppress(KeyError, ValueError):
                self._selector.unregister(process.sock)
            self._drop_idle(process)
            self._reap(process)
            if not process.is_reaped and process.pidfd is None:
                self._next_reap = time.monotonic() + 0.01

    def _write(self, process: Process) -> None:
        try:
            process.writer.flush(process.sock)
            if process.writer.pending:
                return
        except OSError:
            logger.debug("%s does not read any more", process.name)
        self._selector.modify(process.sock, _READ, process)

    def _on_up(self, process: Process) -> None:
        process.is_up = True
        self._early_deaths = 0
        self._watched.discard(process)
        self._make_idle(process)

    def _make_idle(self, process: Process) -> None:
        if process.is_leaving or not self._running:
            return
        if process.is_retiring or self._slots.get(process.index) is not process:
            self._dismiss(process)
            self._replace(process)
        elif process.index == _SETTLE:
            self._settle_next()
        else:
            self._idle.append(process)

    def _on_accepted(self, process: Process, number: int, payload: bytes) -> None:
        job = process.job
        if job is None or job.number != number:
            return
        self._events.append(Accepted(number, process.pid, _TIME.unpack(payload)[0]))
        if job.soft_limit_s or job.hard_limit_s:
            now = time.monotonic()
            limits = ((job.soft_limit_s, True), (job.hard_limit_s, False))
            process.deadlines = sorted((now + s, is_soft, s) for s, is_soft in limits if s)
            self._watched.add(process)
        else:
            self._watched.discard(process)

    def _on_finished(self, process: Process, number: int, payload: bytes, *, is_last: bool) -> None:
        job = process.job
        if job is None or job.number != number:
            return
        self._end_job(process)
        # A job that ended just before the hard limit's signal came is a finished job.
        process.kill_at = process.timed_out = None
        self._events.append(Finished(number, pickle.loads(payload)))  # noqa: S301 - our own child's
        if is_last:
            self._replace(process)
        else:
            self._make_idle(process)

    def _end_job(self, process: Process) -> None:
        if process.job is not None:
            self._jobs.pop(process.job.number, None)
            process.job = None
        if process.deadlines:
            process.deadlines = []
        self._watched.discard(process)

    # -- limits and ends -------------------------------------------------------------------------

    def _tick(self, now: float) -> None:
        for process in list(self._watched):
            due = self._due(process)
            if due is not None and due <= now:
                self._on_due(process, now)
        if self._respawn and self._running:
            due_slots = [index for at, index in self._respawn if at <= now]
            self._respawn = [(at, index) for at, index in self._respawn if at > now]
            for index in due_slots:
                self._spawn(index)
        if self._next_reap is not None and now >= self._next_reap:
            for process in list(self._processes.values()):
                self._reap(process)
            self._next_reap = now + _REAP_INTERVAL_S

    def _on_due(self, process: Process, now: float) -> None:
        if process.kill_at is not None:
            process.kill_at = None
            process.signal(signal.SIGKILL)
            self._watched.discard(process)
            return
        self._read(process)  # what is waited for may have just come
        due = self._due(process)
        if process.is_reaped or due is None or due > now:
            return
        if not process.deadlines:
            awaited = "a job to be accepted" if process.is_up else "UP message"
            logger.error("Timed out waiting for %s from %s", awaited, process.name)
            process.signal(signal.SIGKILL)
            self._watched.discard(process)
        elif process.job is not None:
            _, is_soft, limit_s = process.deadlines.pop(0)
            self._on_limit(process, process.job.number, is_soft, limit_s, now)

    def _on_limit(
        self, process: Process, number: int, is_soft: bool, limit_s: float, now: float
    ) -> None:
        process.target.set(number)
        if is_soft:
            self._events.append(TimedOut(number, soft=True, limit_s=limit_s))
            process.signal(signal.SIGUSR1)
            if not process.deadlines:
                self._watched.discard(process)
            return
        # Reported when the process is gone: nobody may store its failure while it still works.
        process.timed_out = limit_s
        process.deadlines = []
        process.kill_at = now + _KILL_AFTER_S
        process.signal(signal.SIGTERM)

    def _reap(self, process: Process, *, wait: bool = False) -> None:
        """If the child has ended, take its last words, report and replace it."""
        if process.is_reaped:
            return
        try:
            pid, status = os.waitpid(process.pid, 0 if wait else os.WNOHANG)
        except ChildProcessError:
            pid, status = process.pid, 255 << 8  # somebody else took the status
        if pid == 0:
            return
        process.is_reaped = True
        expected = process.is_leaving or process.timed_out is not None or not self._running
        process.is_leaving = True
        if not process.reader.closed:
            self._read(process)
            expected = expected or self._slots.get(process.index) is not process
        self._on_exit(process, os.waitstatus_to_exitcode(status), expected=expected)

    def _on_exit(self, process: Process, exitcode: int, *, expected: bool) -> None:
        job = process.job
        self._end_job(process)
        if job is not None and process.timed_out is not None:
            self._events.append(TimedOut(job.number, soft=False, limit_s=process.timed_out))
        elif job is not None:
            self._events.append(Lost(job.number, process.pid, exitcode, process.raised_exit))
        if not process.is_up:
            self._early_deaths += 1
        self._processes.pop(process.pid, None)
        self._drop_idle(process)
        for handle in (process.sock, process.pidfd):
            if handle is not None:
                with suppress(KeyError, ValueError):
                    self._selector.unregister(handle)
        process.close()
        if not expected:
            logger.error(
                "Process '%s' pid:%d exited with '%s'",
                process.name,
                process.pid,
                describe_exit(exitcode),
            )
        self._replace(process)

    def _drop_idle(self, process: Process) -> None:
        if process in self._idle:
            self._idle.remove(process)

    def _retire(self, process: Process) -> None:
        if process.job is not None or not process.is_up:
            process.is_retiring = True
            return
        self._dismiss(process)
        self._replace(process)

    def _replace(self, process: Process) -> None:
        """See that the slot of a leaving or dead child gets a new one."""
        process.is_leaving = True
        if self._slots.get(process.index) is not process:
            return  # done already, or the slot is no longer wanted
        if not self._running or (process.index == _SETTLE and not self._settling):
            del self._slots[process.index]
            return
        self._slots[process.index] = None
        delay = _RESPAWN_DELAYS_S[min(self._early_deaths, len(_RESPAWN_DELAYS_S) - 1)]
        if delay:
            self._respawn.append((time.monotonic() + delay, process.index))
        else:
            self._spawn(process.index)

    def _spawn(self, index: int) -> None:
        try:
            self._fork(index)
        except OSError as exc:
            logger.error("Cannot fork a pool process, trying again: %s", exc)
            self._slots[index] = None
            self._respawn.append((time.monotonic() + 1.0, index))

    def _dismiss(self, process: Process) -> None:
        """Tell a child to leave when it has no job: it sees the end of its input."""
        process.is_leaving = True
        self._drop_idle(process)
        with suppress(OSError):
            process.sock.shutdown(socket.SHUT_WR)

    # -- information -----------------------------------------------------------------------------

    def info(self) -> dict[str, Any]:
        """The `pool` map of `inspect stats`."""
        processes = [p for i, p in sorted(self._slots.items()) if p is not None and i != _SETTLE]
        total = self._total_sent
        shares = [p.sent / total if total else 0.0 for p in processes]
        average = sum(shares) / len(shares) if shares else 0.0
        return {
            "implementation": f"{type(self).__module__}:{type(self).__qualname__}",
            "max-concurrency": self.size,
            "processes": [p.pid for p in processes],
            "max-tasks-per-child": self.max_tasks_per_child or "N/A",
            "put-guarded-by-semaphore": False,
            "timeouts": list(self.limits),
            "writes": {
                "total": total,
                "avg": f"{average:.2f}",
                "all": ", ".join(f"{share:.2f}" for share in shares),
                "raw": ", ".join(str(p.sent) for p in processes),
                "strategy": "fair",
                "inqueues": {
                    "total": len(processes),
                    "active": sum(p.writer.pending for p in processes),
                },
            },
        }
