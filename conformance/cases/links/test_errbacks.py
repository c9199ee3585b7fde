"""Errbacks: what runs after a failure."""

from __future__ import annotations

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange
from celeriac_conformance.forms import call


@case("links/old-errback", spec="task-message#8.6 results-and-workflows#4.6")
def test_an_errback_of_one_argument_gets_the_id_in_a_message(exchange: Exchange) -> None:
    sent = exchange.producer.send("fail", ["ValueError", "bad"], link_error=[call("errback_old")])
    assert exchange.producer.wait(sent).state == "FAILURE"
    (run,) = exchange.journal.wait(task="errback_old", extra={"task_id": sent.id})
    assert (run.request["parent_id"], run.request["root_id"]) == (sent.id, sent.id)
    assert run.request["group"] is not None


@case("links/bound-errback", spec="task-message#8.6")
def test_a_bound_errback_gets_the_id_in_a_message(exchange: Exchange) -> None:
    sent = exchange.producer.send("fail", ["ValueError", "bad"], link_error=[call("errback_bound")])
    assert exchange.producer.wait(sent).state == "FAILURE"
    (run,) = exchange.journal.wait(task="errback_bound", extra={"task_id": sent.id})
    assert run.request["parent_id"] == sent.id


@case("links/new-errback", spec="task-message#8.6 results-and-workflows#4.6")
def test_an_errback_of_three_arguments_is_called_in_place(exchange: Exchange) -> None:
    sent = exchange.producer.send("fail", ["ValueError", "bad"], link_error=[call("errback_new")])
    assert exchange.producer.wait(sent).state == "FAILURE"
    (entry,) = exchange.journal.wait(event="errback", id=sent.id)
    error = entry.extra["error"]["value"]
    assert (error["type"], error["args"]) == ("ValueError", ["bad"])
    assert "ValueError: bad" in entry.extra["trace"]
    assert entry.pid == exchange.journal.runs(sent.id)[0].pid


@case("links/several-errbacks", spec="task-message#8.6")
def test_every_errback_of_a_call_runs(exchange: Exchange) -> None:
    sent = exchange.producer.send(
        "fail",
        ["ValueError"],
        link_error=[call("errback_new"), call("errback_old"), call("errback_bound")],
    )
    assert exchange.producer.wait(sent).state == "FAILURE"
    exchange.journal.wait(event="errback", id=sent.id)
    for task in ("errback_old", "errback_bound"):
        exchange.journal.wait(task=task, extra={"task_id": sent.id})


@case("links/no-errback-after-success", spec="results-and-workflows#4.6")
def test_a_success_calls_no_errback(exchange: Exchange) -> None:
    sent = exchange.producer.send(
        "add", [1, 2], link_error=[call("errback_old"), call("errback_new")]
    )
    assert exchange.producer.result(sent) == 3
    exchange.producer.result(exchange.producer.send("add", [1, 1]))
    assert exchange.journal.entries(task="errback_old", extra={"task_id": sent.id}) == []
    assert exchange.journal.entries(event="errback", id=sent.id) == []


@case("links/errback-after-last-retry", spec="results-and-workflows#4.6 task-message#7.2")
def test_errbacks_run_once_when_the_retries_are_used_up(exchange: Exchange) -> None:
    sent = exchange.producer.send(
        "retry_exhausted", [2, "gave up"], link_error=[call("errback_new")]
    )
    assert exchange.producer.wait(sent).state == "FAILURE"
    (entry,) = exchange.journal.wait(event="errback", id=sent.id)
    assert entry.request["retries"] == 2


@case("links/errback-of-a-lost-process", spec="results-and-workflows#4.3")
def test_errbacks_run_when_the_process_of_the_task_died(exchange: Exchange) -> None:
    sent = exchange.producer.send("killed", link_error=[call("errback_old")])
    assert exchange.producer.wait(sent).state == "FAILURE"
    exchange.journal.wait(task="errback_old", extra={"task_id": sent.id})


@case("links/errback-of-a-soft-limit", spec="results-and-workflows#4.2")
def test_errbacks_run_when_a_soft_time_limit_was_hit(exchange: Exchange) -> None:
    sent = exchange.producer.send(
        "sleep", [20], soft_time_limit=1, link_error=[call("errback_new")]
    )
    assert exchange.producer.wait(sent).state == "FAILURE"
    (entry,) = exchange.journal.wait(event="errback", id=sent.id)
    assert entry.extra["error"]["value"]["type"] == "SoftTimeLimitExceeded"
