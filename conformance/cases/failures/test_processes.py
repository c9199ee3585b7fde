"""Tasks that end otherwise than by returning or raising: time limits, lost processes, Ignore, Reject."""

from __future__ import annotations

import pytest

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange


@case("failures/soft-time-limit", spec="results-and-workflows#1.4")
def test_a_soft_time_limit_is_raised_inside_the_task(exchange: Exchange) -> None:
    answer = exchange.producer.wait(exchange.producer.send("sleep", [20], soft_time_limit=1))
    assert answer.raised is not None
    assert (answer.state, answer.raised.type) == ("FAILURE", "SoftTimeLimitExceeded")
    assert answer.raised.module == "billiard.exceptions"


@case("failures/hard-time-limit", spec="results-and-workflows#1.4 results-and-workflows#4.3")
def test_a_hard_time_limit_ends_the_task(exchange: Exchange) -> None:
    answer = exchange.producer.wait(exchange.producer.send("sleep", [20], time_limit=1))
    assert answer.raised is not None
    assert (answer.state, answer.raised.type) == ("FAILURE", "TimeLimitExceeded")
    assert (answer.raised.module, answer.raised.args) == ("billiard.exceptions", [1])


@case("failures/killed-process", spec="results-and-workflows#1.4 results-and-workflows#4.3")
def test_a_task_whose_process_dies_fails_and_the_worker_goes_on(exchange: Exchange) -> None:
    answer = exchange.producer.wait(exchange.producer.send("killed"))
    assert answer.raised is not None
    assert (answer.state, answer.raised.type) == ("FAILURE", "WorkerLostError")
    assert answer.raised.module == "billiard.exceptions"
    assert "signal 9 (SIGKILL)" in answer.raised.args[0]
    assert exchange.producer.result(exchange.producer.send("add", [1, 1])) == 2


@case("failures/exit-in-a-task", spec="results-and-workflows#1.4", since="5.7")
def test_a_task_that_exits_fails_as_lost(exchange: Exchange) -> None:
    answer = exchange.producer.wait(exchange.producer.send("leave", [4]))
    assert answer.raised is not None
    assert (answer.state, answer.raised.type) == ("FAILURE", "WorkerLostError")
    assert answer.raised.args == ["Worker exited prematurely: exitcode 4."]


@case("failures/ignore", spec="results-and-workflows#4.2")
def test_an_ignored_task_reports_nothing(exchange: Exchange) -> None:
    call = exchange.producer.send("ignore")
    exchange.wait_run(call)
    with pytest.raises(AssertionError, match="did not end within"):
        exchange.producer.wait(call, timeout_s=1.5)
    assert len(exchange.journal.runs(call.id)) == 1


@case("failures/reject", spec="results-and-workflows#4.3", since="5.7")
def test_a_rejected_call_is_a_failure(exchange: Exchange) -> None:
    answer = exchange.producer.wait(exchange.producer.send("reject", ["no thanks"]))
    assert answer.raised is not None
    assert (answer.state, answer.raised.type) == ("FAILURE", "Reject")
    assert (answer.raised.module, answer.raised.args) == ("celery.exceptions", ["no thanks", False])


@case("failures/same-worker-afterwards", spec="results-and-workflows#4.3")
def test_failures_of_every_kind_leave_the_worker_serving(exchange: Exchange) -> None:
    pid = exchange.worker.pid
    calls = [
        exchange.producer.send("fail", ["OSError", "pretended"]),
        exchange.producer.send("fail", ["RecursionError", "pretended"]),
        exchange.producer.send("killed"),
    ]
    for call in calls:
        assert exchange.producer.wait(call).state == "FAILURE"
    assert exchange.producer.result(exchange.producer.send("add", [2, 2])) == 4
    assert exchange.worker.pid == pid


@case("failures/memory-error", spec="results-and-workflows#4.3", control=False)
def test_a_task_that_runs_out_of_memory_fails_and_the_worker_goes_on(exchange: Exchange) -> None:
    """Real Celery stores the failure and then exits, so there is no control."""
    answer = exchange.producer.wait(exchange.producer.send("fail", ["MemoryError", "pretended"]))
    assert answer.raised is not None
    assert (answer.state, answer.raised.type) == ("FAILURE", "MemoryError")
    assert exchange.producer.result(exchange.producer.send("add", [1, 1])) == 2
