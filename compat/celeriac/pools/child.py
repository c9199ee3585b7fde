"""The life of a prefork child: from the fork to `os._exit`.

The parent names the job a signal is meant for in a word of shared memory before it sends the signal. The handler
compares it with the job that is running, so a limit that passes in the moment a job ends never hits the next one.

Spec: control-and-events#4.5
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import logging
import mmap
import multiprocessing
import os
import pickle
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import util as multiprocessing_util
from socket import socket
from types import FrameType
from typing import Any, Final, NoReturn

from celeriac.exceptions import SoftTimeLimitExceeded
from celeriac.pools.base import exit_status
from celeriac.pools.framing import (
    ACCEPTED,
    FINISHED,
    JOB,
    LEAVING,
    RAISED_EXIT,
    UP,
    FrameReader,
    frame,
)

__all__ = ["EXIT_RECYCLED", "EXIT_TERMINATED_TWICE", "ChildSettings", "Target", "run_child"]

EXIT_RECYCLED: Final = 155
"""Exit status of a child that reached `max_tasks_per_child` or `max_memory_per_child_kib`."""
EXIT_TERMINATED_TWICE: Final = 70

_SOFT_SIGNAL: Final = signal.SIGUSR1
_END_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_PR_SET_PDEATHSIG: Final = 1
_WORD = struct.Struct("=q")
_TIME = struct.Struct("!d")
_RSS_UNIT: Final = 1024 if sys.platform == "darwin" else 1

_NOTHING: Final = object()

logger = logging.getLogger(__name__)

Execute = Callable[[Any, Callable[[], None]], Any]


class Target:
    """A word shared between parent and child: the number of the job the next signal is meant for."""

    ANY: Final = -1
    """The signal is not meant for a particular job."""

    __slots__ = ("_memory",)

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _WORD.size)
        self.set(self.ANY)

    def set(self, number: int) -> None:
        """Name the job; called by the parent."""
        _WORD.pack_into(self._memory, 0, number)

    def take(self) -> int:
        """Return the job named last and forget it; called in the child, once per signal."""
        number: int = _WORD.unpack_from(self._memory, 0)[0]
        self.set(self.ANY)
        return number

    def close(self) -> None:
        """Release the memory."""
        self._memory.close()


@dataclass(slots=True)
class ChildSettings:
    """What a child needs to know; everything is inherited through the fork."""

    name: str
    """``ForkPoolWorker-N``."""
    index: int
    """Slot of the pool, from 0."""
    sock: socket
    target: Target
    execute: Execute
    initialize: Callable[[int], None] | None
    finalize: Callable[[int], None] | None
    max_tasks: int | None
    max_memory_kib: int | None
    parent_pid: int
    title: str | None = None
    after_fork: Sequence[Callable[[], None]] = field(default_factory=tuple)


class _Child:
    def __init__(self, settings: ChildSettings) -> None:
        self.settings = settings
        self.job: int | None = None
        """Number of the job at hand, accepted or not."""
        self.running: int | None = None
        """Number of the job whose task may be interrupted now."""
        self.ending: int | None = None
        """Signal that asked this child to end."""
        self.done = 0

    # -- signals ---------------------------------------------------------------------------------

    def install_signals(self) -> None:
        signal.set_wakeup_fd(-1)
        for signum in (signal.SIGINT, signal.SIGUSR2):
            signal.signal(signum, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(_SOFT_SIGNAL, self._on_soft_limit)
        for signum in _END_SIGNALS:
            signal.signal(signum, self._on_end)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())

    def _on_soft_limit(self, signum: int, stack: FrameType | None) -> None:
        running, wanted = self.running, self.settings.target.take()
        if running is not None and wanted in (running, Target.ANY):
            raise SoftTimeLimitExceeded

    def _on_end(self, signum: int, stack: FrameType | None) -> None:
        wanted = self.settings.target.take()
        if wanted not in (Target.ANY, self.job):
            return  # meant for a job that has ended meanwhile
        if self.ending is not None:
            os._exit(EXIT_TERMINATED_TWICE)
        self.ending = signum
        raise SystemExit(-(256 - signum))

    # -- work ------------------------------------------------------------------------------------

    def run(self) -> int:
        """Serve jobs until told to leave; return the exit status."""
        settings = self.settings
        sock = settings.sock
        if settings.initialize is not None:
            settings.initialize(settings.index)
        sock.sendall(frame(UP, 0))
        reader = FrameReader()
        while True:
            frames = reader.receive(sock)
            if reader.closed:
                return 0
            for kind, number, payload in frames:
                if kind == JOB and not self._run_job(number, payload):
                    return EXIT_RECYCLED

    def _run_job(self, number: int, payload: bytes) -> bool:
        """Run one job and report; False when this child must be recycled."""
        sock = self.settings.sock

        def accept() -> None:
            # In this order: who reads the frame may signal at once.
            self.running = number
            sock.sendall(frame(ACCEPTED, number, _TIME.pack(time.time())))

        outcome: Any = _NOTHING
        self.job = number
        try:
            try:
                outcome = self.settings.execute(pickle.loads(payload), accept)  # noqa: S301 - our parent's
            finally:
                self.running = self.job = None
        except SystemExit:
            if self.ending is None:
                sock.sendall(frame(RAISED_EXIT, number))
            raise
        except SoftTimeLimitExceeded:
            if outcome is _NOTHING:
                raise  # else the limit passed just after the end: too late to matter
        if self.ending is not None:
            # The task swallowed the SystemExit; the parent has already given up on the job.
            raise SystemExit(-(256 - self.ending))
        data = pickle.dumps(outcome, protocol=pickle.HIGHEST_PROTOCOL)
        self.done += 1
        stays = not self._is_worn_out()
        sock.sendall(frame(FINISHED if stays else LEAVING, number, data))
        return stays

    def _is_worn_out(self) -> bool:
        settings = self.settings
        if settings.max_tasks is not None and self.done >= settings.max_tasks:
            return True
        if settings.max_memory_kib is None:
            return False
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // _RSS_UNIT
        if peak <= settings.max_memory_kib:
            return False
        logger.warning(
            "child process exiting after exceeding memory limit (%dKiB/%dKiB)",
            peak,
            settings.max_memory_kib,
        )
        return True


def run_child(settings: ChildSettings) -> NoReturn:
    """Be a pool child. Called in the child right after the fork, with all signals blocked; never returns."""
    status, ending = 1, None
    try:
        child = _Child(settings)
        try:
            _settle_in(settings)
            child.install_signals()
            status = child.run()
        except SystemExit as exc:
            status = exit_status(exc)
        except (BrokenPipeError, ConnectionResetError):
            status = 0  # the parent is gone
        except BaseException:
            logger.critical("Pool child %s broke down", settings.name, exc_info=True)
        _shut_signals(child)
        ending = child.ending
        _leave(settings, status)
    finally:
        # Nothing of the parent's (atexit handlers, finally blocks up the stack) may run in the child.
        if ending is not None:
            signal.signal(ending, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {ending})
            os.kill(os.getpid(), ending)
        os._exit(status & 0xFF)


def _settle_in(settings: ChildSettings) -> None:
    """Cut the ties to the parent's life that a fork leaves in place."""
    _die_with_parent(settings.parent_pid)
    gc.freeze()  # inherited objects are never collected: their pages stay shared
    process: Any = multiprocessing.current_process()
    process.name = settings.name
    process.index = settings.index
    # What `multiprocessing` itself does in a child: forget the parent's children and finalizers.
    multiprocessing_process: Any = sys.modules["multiprocessing.process"]
    multiprocessing_process._children = set()
    util: Any = multiprocessing_util
    util._finalizer_registry.clear()
    util._run_after_forkers()
    for hook in settings.after_fork:
        hook()
    if settings.title is not None:
        _set_title(settings.title)


def _die_with_parent(parent_pid: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(0)  # it died before the request above was in place


def _set_title(title: str) -> None:
    try:
        setproctitle = importlib.import_module("setproctitle")
    except ImportError:
        return
    setproctitle.setproctitle(title)


def _shut_signals(child: _Child) -> None:
    for signum in (_SOFT_SIGNAL, *_END_SIGNALS):
        signal.signal(signum, signal.SIG_IGN)
    child.running = child.job = None


def _leave(settings: ChildSettings, status: int) -> None:
    if settings.finalize is not None:
        try:
            settings.finalize(status)
        except Exception:
            logger.exception("Clean-up of pool child %s failed", settings.name)
    util: Any = multiprocessing_util
    util._exit_function()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
