"""What any worker has to do, seen in the journal and the stored results only: no result has to reach the producer.

A worker that stores results, but does not announce them, is judged by these where every other case waits in vain.
"""

from __future__ import annotations

import time

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange


@case("foreign/stored-success", spec="results-and-workflows#1.1", needs=["stored-results"])
def test_a_stored_success_says_state_value_and_id(exchange: Exchange) -> None:
    call = exchange.producer.send("add", [2, 3])
    document = exchange.stored().wait(call.id)
    assert (document["status"], document["result"], document["task_id"]) == ("SUCCESS", 5, call.id)
    assert document["traceback"] is None


@case("foreign/stored-failure", spec="results-and-workflows#1.4", needs=["stored-results"])
def test_a_stored_failure_names_the_exception_and_its_arguments(exchange: Exchange) -> None:
    call = exchange.producer.send("fail", ["ValueError", "bad", 1])
    document = exchange.stored().wait(call.id)
    assert document["status"] == "FAILURE"
    assert document["result"]["exc_type"] == "ValueError"
    assert document["result"]["exc_message"] == ["bad", 1]
    assert "ValueError" in document["traceback"]


@case("foreign/stored-for-a-day", spec="results-and-workflows#2.2", needs=["redis-results"])
def test_a_stored_result_ends_its_life_after_a_day(exchange: Exchange) -> None:
    call = exchange.producer.send("add", [2, 3])
    exchange.stored().wait(call.id)
    assert 0 < exchange.stored_in_redis().seconds_to_live(call.id) <= 24 * 3600


@case("foreign/ignored-result", spec="task-message#2", needs=["stored-results"])
def test_the_result_of_a_task_that_ignores_it_is_not_stored(exchange: Exchange) -> None:
    call = exchange.producer.send("ignored", ["nobody"])
    exchange.wait_run(call)
    later = exchange.producer.send("add", [1, 1])
    exchange.stored().wait(later.id)
    assert exchange.stored().document(call.id) is None


@case("foreign/arguments", spec="task-message#3.1")
def test_positional_and_keyword_arguments_arrive_as_sent(exchange: Exchange) -> None:
    call = exchange.producer.send("collect", [1, "ü", None], {"key": {"deep": [True]}})
    (run,) = exchange.wait_run(call)
    assert run.extra == {"args": [1, "ü", None], "kwargs": {"key": {"deep": [True]}}}


@case("foreign/once-each", spec="task-message#1")
def test_of_many_calls_every_one_runs_once(exchange: Exchange) -> None:
    calls = [exchange.producer.send("echo", [number]) for number in range(50)]
    for call in calls:
        exchange.wait_run(call)
    assert [len(exchange.journal.runs(call.id)) for call in calls] == [1] * len(calls)


@case("foreign/second-queue", spec="task-message#1.1")
def test_every_queue_a_worker_was_given_is_served(exchange: Exchange) -> None:
    call = exchange.producer.send("echo", ["elsewhere"], queue="other")
    assert exchange.wait_run(call)[0].task == "echo"


@case("foreign/countdown-held", spec="task-message#5")
def test_a_call_for_later_runs_later(exchange: Exchange) -> None:
    before = time.time()
    call = exchange.producer.send("echo", ["later"], countdown=1.5)
    assert exchange.wait_run(call)[0].time - before >= 1.5


@case("foreign/expired-while-held", spec="task-message#5.2")
def test_a_call_that_expires_while_it_is_held_never_runs(exchange: Exchange) -> None:
    call = exchange.producer.send("echo", ["too late"], countdown=2, expires=1)
    marker = exchange.producer.send("echo", ["after"], countdown=3)
    exchange.wait_run(marker)
    assert exchange.journal.runs(call.id) == []


@case("foreign/retried-under-one-id", spec="task-message#7.2")
def test_a_retry_runs_again_under_the_same_id(exchange: Exchange) -> None:
    call = exchange.producer.send("retry_n", [2])
    runs = exchange.wait_run(call, count=3)
    assert [run.retries for run in runs] == [0, 1, 2]
