"""The parent's side of one prefork child: how it is forked, and what is known about it."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from celeriac.pools.base import Job
from celeriac.pools.child import ChildSettings, Target, run_child
from celeriac.pools.framing import FrameReader, FrameWriter

__all__ = ["Process", "describe_exit", "fork_process", "next_process_name"]

_COUNTER = itertools.count(1)


@dataclass(slots=True, eq=False)
class Process:
    """One child, from its fork until it is reaped."""

    index: int
    name: str
    pid: int
    sock: socket.socket
    """Our end, non-blocking."""
    target: Target
    pidfd: int | None
    """Readable when the child is dead; `None` where the system has no such thing."""
    since: float = field(default_factory=time.monotonic)
    """When the fork, or the hand-over of the current job, happened (monotonic)."""
    reader: FrameReader = field(default_factory=FrameReader)
    writer: FrameWriter = field(default_factory=FrameWriter)
    job: Job | None = None
    raised_exit: bool = False
    """Its job raised `SystemExit`."""
    sent: int = 0
    """Number of jobs handed over."""
    is_up: bool = False
    is_leaving: bool = False
    """It finished its last job or was told to go: no job is given to it."""
    is_retiring: bool = False
    """It is replaced after the job it has."""
    deadlines: list[tuple[float, bool, float]] = field(default_factory=list)
    """Limits of the running job, soonest first: ``(monotonic time, is soft, seconds)``."""
    timed_out: float | None = None
    """The hard limit that passed."""
    kill_at: float | None = None
    is_reaped: bool = False

    def signal(self, signum: int) -> bool:
        """Send a signal; False when the child is gone. Its pid is ours until it is reaped."""
        if self.is_reaped:
            return False
        try:
            os.kill(self.pid, signum)
        except ProcessLookupError:
            return False
        return True

    def close(self) -> None:
        """Release what the parent holds of a reaped child."""
        self.sock.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None
        self.target.close()


def next_process_name() -> str:
    """Return ``ForkPoolWorker-N``; N counts all children this parent ever started."""
    return f"ForkPoolWorker-{next(_COUNTER)}"


def fork_process(
    index: int, make_settings: Callable[[str, socket.socket, socket.socket, Target], ChildSettings]
) -> Process:
    """Fork a child for slot `index`; returns in the parent only.

    Args:
        index: What the parent calls the slot.
        make_settings: Called with name, the parent's end (for the child to close), the child's end, and the target.

    Raises:
        OSError: No process could be made.
    """
    ours, theirs = socket.socketpair()
    target = Target()
    name = next_process_name()
    settings = make_settings(name, ours, theirs, target)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()  # or the child writes the same text again
    # A signal must find either the parent's handlers in the parent or the child's in the child.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            run_child(settings)
    except OSError:
        ours.close()
        target.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()
    ours.setblocking(False)
    pidfd: int | None = None
    with suppress(AttributeError, OSError):
        pidfd = os.pidfd_open(pid)
    return Process(index, name, pid, ours, target, pidfd)


def describe_exit(exitcode: int) -> str:
    """Return ``signal 9 (SIGKILL)`` or ``exitcode 1``, as the log line about a dead child has it."""
    if exitcode >= 0:
        return f"exitcode {exitcode}"
    try:
        return f"signal {-exitcode} ({signal.Signals(-exitcode).name})"
    except ValueError:
        return f"signal {-exitcode}"
