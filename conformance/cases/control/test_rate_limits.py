"""How often tasks of one type start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Call, Exchange
from celeriac_conformance.own_workers import OwnWorker, own_worker, the_worker

SLACK_S = 0.08
"""What two processes' clocks and scheduling may take off the gap between two starts."""


def limit(worker: OwnWorker, rate: object) -> None:
    """Limit `echo`."""
    answer = worker.control("rate_limit", task_name="echo", rate_limit=rate)
    assert isinstance(answer, dict)
    assert "ok" in answer, answer


@contextmanager
def limited_worker(exchange: Exchange) -> Iterator[OwnWorker]:
    """Use the cell's worker, and lift the limit of `echo` at the end."""
    worker = the_worker(exchange)
    try:
        yield worker
    finally:
        limit(worker, None)


def starts(exchange: Exchange, calls: list[Call]) -> list[float]:
    """Wait until all have run once, and return when."""
    times = [exchange.wait_run(call)[0].time for call in calls]
    for call in calls:
        exchange.producer.result(call)
    return times


@case("limits/rate-gaps", spec="control-and-events#4.7")
def test_limited_tasks_start_in_order_at_their_rate(exchange: Exchange) -> None:
    with limited_worker(exchange) as worker:
        limit(worker, "2/s")
        times = starts(exchange, [worker.send("echo", number) for number in range(4)])
        assert [later - earlier >= 0.5 - SLACK_S for earlier, later in pairwise(times)] == [
            True
        ] * 3


@case(
    "limits/rate-form-{form}",
    spec="control-and-events#4.7",
    each={"form": [2, 2.0, "2/s", "120/m", "7200/h"]},
)
def test_every_form_of_a_limit_is_understood(exchange: Exchange, form: object) -> None:
    with limited_worker(exchange) as worker:
        limit(worker, form)
        times = starts(exchange, [worker.send("echo", number) for number in range(3)])
        assert all(later - earlier >= 0.5 - SLACK_S for earlier, later in pairwise(times))


@case("limits/rate-after-idle", spec="control-and-events#4.7")
def test_idle_time_saves_up_no_more_than_one_start(exchange: Exchange) -> None:
    with limited_worker(exchange) as worker:
        limit(worker, "1/s")
        first = starts(exchange, [worker.send("echo", "first")])
        # Three seconds of idling, told by a task that is not limited.
        exchange.producer.result(worker.send("sleep", 3))
        times = starts(exchange, [worker.send("echo", number) for number in range(3)])
        assert times[0] - first[0] >= 3 - SLACK_S
        assert all(later - earlier >= 1 - SLACK_S for earlier, later in pairwise(times))


@case("limits/rate-not-listed", spec="control-and-events#4.7")
def test_who_waits_for_its_rate_is_in_no_list_and_unacknowledged(exchange: Exchange) -> None:
    with own_worker(exchange) as worker:
        limit(worker, "1/h")
        ran, *waiting = [worker.send("echo", number) for number in range(4)]
        exchange.producer.result(ran)
        assert exchange.broker.wait_unacked(worker.queue, 3) == 3
        for name in ("active", "reserved", "scheduled"):
            assert worker.inspect(name) == []
        assert worker.inspect("query_task", [call.id for call in waiting]) == {}
        assert [exchange.journal.runs(call.id) for call in waiting] == [[], [], []]


@case("limits/rate-window", spec="control-and-events#4.7 control-and-events#4.4")
def test_who_waits_for_its_rate_counts_against_the_window(exchange: Exchange) -> None:
    # One slot, one message ahead: the one that waits for its rate fills the window.
    with own_worker(exchange, concurrency=1, settings={"worker_prefetch_multiplier": 1}) as worker:
        limit(worker, "1/h")
        exchange.producer.result(worker.send("echo", "ran"))
        worker.send("echo", "waits")
        assert exchange.broker.wait_unacked(worker.queue, 1) == 1
        behind = worker.send("add", 1, 2)
        assert worker.control("ping") == {"ok": "pong"}
        assert exchange.broker.unacked(worker.queue) == 1
        assert exchange.journal.runs(behind.id) == []


@case("limits/rate-others", spec="control-and-events#4.7")
def test_other_types_overtake_who_waits_for_its_rate(exchange: Exchange) -> None:
    with own_worker(exchange) as worker:
        limit(worker, "1/h")
        _, waiting = worker.send("echo", 1), worker.send("echo", 2)
        assert exchange.producer.result(worker.send("add", 1, 2)) == 3
        assert exchange.journal.runs(waiting.id) == []


@case("limits/rate-eta", spec="control-and-events#4.7")
def test_the_eta_comes_before_the_rate(exchange: Exchange) -> None:
    with limited_worker(exchange) as worker:
        limit(worker, "1/s")
        late = worker.send("echo", "late", countdown=2)
        early = [worker.send("echo", number) for number in range(2)]
        times = starts(exchange, [*early, late])
        assert times == sorted(times)


@case("limits/rate-expiry", spec="control-and-events#4.7 control-and-events#4.8")
def test_a_call_that_expires_while_it_waits_for_its_rate_is_dropped(exchange: Exchange) -> None:
    with limited_worker(exchange) as worker:
        limit(worker, "30/m")
        ran, expiring = worker.send("echo", 1), worker.send("echo", 2, expires=1)
        exchange.producer.result(ran)
        found = exchange.producer.wait(expiring)
        assert found.state == "REVOKED"
        assert found.raised is not None
        assert (found.raised.type, found.raised.args) == ("TaskRevokedError", ["expired"])
        assert exchange.journal.runs(expiring.id) == []


# Real Celery stores REVOKED at once, and runs the task all the same when its turn comes.
@case("limits/rate-revoked", spec="control-and-events#4.8", control=False)
def test_a_call_revoked_while_it_waits_for_its_rate_never_runs(exchange: Exchange) -> None:
    with own_worker(exchange) as worker:
        limit(worker, "30/m")
        ran, dropped, after = [worker.send("echo", number) for number in range(3)]
        exchange.producer.result(ran)
        worker.control("revoke", task_id=dropped.id)
        assert exchange.producer.wait(dropped).state == "REVOKED"
        exchange.producer.result(after)
        assert exchange.journal.runs(dropped.id) == []


@case("limits/rate-disabled", spec="control-and-events#4.7")
def test_limits_can_be_switched_off_altogether(exchange: Exchange) -> None:
    with own_worker(exchange, settings={"worker_disable_rate_limits": True}) as worker:
        limit(worker, "1/h")
        for number in range(3):
            assert exchange.producer.result(worker.send("echo", number)) == number


@case("limits/rate-default", spec="control-and-events#4.7")
def test_a_default_limit_holds_for_tasks_that_set_none(exchange: Exchange) -> None:
    with own_worker(exchange, settings={"task_default_rate_limit": "2/s"}) as worker:
        times = starts(exchange, [worker.send("echo", number) for number in range(3)])
        assert all(later - earlier >= 0.5 - SLACK_S for earlier, later in pairwise(times))


@case("limits/rate-answers", spec="control-and-events#1.8")
def test_the_command_answers_what_it_did(exchange: Exchange) -> None:
    with limited_worker(exchange) as worker:
        for rate, answer in (
            ("5/m", {"ok": "new rate limit set successfully"}),
            (None, {"ok": "rate limit disabled successfully"}),
            ("", {"ok": "rate limit disabled successfully"}),
            ("1/d", {"error": "KeyError('d')"}),
        ):
            assert worker.control("rate_limit", task_name="echo", rate_limit=rate) == answer
        bad = worker.control("rate_limit", task_name="echo", rate_limit="x/s")
        assert isinstance(bad, dict)
        assert bad["error"].startswith("Invalid rate limit string: ValueError(")
        unknown = worker.control("rate_limit", task_name="nobody", rate_limit="1/s")
        assert unknown == {"error": "unknown task"}


@case("limits/rate-stop", spec="control-and-events#4.7 control-and-events#5")
def test_a_warm_stop_gives_back_who_waits_for_its_rate(exchange: Exchange) -> None:
    with own_worker(exchange) as worker:
        limit(worker, "1/h")
        ran, *waiting = [worker.send("echo", number) for number in range(3)]
        exchange.producer.result(ran)
        assert exchange.broker.wait_unacked(worker.queue, 2) == 2
        assert worker.process.stop() == 0
        exchange.eventually(lambda: exchange.broker.ready(worker.queue) == 2, "both are back")
        assert [exchange.journal.runs(call.id) for call in waiting] == [[], []]
