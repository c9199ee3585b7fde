"""What every pool promises, run over all of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from celeriac.pools.base import Accepted, Finished, Job, Lost
from tests.compat.pools.driving import POOLS, Driver, running


@pytest.fixture(params=sorted(POOLS))
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    with running(request.param) as driver:
        yield driver


def test_a_job_is_accepted_and_then_finished_with_its_outcome(driver: Driver) -> None:
    number = driver.submit("echo", {"a": [1, 2]})
    finished = driver.wait(number, Finished)
    assert finished.outcome == {"a": [1, 2]}
    assert [type(event) for event in driver.of(number)] == [Accepted, Finished]


def test_acceptance_tells_the_pid_and_the_wall_time(driver: Driver) -> None:
    before = time.time()
    number = driver.submit("pid")
    pid = driver.wait(number, Finished).outcome
    accepted = driver.wait(number, Accepted)
    assert accepted.pid == pid
    assert before - 1 <= accepted.at <= time.time() + 1


def test_a_job_that_is_refused_before_acceptance_only_finishes(driver: Driver) -> None:
    number = driver.submit("refuse")
    assert driver.wait(number, Finished).outcome == "refused"
    assert driver.of(number, Accepted) == []


def test_many_jobs_each_finish_once(driver: Driver) -> None:
    numbers = [driver.submit("echo", n) for n in range(50)]
    driver.until(lambda: sum(isinstance(e, Finished) for e in driver.events) == 50)
    outcomes = {e.number: e.outcome for e in driver.events if isinstance(e, Finished)}
    assert outcomes == {number: n for n, number in enumerate(numbers)}


def test_slots_are_free_again_after_their_jobs(driver: Driver) -> None:
    for _ in range(driver.pool.size):
        driver.submit("echo")
    driver.until(lambda: driver.pool.free_slots() == driver.pool.size)


def test_a_job_that_exits_is_lost_with_its_status_and_the_pool_goes_on(driver: Driver) -> None:
    number = driver.submit("sys.exit", 4)
    lost = driver.wait(number, Lost)
    assert (lost.exitcode, lost.raised) == (4, True)
    after = driver.submit("echo", "still here")
    assert driver.wait(after, Finished).outcome == "still here"


def test_a_job_that_breaks_down_is_lost_and_the_pool_goes_on(driver: Driver) -> None:
    number = driver.submit("raise", "broken")
    assert driver.wait(number, Lost).exitcode == 1
    after = driver.submit("echo", "still here")
    assert driver.wait(after, Finished).outcome == "still here"


def test_settling_does_not_wait_for_a_slot(driver: Driver) -> None:
    busy = []
    if driver.pool.name != "solo":
        busy = [driver.submit("spin", 60) for _ in range(driver.pool.size)]
        assert driver.pool.free_slots() == 0
    settled = [driver.settle("echo", n) for n in range(3)]
    assert [driver.wait(number, Finished).outcome for number in settled] == [0, 1, 2]
    assert not any(driver.of(number, Finished) for number in busy)


def test_submitting_without_a_free_slot_is_an_error(driver: Driver) -> None:
    if driver.pool.name == "solo":
        errors = []

        def nested(payload: object, accept: object) -> None:
            try:
                driver.pool.submit(Job(99, None))
            except RuntimeError as exc:
                errors.append(exc)

        pool: Any = driver.pool
        pool.execute = nested
        driver.pool.submit(Job(98, None))
        assert len(errors) == 1
        return
    for _ in range(driver.pool.size):
        driver.submit("spin", 60)
    with pytest.raises(RuntimeError):
        driver.pool.submit(Job(99, ("echo", None)))


def test_terminating_an_unknown_job_says_no(driver: Driver) -> None:
    assert driver.pool.terminate(12345, 15) is False


def test_initialize_is_called_before_the_first_job() -> None:
    for kind in POOLS:
        seen: list[int] = []

        def execute(payload: object, accept: object, seen: list[int] = seen) -> list[int]:
            return list(seen)

        with running(kind, 1, execute=execute, initialize=seen.append) as driver:
            assert driver.wait(driver.submit("any"), Finished).outcome == [0]


def test_information_names_the_implementation_and_the_size(driver: Driver) -> None:
    info = driver.pool.info()
    assert info["max-concurrency"] == driver.pool.size
    module, _, name = info["implementation"].partition(":")
    assert module.startswith("celeriac.pools.")
    assert name.endswith("Pool")


def test_stopping_an_idle_pool_leaves_nothing_behind(driver: Driver) -> None:
    number = driver.submit("pid")
    pid = driver.wait(number, Finished).outcome
    driver.pool.stop()
    if pid != os.getpid():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("kind", ["prefork", "threads"])
def test_a_pool_grows_and_shrinks_while_jobs_run(kind: str) -> None:
    with running(kind, 1) as driver:
        driver.pool.grow(2)
        driver.until(lambda: driver.pool.free_slots() == 3)
        busy = [driver.submit("spin", 0.3) for _ in range(3)]
        driver.pool.shrink(2)
        assert driver.pool.size == 1
        for number in busy:
            driver.wait(number, Finished)
        driver.until(lambda: driver.pool.free_slots() == 1)
        assert driver.wait(driver.submit("echo", 1), Finished).outcome == 1
        with pytest.raises(ValueError, match="shrink"):
            driver.pool.shrink()
        driver.pool.grow()
        driver.until(lambda: driver.pool.free_slots() == 2)
