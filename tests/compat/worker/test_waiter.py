from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from celeriac.worker.waiter import Waiter


@pytest.fixture
def waiter() -> Iterator[Waiter]:
    subject = Waiter()
    yield subject
    subject.close()


def test_readable_descriptors_are_returned_and_the_set_may_change(waiter: Waiter) -> None:
    one, two = os.pipe(), os.pipe()
    os.write(two[1], b"x")
    assert waiter.wait([one[0], two[0]], [], 5) == {two[0]}
    assert waiter.wait([one[0]], [], 0) == set()
    os.write(one[1], b"x")
    assert waiter.wait([one[0]], [two[1]], 5) == {one[0], two[1]}
    for fd in (*one, *two):
        os.close(fd)


def test_another_thread_ends_a_wait(waiter: Waiter) -> None:
    threading.Timer(0.01, waiter.wake).start()
    assert waiter.wait([], [], None) == set()


def test_waking_more_often_than_the_pipe_holds_does_not_block(waiter: Waiter) -> None:
    for _ in range(200_000):
        waiter.wake()
    assert waiter.wait([], [], 5) == set()
    assert waiter.wait([], [], 0) == set()


def test_a_signal_ends_a_wait(waiter: Waiter) -> None:
    seen: list[int] = []
    previous = signal.signal(signal.SIGUSR2, lambda signum, frame: seen.append(signum))
    try:
        waiter.watch_signals()
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGUSR2)).start()
        waiter.wait([], [], None)
    finally:
        signal.signal(signal.SIGUSR2, previous)
    assert seen == [signal.SIGUSR2]


def test_a_wait_until_an_eta_centuries_away_is_possible(waiter: Waiter) -> None:
    waiter.wake()
    assert waiter.wait([], [], 8000 * 365 * 86400.0) == set()
