"""What only a pool of processes can get wrong."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from multiprocessing import current_process
from pathlib import Path
from typing import Any

import pytest

from celeriac.pools.base import Accepted, Finished, Lost
from tests.compat.pools.driving import PATIENCE_S, Driver, running


def pids(driver: Driver) -> list[int]:
    found: list[int] = driver.pool.info()["processes"]
    return found


def test_eight_megabytes_go_both_ways_without_blocking_the_parent() -> None:
    with running("prefork", 2) as driver:
        big = driver.submit("size", b"x" * 8_000_000)
        small = driver.submit("echo", "quick")
        assert driver.wait(small, Finished).outcome == "quick"
        assert driver.wait(big, Finished).outcome == 8_000_000
        back = driver.submit("blob", 8_000_000)
        assert len(driver.wait(back, Finished).outcome) == 8_000_000


def test_a_stopped_child_with_a_big_job_does_not_hold_up_the_others() -> None:
    with running("prefork", 2) as driver:
        driver.until(lambda: driver.pool.free_slots() == 2)
        stopped, other = pids(driver)
        os.kill(stopped, signal.SIGSTOP)
        jobs = [driver.submit("size", b"x" * 8_000_000) for _ in range(2)]
        driver.until(lambda: any(driver.of(n, Finished) for n in jobs))
        quick = driver.submit("pid")
        assert driver.wait(quick, Finished).outcome == other
        os.kill(stopped, signal.SIGCONT)
        assert all(driver.wait(n, Finished).outcome == 8_000_000 for n in jobs)


def test_a_child_that_never_accepts_its_job_is_killed_and_the_job_lost() -> None:
    with running("prefork", 1, accept_timeout_s=0.2) as driver:
        driver.until(lambda: driver.pool.free_slots() == 1)
        os.kill(pids(driver)[0], signal.SIGSTOP)
        number = driver.submit("echo")
        assert driver.wait(number, Lost).exitcode == -signal.SIGKILL
        assert driver.wait(driver.submit("echo", "again"), Finished).outcome == "again"


@pytest.mark.parametrize(
    ("verb", "argument", "exitcode"),
    [("signal", signal.SIGKILL, -9), ("exit", 7, 7), ("sys.exit", 3, 3), ("unpicklable", None, 1)],
)
def test_a_dead_child_loses_its_job_only_and_is_replaced(
    verb: str, argument: object, exitcode: int
) -> None:
    with running("prefork", 2) as driver:
        bystander = driver.submit("spin", 0.3)
        number = driver.submit(verb, argument)
        lost = driver.wait(number, Lost)
        assert lost.exitcode == exitcode
        assert driver.of(number, Accepted)[0].pid == lost.pid  # type: ignore[union-attr]
        assert driver.wait(bystander, Finished).outcome == "done"
        driver.until(lambda: driver.pool.free_slots() == 2)


def test_an_idle_child_that_is_killed_is_replaced() -> None:
    with running("prefork", 1) as driver:
        driver.until(lambda: driver.pool.free_slots() == 1)
        (pid,) = pids(driver)
        os.kill(pid, signal.SIGKILL)
        driver.until(lambda: pids(driver) not in ([pid], []) and driver.pool.free_slots() == 1)
        assert driver.wait(driver.submit("echo", 1), Finished).outcome == 1


def test_recycling_after_every_task_loses_nothing() -> None:
    with running("prefork", 2, max_tasks_per_child=1) as driver:
        numbers = [driver.submit("pid") for _ in range(60)]
        seen = [driver.wait(n, Finished).outcome for n in numbers]
        assert len(set(seen)) == 60
        assert not any(isinstance(e, Lost) for e in driver.events)


def test_a_recycled_child_exits_with_155(tmp_path: Path) -> None:
    def finalize(exitcode: int) -> None:
        (tmp_path / "exitcode").write_text(str(exitcode))

    with running("prefork", 1, max_tasks_per_child=2, finalize=finalize) as driver:
        first = driver.wait(driver.submit("pid"), Finished).outcome
        assert driver.wait(driver.submit("pid"), Finished).outcome == first
        assert driver.wait(driver.submit("pid"), Finished).outcome != first
        driver.until((tmp_path / "exitcode").exists)
        driver.until(lambda: (tmp_path / "exitcode").read_text() == "155")


def test_a_child_over_its_memory_limit_is_replaced_after_the_job() -> None:
    with running("prefork", 1, max_memory_per_child_kib=1) as driver:
        numbers = [driver.submit("pid") for _ in range(3)]
        assert len({driver.wait(n, Finished).outcome for n in numbers}) == 3


def test_terminate_raises_system_exit_inside_the_task(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with running("prefork", 1) as driver:
        number = driver.submit("cleanup", str(mark))
        driver.wait(number, Accepted)
        driver.until(lambda: mark.exists() and mark.read_text() == "working")
        assert driver.pool.terminate(number, signal.SIGTERM)
        assert driver.wait(number, Lost).exitcode == -signal.SIGTERM
        assert driver.wait(driver.submit("echo", 1), Finished).outcome == 1
    assert mark.read_text() == "cleaned up"


def test_a_signal_for_a_job_that_has_ended_does_not_hit_the_next_one() -> None:
    with running("prefork", 1) as driver:
        pool: Any = driver.pool
        ended = driver.submit("echo")
        driver.wait(ended, Finished)
        running_now = driver.submit("spin", 0.3)
        driver.wait(running_now, Accepted)
        (process,) = pool._processes.values()
        process.target.set(ended)
        os.kill(process.pid, signal.SIGTERM)
        assert driver.wait(running_now, Finished).outcome == "done"
        assert driver.pool.terminate(ended, signal.SIGTERM) is False


def test_children_ignore_the_keyboard_and_carry_worker_names() -> None:
    def execute(payload: object, accept: Callable[[], None]) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return current_process().name

    with running("prefork", 1, execute=execute) as driver:
        name = driver.wait(driver.submit("any"), Finished).outcome
        assert name.startswith("ForkPoolWorker-")
        assert name.removeprefix("ForkPoolWorker-").isdigit()


def test_a_child_whose_initialization_fails_gets_no_job_and_is_tried_again(tmp_path: Path) -> None:
    attempts = tmp_path / "attempts"

    def initialize(index: int) -> None:
        with attempts.open("a") as log:
            log.write("x")
        if len(attempts.read_text()) < 3:
            os._exit(9)

    with running("prefork", 1, initialize=initialize) as driver:
        assert driver.wait(driver.submit("echo", "late"), Finished).outcome == "late"
        assert attempts.read_text() == "xxx"


def test_hooks_run_first_in_the_child_and_not_in_the_parent() -> None:
    seen: list[str] = []

    def execute(payload: object, accept: Callable[[], None]) -> list[str]:
        return seen

    with running(
        "prefork",
        1,
        execute=execute,
        after_fork_in_child=[lambda: seen.append("hook")],
        initialize=lambda index: seen.append("initialize"),
    ) as driver:
        assert driver.wait(driver.submit("any"), Finished).outcome == ["hook", "initialize"]
    assert seen == []


def test_the_death_of_a_child_is_noticed_while_a_grandchild_holds_its_socket() -> None:
    def execute(payload: object, accept: Callable[[], None]) -> None:
        accept()
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(30)
            os.write(writer, b"x")
            signal.pause()
        os.read(reader, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    with running("prefork", 1, execute=execute) as driver:
        assert driver.wait(driver.submit("any"), Lost).exitcode == -9


def test_growing_and_shrinking_change_the_number_of_slots() -> None:
    with running("prefork", 1) as driver:
        driver.pool.grow(2)
        driver.until(lambda: driver.pool.free_slots() == 3)
        assert len(pids(driver)) == driver.pool.size == 3
        busy = driver.submit("spin", 0.3)
        driver.pool.shrink(2)
        assert driver.pool.size == 1
        assert driver.wait(busy, Finished).outcome == "done"
        driver.until(lambda: driver.pool.free_slots() == 1)
        with pytest.raises(ValueError, match="shrink"):
            driver.pool.shrink()


def test_a_restart_replaces_every_child_and_no_job_is_lost() -> None:
    with running("prefork", 2) as driver:
        driver.until(lambda: driver.pool.free_slots() == 2)
        before = set(pids(driver))
        busy = driver.submit("spin", 0.3)
        driver.pool.restart()
        assert driver.wait(busy, Finished).outcome == "done"
        driver.until(lambda: driver.pool.free_slots() == 2)
        assert not before & set(pids(driver))


def test_children_die_with_their_parent(tmp_path: Path) -> None:
    report = tmp_path / "pid"
    parent = os.fork()
    if parent == 0:
        with running("prefork", 1) as driver:
            number = driver.submit("spin", 60)
            report.write_text(str(driver.wait(number, Accepted).pid))
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(parent, 0)
    child = int(report.read_text())
    try:
        handle = os.pidfd_open(child)
    except ProcessLookupError:
        return  # gone already
    readable, _, _ = select.select([handle], [], [], PATIENCE_S)
    os.close(handle)
    assert readable
