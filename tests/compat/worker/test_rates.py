"""Tasks of a limited type start in order, one per token, and leave the line when they need not run any more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from celeriac.brokers.base import BrokerLostError
from celeriac.worker.rates import Bucket, parse_rate
from tests.compat.worker.doubles import NOW
from tests.compat.worker.remote.bench import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    subject = Bench()
    subject.pool.size = 100
    yield subject
    subject.close()


def started(bench: Bench) -> list[str]:
    return [bench.loop.requests[number].id for number in bench.pool.jobs]


def set_rate(bench: Bench, rate: Any) -> None:
    answer = bench.run("rate_limit", task_name="proj.add", rate_limit=rate)
    assert "ok" in answer, answer


def after(bench: Bench, seconds: float) -> list[str]:
    bench.clock.sleep(seconds)
    for _ in range(3):
        bench.loop.turn()
    return started(bench)


@pytest.mark.parametrize(
    ("limit", "rate"),
    [
        (None, 0.0), ("", 0.0), (0, 0.0), (5, 5.0), (0.5, 0.5), ("5", 5.0), ("5/s", 5.0), ("6/m", 0.1),
        ("36/h", 0.01), ("1.5/m", 0.025), ("0", 0.0), ("5/", 5.0),
    ],
)  # fmt: skip
def test_a_limit_is_read_as_starts_per_second(limit: Any, rate: float) -> None:
    assert parse_rate(limit) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("limit", "error"),
    [("5/d", KeyError), ("x/s", ValueError), ("-1/s", ValueError), ("inf", ValueError), ([1], TypeError)],
)  # fmt: skip
def test_what_is_no_limit_is_refused(limit: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_rate(limit)


def test_after_any_idle_time_there_is_one_token_and_no_more() -> None:
    bucket = Bucket(2.0)
    assert [bucket.take(at) for at in (100.0, 100.2, 100.5, 200.0, 200.0, 200.5)] == [
        True, False, True, True, False, True,
    ]  # fmt: skip


def test_limited_tasks_start_in_order_at_their_rate(bench: Bench) -> None:
    set_rate(bench, "2/s")
    for tag in range(4):
        bench.deliver(tag)
    assert after(bench, 0) == ["id-0"]
    assert after(bench, 0.4) == ["id-0"]
    assert after(bench, 0.1) == ["id-0", "id-1"]
    assert after(bench, 0.5) == ["id-0", "id-1", "id-2"]
    assert after(bench, 100) == ["id-0", "id-1", "id-2", "id-3"]
    assert bench.broker.acked == []


def test_the_loop_sleeps_until_the_next_token(bench: Bench) -> None:
    set_rate(bench, "1/m")
    bench.deliver(0)
    bench.deliver(1)
    after(bench, 0)
    assert bench.loop.limiter is not None
    assert bench.loop.limiter.due_in_s(bench.clock.monotonic()) == pytest.approx(60)
    after(bench, 60)
    assert bench.loop.limiter.due_in_s(bench.clock.monotonic()) is None


def test_who_waits_for_its_rate_is_in_no_list_and_widens_no_window(bench: Bench) -> None:
    set_rate(bench, "1/m")
    bench.deliver(0)
    bench.deliver(1)
    for name in ("active", "scheduled"):
        assert bench.run(name) == []
    assert [info["id"] for info in bench.run("reserved")] == ["id-0"]
    assert bench.run("query_task", ids=["id-1"]) == {}
    assert bench.loop.window == 8


def test_the_eta_comes_first_then_the_rate(bench: Bench) -> None:
    set_rate(bench, "1/s")
    bench.deliver(0, eta=(NOW + timedelta(seconds=5)).isoformat())
    bench.deliver(1)
    assert after(bench, 4.9) == ["id-1"]
    bench.deliver(2)
    assert after(bench, 0.2) == ["id-1", "id-2"]
    assert after(bench, 1) == ["id-1", "id-2", "id-0"]


def test_a_task_revoked_in_line_never_runs_and_takes_no_token(bench: Bench) -> None:
    set_rate(bench, "1/s")
    for tag in range(3):
        bench.deliver(tag)
    bench.run("revoke", task_id=["id-1"])
    assert after(bench, 1) == ["id-0", "id-2"]
    assert len(bench.pool.settling) == 2  # the mark, and the discarded request


def test_a_task_that_expires_in_line_takes_no_token(bench: Bench) -> None:
    set_rate(bench, "1/m")
    bench.deliver(0)
    bench.deliver(1, expires=(NOW + timedelta(seconds=1)).isoformat())
    bench.deliver(2)
    assert after(bench, 60) == ["id-0", "id-2"]
    assert "id-1" in [bench.loop.requests[number].id for number in bench.pool.settling]


def test_a_new_limit_keeps_the_line(bench: Bench) -> None:
    set_rate(bench, "1/h")
    for tag in range(4):
        bench.deliver(tag)
    set_rate(bench, "1/s")
    assert after(bench, 0) == ["id-0"]
    assert after(bench, 1) == ["id-0", "id-1"]
    set_rate(bench, None)
    assert after(bench, 0) == ["id-0", "id-1", "id-2", "id-3"]


def test_a_warm_stop_gives_the_line_back(bench: Bench) -> None:
    set_rate(bench, "1/h")
    bench.deliver(0)
    bench.deliver(1)
    bench.loop.stop()
    assert (1, True) in bench.broker.rejected


def test_a_lost_connection_empties_the_line(bench: Bench) -> None:
    set_rate(bench, "1/h")
    for tag in range(3):
        bench.deliver(tag)
    bench.loop.on_disconnect(BrokerLostError("gone"))
    assert bench.loop.limiter is not None
    assert [len(each.waiting) for each in bench.loop.limiter.buckets.values()] == [0]


def test_limits_can_be_switched_off_altogether(bench: Bench) -> None:
    bench.app.conf.worker_disable_rate_limits = True
    set_rate(bench, "1/h")
    bench.deliver(0)
    bench.deliver(1)
    assert after(bench, 0) == ["id-0", "id-1"]
    assert bench.app.tasks["proj.add"].rate_limit == "1/h"
