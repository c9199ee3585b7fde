"""Signals of the main process: first warm, then cold. Spec: control-and-events#5."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable
from enum import Enum
from types import FrameType
from typing import Any

__all__ = ["ShutdownSignals", "Stop"]


class Stop(Enum):
    """How far a shutdown has gone."""

    NO = "no"
    WARM = "warm"
    """No new tasks; the running ones end."""
    COLD = "cold"
    """Running tasks are ended too."""


class ShutdownSignals:
    """Turns INT, TERM and QUIT into a `Stop`; the handlers only note and print, the loop acts.

    The first TERM or INT stops warmly, QUIT coldly; any second signal stops coldly. The exit status is 1 once INT
    was received, else 0.

    Args:
        say: Where the shutdown texts go; standard output by default.
        on_stop: Told each time with the signal's name, ``Warm`` or ``Cold``, and the exit status.
        leave: Ends a process that has nothing else to do than this (`os._exit`). With it, a signal that comes when
            the loop is over already ends the process with its status, and `restore` leaves the handlers where
            they are: a late signal must neither be lost nor turn the status into "killed by a signal".
    """

    def __init__(
        self,
        *,
        say: Callable[[str], None] | None = None,
        on_stop: Callable[[str, str, int], None] | None = None,
        leave: Callable[[int], object] | None = None,
    ) -> None:
        self.stop = Stop.NO
        self.exitcode = 0
        self.colds = 0
        """How often a cold stop was asked for."""
        self._say = say if say is not None else _print
        self._on_stop = on_stop
        self._leave = leave
        self._is_over = False
        self._previous: dict[int, Any] = {}

    def install(self) -> None:
        """Take the signals over; `REMAP_SIGTERM=SIGQUIT` in the environment makes TERM mean QUIT."""
        cold_term = os.environ.get("REMAP_SIGTERM", "").upper() in ("SIGQUIT", "QUIT")
        handlers: dict[int, Callable[[int, FrameType | None], None]] = {
            signal.SIGINT: self.on_int,
            signal.SIGTERM: self.on_quit if cold_term else self.on_term,
            signal.SIGQUIT: self.on_quit,
        }
        for signum, handler in handlers.items():
            self._previous[signum] = signal.signal(signum, handler)
        if self._leave is not None:
            # The interpreter gives handlers up before it takes its modules down, which may take a while.
            atexit.register(_ignore, tuple(handlers))

    def loop_is_over(self) -> None:
        """From now on nobody acts on `stop`: only cleaning up is left."""
        self._is_over = True

    def restore(self) -> None:
        """Give the signals back, unless the process ends with the worker."""
        if self._leave is not None:
            return
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous.clear()

    def request_warm(self) -> None:
        """Remote control: warm shutdown, without a word on standard output; a signal may still hasten it."""
        if self.stop is not Stop.NO:
            return
        self.stop = Stop.WARM
        if self._on_stop is not None:
            self._on_stop("SIGTERM", "Warm", self.exitcode)

    def forget(self) -> None:
        """In a forked child: the parent's signals are not ours."""
        self._previous.clear()

    def on_term(self, signum: int, frame: FrameType | None) -> None:
        """Warm, then cold."""
        self._advance(signum, Stop.WARM if self.stop is Stop.NO else Stop.COLD)

    def on_int(self, signum: int, frame: FrameType | None) -> None:
        """Warm, then cold; exit status 1."""
        self.exitcode = 1
        if self.stop is Stop.NO:
            self._say(
                "\nworker: Hitting Ctrl+C again will initiate cold shutdown, terminating all running tasks!"
            )
        self._advance(signum, Stop.WARM if self.stop is Stop.NO else Stop.COLD)

    def on_quit(self, signum: int, frame: FrameType | None) -> None:
        """Cold."""
        self._advance(signum, Stop.COLD)

    def _advance(self, signum: int, how: Stop) -> None:
        self.stop = how
        self.colds += how is Stop.COLD
        word = "Warm" if how is Stop.WARM else "Cold"
        self._say(f"\nworker: {word} shutdown (MainProcess)")
        if self._on_stop is not None:
            self._on_stop(signal.Signals(signum).name, word, self.exitcode)
        if self._is_over and self._leave is not None:
            self._leave(self.exitcode)


def _ignore(signums: tuple[int, ...]) -> None:
    for signum in signums:
        signal.signal(signum, signal.SIG_IGN)


def _print(text: str) -> None:
    # `sys.__stdout__`: the worker may have redirected `sys.stdout` to its log.
    stream = sys.__stdout__ or sys.stdout
    if stream is not None:
        os.write(stream.fileno(), f"{text}\n".encode())
