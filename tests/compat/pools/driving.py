"""What the pool tests share: jobs that do as their payload says, and a loop that drives a pool like the worker's."""

from __future__ import annotations

import os
import selectors
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from celeriac.exceptions import SoftTimeLimitExceeded
from celeriac.pools.base import Job, Pool, PoolEvent
from celeriac.pools.prefork import PreforkPool
from celeriac.pools.solo import SoloPool
from celeriac.pools.threads import ThreadsPool

PATIENCE_S = 60.0

POOLS: dict[str, Callable[..., Pool]] = {
    "solo": SoloPool,
    "threads": ThreadsPool,
    "prefork": lambda *args, **kwargs: PreforkPool(*args, proc_alive_timeout_s=60, **kwargs),
}


def execute(payload: Any, accept: Callable[[], None]) -> Any:
    """Do what ``payload = (verb, argument)`` says."""
    verb, argument = payload
    if verb == "refuse":
        return "refused"
    accept()
    if verb == "echo":
        return argument
    if verb == "size":
        return len(argument)
    if verb == "blob":
        return b"x" * argument
    if verb == "pid":
        return os.getpid()
    if verb == "spin":
        return spin(argument)
    if verb == "cleanup":
        return clean_up(argument)
    if verb == "exit":
        os._exit(argument)
    if verb == "sys.exit":
        sys.exit(argument)
    if verb == "signal":
        os.kill(os.getpid(), argument)
        return spin(PATIENCE_S)
    if verb == "unpicklable":
        return lambda: None
    if verb == "raise":
        raise ValueError(argument)
    raise AssertionError(verb)


def spin(seconds: float) -> str:
    """Keep running Python code; say so when a soft limit interrupts it."""
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            time.sleep(0.005)
    except SoftTimeLimitExceeded:
        return "interrupted"
    return "done"


def clean_up(path: str) -> str:
    """Run until ended from outside, and leave a mark in a file on the way in and out."""
    try:
        Path(path).write_text("working")
        spin(PATIENCE_S)
    finally:
        Path(path).write_text("cleaned up")
    return "done"


class Driver:
    """Polls a pool and keeps every event."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.events: list[PoolEvent] = []
        self._numbers = 0

    def submit(self, verb: str, argument: Any = None, **limits: float) -> int:
        """Wait for a free slot and start a job there; return its number."""
        self.until(lambda: self.pool.free_slots() > 0)
        self._numbers += 1
        self.pool.submit(Job(self._numbers, (verb, argument), **limits))
        return self._numbers

    def settle(self, verb: str, argument: Any = None) -> int:
        """Start a job outside the slots; return its number."""
        self._numbers += 1
        self.pool.settle(Job(self._numbers, (verb, argument)))
        return self._numbers

    def turn(self, longest_s: float = 0.5) -> None:
        """Wait as the loop does, for the pool's descriptors or its deadline, and poll once."""
        deadline = self.pool.next_deadline()
        wait_s = longest_s
        if deadline is not None:
            wait_s = max(0.0, min(longest_s, deadline - time.monotonic()))
        with selectors.DefaultSelector() as selector:
            for fd in self.pool.filenos():
                selector.register(fd, selectors.EVENT_READ)
            for fd in self.pool.writers():
                selector.register(fd, selectors.EVENT_WRITE)
            selector.select(wait_s)
        self.events += self.pool.poll()

    def until(self, condition: Callable[[], bool]) -> None:
        """Turn until `condition` holds."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, f"never happened; events so far: {self.events}"
            self.turn()

    def of(self, number: int, kind: type[PoolEvent] | None = None) -> list[PoolEvent]:
        """Events of one job, of one kind."""
        return [
            e for e in self.events if e.number == number and (kind is None or isinstance(e, kind))
        ]

    def wait(self, number: int, kind: type[PoolEvent]) -> Any:
        """Turn until there is such an event and return it."""
        self.until(lambda: bool(self.of(number, kind)))
        return self.of(number, kind)[0]


@contextmanager
def running(kind: str, size: int = 2, **options: Any) -> Iterator[Driver]:
    """A started pool of that kind, killed at the end."""
    pool = POOLS[kind](size, options.pop("execute", execute), **options)
    pool.start()
    try:
        yield Driver(pool)
    finally:
        pool.kill()
