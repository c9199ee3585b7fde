"""Child processes that never outlive the harness.

Every program the harness starts goes through `ManagedProcess`. Three nets catch it: the owner's `stop()`, an `atexit`
sweep for the paths where an owner never ran its clean-up, and (on Linux) a parent-death signal for the case where this
process is killed outright. Each child leads a process group of its own, so its children go with it, and nothing is ever
signalled by name.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

__all__ = ["TAIL_BYTES", "ManagedProcess", "ProcessEndedError", "stop_all"]

TAIL_BYTES = 8192
"""How much of a log is shown to a human when something fails."""

_PR_SET_PDEATHSIG = 1
_running: dict[int, ManagedProcess] = {}


class ProcessEndedError(RuntimeError):
    """A program that should still run has ended."""


def _parent_death_hook() -> Callable[[], None] | None:
    """Return a `preexec_fn` that asks Linux to terminate the child when this process dies, or None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    return ask


class ManagedProcess:
    """A program running in its own process group, with its output in a file.

    Args:
        name: What to call it in messages, e.g. ``worker celeriac``.
        command: Program and arguments; never passed through a shell.
        log: File that receives standard error, and standard output unless `pipes` is set.
        env: Whole environment of the child.
        cwd: Its working directory.
        pipes: Give the child piped standard input and output (for drivers).

    Raises:
        OSError: The program cannot be started.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str],
        cwd: Path | None = None,
        pipes: bool = False,
    ) -> None:
        self.name = name
        self.command = tuple(command)
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else output,
                stderr=output,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
                preexec_fn=_parent_death_hook(),
            )
        _running[self.pid] = self

    @property
    def pid(self) -> int:
        """Process id of the program itself."""
        return self._popen.pid

    @property
    def stdin(self) -> IO[bytes]:
        """Its standard input; only with `pipes`."""
        if self._popen.stdin is None:
            raise ValueError(f"{self.name} was started without pipes")
        return self._popen.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """Its standard output; only with `pipes`."""
        if self._popen.stdout is None:
            raise ValueError(f"{self.name} was started without pipes")
        return self._popen.stdout

    @property
    def status(self) -> int | None:
        """Exit status, or None while it runs."""
        return self._popen.poll()

    def check(self) -> None:
        """Raise `ProcessEndedError`, with the end of its log, when the program has ended."""
        if self.status is not None:
            raise ProcessEndedError(
                f"{self.name} (pid {self.pid}) ended with status {self.status}\n{self.tail()}"
            )

    def tail(self, limit: int = TAIL_BYTES) -> str:
        """Return the last `limit` bytes of the log, for humans."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - limit))
            return stream.read().decode("utf-8", "replace")

    def signal(self, number: int) -> None:
        """Send one signal to the program alone."""
        if self.status is None:
            self._popen.send_signal(number)

    def stop(self, grace_s: float = 10.0) -> int:
        """Terminate the program, wait, and remove what is left of its process group.

        Args:
            grace_s: How long it may take after SIGTERM before SIGKILL.

        Returns:
            Its exit status (negative: killed by that signal).
        """
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                self._close(pipe)
        if self.status is None:
            self._popen.terminate()
            try:
                self._popen.wait(grace_s)
            except subprocess.TimeoutExpired:
                self._popen.kill()
        self._sweep_group()
        status = self._popen.wait()
        _running.pop(self.pid, None)
        return status

    def _close(self, pipe: IO[bytes]) -> None:
        try:
            pipe.close()
        except BrokenPipeError:
            # The child ended with unread input: that is one of the ways to be stopped.
            return

    def _sweep_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            # Nothing is left of the group (or only a zombie of another user's): that is the aim.
            return


def stop_all() -> None:
    """Stop every program that still runs; registered to happen at interpreter exit."""
    for process in reversed(list(_running.values())):
        process.stop(grace_s=3.0)


atexit.register(stop_all)
