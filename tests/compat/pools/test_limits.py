"""Time limits, in the pools that have them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celeriac.pools.base import Accepted, Finished, Lost, TimedOut
from tests.compat.pools.driving import Driver, running


@pytest.fixture(params=["prefork", "threads"])
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    with running(request.param, 1) as driver:
        yield driver


def test_a_soft_limit_raises_inside_the_task_which_may_still_finish(driver: Driver) -> None:
    number = driver.submit("spin", 60, soft_limit_s=0.1)
    assert driver.wait(number, Finished).outcome == "interrupted"
    assert driver.of(number, TimedOut) == [TimedOut(number, soft=True, limit_s=0.1)]


def test_a_soft_limit_that_passes_after_the_end_hits_nobody(driver: Driver) -> None:
    quick = [driver.submit("echo", n, soft_limit_s=0.02) for n in range(30)]
    later = driver.submit("spin", 0.2)
    assert driver.wait(later, Finished).outcome == "done"
    assert [driver.wait(n, Finished).outcome for n in quick] == list(range(30))


def test_a_hard_limit_ends_the_job_and_the_slot_recovers(driver: Driver) -> None:
    number = driver.submit("spin", 60, hard_limit_s=0.1)
    assert driver.wait(number, TimedOut) == TimedOut(number, soft=False, limit_s=0.1)
    after = driver.submit("echo", "again")
    assert driver.wait(after, Finished).outcome == "again"
    assert [type(e) for e in driver.of(number)] == [Accepted, TimedOut]
    assert driver.of(number, Lost) == []


def test_a_hard_limit_follows_a_soft_limit_that_the_task_ignores() -> None:
    def stubborn(payload: object, accept: Callable[[], None]) -> str:
        accept()
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                time.sleep(0.01)
            except BaseException:  # noqa: BLE001 - the worst task there is
                continue
        return "done"

    with running("prefork", 1, execute=stubborn) as driver:
        number = driver.submit("any", soft_limit_s=0.1, hard_limit_s=0.3)
        driver.until(lambda: len(driver.of(number, TimedOut)) == 2)
        assert driver.of(number, TimedOut) == [
            TimedOut(number, soft=True, limit_s=0.1),
            TimedOut(number, soft=False, limit_s=0.3),
        ]


def test_finally_blocks_run_when_the_hard_limit_ends_a_prefork_child(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with running("prefork", 1) as driver:
        number = driver.submit("cleanup", str(mark), hard_limit_s=0.5)
        driver.wait(number, TimedOut)
    assert mark.read_text() == "cleaned up"
