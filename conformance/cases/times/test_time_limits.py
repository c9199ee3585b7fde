"""Soft and hard time limits: from the call, the task and the worker."""

from __future__ import annotations

from celeriac_conformance import forms
from celeriac_conformance.cases import case
from celeriac_conformance.exchange import ACKS_QUEUE, Exchange
from celeriac_conformance.own_workers import own_worker


@case("limits/soft", spec="control-and-events#4.6")
def test_a_soft_limit_raises_in_the_task(exchange: Exchange) -> None:
    found = exchange.producer.wait(exchange.producer.send("sleep", [20], soft_time_limit=1))
    assert found.state == "FAILURE"
    assert found.raised is not None
    assert found.raised.type == "SoftTimeLimitExceeded"


@case("limits/soft-caught", spec="control-and-events#4.6")
def test_a_task_may_catch_its_soft_limit(exchange: Exchange) -> None:
    call = exchange.producer.send("soft_caught", [20], soft_time_limit=1)
    assert exchange.producer.result(call) == "cleaned up"
    assert len(exchange.journal.entries(event="warned", id=call.id)) == 1


@case("limits/soft-in-time", spec="control-and-events#4.6")
def test_a_task_that_keeps_its_limits_is_not_disturbed(exchange: Exchange) -> None:
    call = exchange.producer.send("soft_caught", [0.2], soft_time_limit=5, time_limit=10)
    assert exchange.producer.result(call) == "not interrupted"


@case("limits/hard", spec="control-and-events#4.6")
def test_a_hard_limit_ends_the_task(exchange: Exchange) -> None:
    call = exchange.producer.send("sleep", [20], time_limit=1)
    found = exchange.producer.wait(call)
    assert found.state == "FAILURE"
    assert found.raised is not None
    assert (found.raised.type, found.raised.args) == ("TimeLimitExceeded", [1])
    assert exchange.producer.result(exchange.producer.send("add", [1, 2])) == 3
    assert len(exchange.journal.runs(call.id)) == 1


@case("limits/hard-after-soft", spec="control-and-events#4.6")
def test_a_task_that_ignores_its_soft_limit_meets_the_hard_one(exchange: Exchange) -> None:
    call = exchange.producer.send("stubborn", [20], soft_time_limit=1, time_limit=2)
    found = exchange.producer.wait(call)
    assert found.raised is not None
    assert found.raised.type == "TimeLimitExceeded"
    assert len(exchange.journal.entries(event="warned", id=call.id)) == 1


@case("limits/of-the-task", spec="control-and-events#4.6")
def test_a_limit_of_the_task_holds(exchange: Exchange) -> None:
    found = exchange.producer.wait(exchange.producer.send("limited_by_itself", [20]))
    assert found.raised is not None
    assert found.raised.type == "TimeLimitExceeded"


@case("limits/call-before-task", spec="control-and-events#4.6")
def test_a_limit_of_the_call_comes_before_that_of_the_task(exchange: Exchange) -> None:
    call = exchange.producer.send("limited_by_itself", [2], time_limit=30)
    assert exchange.producer.result(call) == 2


@case("limits/of-the-worker", spec="control-and-events#4.6")
def test_a_limit_of_the_worker_holds_for_tasks_that_set_none(exchange: Exchange) -> None:
    with own_worker(exchange, extra=("--time-limit", "2", "--soft-time-limit", "1")) as worker:
        assert exchange.producer.result(worker.send("soft_caught", 20)) == "cleaned up"
        found = exchange.producer.wait(worker.send("stubborn", 20))
        assert found.raised is not None
        assert found.raised.type == "TimeLimitExceeded"


@case("limits/hard-link-error", spec="control-and-events#4.6")
def test_a_hard_limit_calls_the_errback(exchange: Exchange) -> None:
    call = exchange.producer.run(
        forms.call("sleep", 20).with_options(time_limit=1).link_error(forms.call("errback_old"))
    )
    assert exchange.producer.wait(call).state == "FAILURE"

    def told() -> bool:
        runs = exchange.journal.entries(event="run", task="errback_old")
        return call.id in [run.extra["task_id"] for run in runs]

    # Not how often: Celery sends it twice when the pool's notice and the worker's own timer meet.
    exchange.eventually(told, "the errback is called", timeout_s=20)


@case("limits/hard-late-ack", spec="control-and-events#4.6")
def test_a_late_call_past_its_hard_limit_is_acknowledged(exchange: Exchange) -> None:
    call = exchange.producer.send("late_sleep", [20], time_limit=1, queue=ACKS_QUEUE)
    assert exchange.producer.wait(call).state == "FAILURE"
    assert exchange.broker.wait_unacked(ACKS_QUEUE, 0) == 0
    assert exchange.broker.ready(ACKS_QUEUE) == 0
    assert len(exchange.journal.runs(call.id)) == 1


# With Celery 5.7 and prefork the new limit has no effect, though it is answered with "ok".
@case("limits/command", spec="control-and-events#1.8", control=False)
def test_a_limit_set_by_command_holds_for_later_calls(exchange: Exchange) -> None:
    with own_worker(exchange) as worker:
        answer = worker.control("time_limit", task_name="sleep", soft=1, hard=None)
        assert answer == {"ok": "time limits set successfully"}
        found = exchange.producer.wait(worker.send("sleep", 20), timeout_s=30)
        assert found.raised is not None
        assert found.raised.type == "SoftTimeLimitExceeded"
