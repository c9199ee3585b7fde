"""Wait for file descriptors and for signals, with one `poll` call per turn of the loop."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterable

__all__ = ["Waiter"]

LONGEST_WAIT_S = 3600.0
"""`poll` takes a C int of milliseconds, under 25 days; an eta may be centuries away."""


class Waiter:
    """`select.poll` over a set of descriptors that may change with every turn.

    A pipe wakes the wait when a signal handler ran or another thread called `wake`.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        self._readers: frozenset[int] = frozenset()
        self._writers: frozenset[int] = frozenset()
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)
        self._poll.register(self._wake_reader, select.POLLIN)
        self._previous_fd: int | None = None

    def watch_signals(self) -> None:
        """Let signals interrupt `wait`; only in the main thread."""
        self._previous_fd = signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)

    def wake(self) -> None:
        """End the current or next `wait`; callable from any thread."""
        try:
            os.write(self._wake_writer, b"\0")
        except BlockingIOError:
            return  # the pipe is full: a wake-up is already pending

    def wait(
        self, readers: Iterable[int], writers: Iterable[int], timeout_s: float | None
    ) -> set[int]:
        """Return the descriptors that are ready within `timeout_s` seconds (`None`: wait for ever)."""
        self._update(frozenset(readers), frozenset(writers))
        timeout_ms = None
        if timeout_s is not None:
            timeout_ms = max(0, int(min(timeout_s, LONGEST_WAIT_S) * 1000 + 0.999))
        ready = {fd for fd, _ in self._poll.poll(timeout_ms)}
        if self._wake_reader in ready:
            ready.discard(self._wake_reader)
            self._drain()
        return ready

    def close(self) -> None:
        """Give the descriptors back."""
        if self._previous_fd is not None:
            signal.set_wakeup_fd(self._previous_fd)
            self._previous_fd = None
        for fd in (self._wake_reader, self._wake_writer):
            os.close(fd)

    def filenos(self) -> tuple[int, int]:
        """The waiter's own descriptors; a forked child closes them."""
        return self._wake_reader, self._wake_writer

    def _update(self, readers: frozenset[int], writers: frozenset[int]) -> None:
        if readers == self._readers and writers == self._writers:
            return
        for fd in (self._readers | self._writers) - (readers | writers):
            self._poll.unregister(fd)
        for fd in readers | writers:
            mask = (select.POLLIN if fd in readers else 0) | (
                select.POLLOUT if fd in writers else 0
            )
            self._poll.register(fd, mask)
        self._readers, self._writers = readers, writers

    def _drain(self) -> None:
        try:
            while os.read(self._wake_reader, 4096):
                continue
        except BlockingIOError:
            return
