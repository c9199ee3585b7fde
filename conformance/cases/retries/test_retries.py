"""Retries: the same call, published again."""

from __future__ import annotations

import datetime

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange


@case("retries/keeps-task-id", spec="task-message#7.2")
def test_a_retry_is_published_under_the_same_id(exchange: Exchange) -> None:
    """The consumer sees one id for all attempts, and `retries` counts from 0."""
    call = exchange.producer.send("retry_n", [2])
    assert exchange.producer.result(call) == 2
    assert [(run.id, run.retries) for run in exchange.journal.runs(call.id)] == [
        (call.id, number) for number in range(3)
    ]


@case("retries/countdown", spec="task-message#5.3")
def test_a_retry_waits_its_countdown(exchange: Exchange) -> None:
    call = exchange.producer.send("retry_n", [1], {"countdown": 1.5})
    assert exchange.producer.result(call) == 1
    first, second = exchange.journal.runs(call.id)
    assert second.time - first.time >= 1.5


@case("retries/state-while-waiting", spec="results-and-workflows#1.3")
def test_the_retry_state_is_reported_before_the_result(exchange: Exchange) -> None:
    call = exchange.producer.send("retry_n", [1], {"countdown": 1})
    answer = exchange.producer.wait(call)
    assert answer.states == ["RETRY", "SUCCESS"]
    assert answer.messages[0]["result"] is None


@case("retries/reason", spec="results-and-workflows#1.3")
def test_the_retry_state_names_the_exception_that_caused_it(exchange: Exchange) -> None:
    answer = exchange.producer.wait(exchange.producer.send("retry_because", [1, "try again", 1]))
    assert answer.states == ["RETRY", "SUCCESS"]
    retry = answer.messages[0]
    reason = retry["result"]
    if reason.get("__type") == "exception":
        found = (reason["value"]["type"], reason["value"]["args"])
    else:
        found = (reason["exc_type"], reason["exc_message"])
    assert found == ("BrokenError", ["try again"])
    assert "BrokenError" in retry["traceback"]


@case("retries/exhausted-with-exception", spec="results-and-workflows#5")
def test_when_retries_are_used_up_the_given_exception_is_raised(exchange: Exchange) -> None:
    call = exchange.producer.send("retry_exhausted", [1, "gave up"])
    answer = exchange.producer.wait(call)
    assert answer.raised is not None
    assert (answer.state, answer.raised.type, answer.raised.args) == (
        "FAILURE",
        "BrokenError",
        ["gave up"],
    )
    assert [run.retries for run in exchange.journal.runs(call.id)] == [0, 1]


@case(
    "retries/exhausted-without-exception", spec="results-and-workflows#5 results-and-workflows#1.4"
)
def test_when_retries_are_used_up_without_exception_that_is_the_error(exchange: Exchange) -> None:
    call = exchange.producer.send("retry_exhausted", [0])
    raised = exchange.producer.wait(call).raised
    assert raised is not None
    assert (raised.type, raised.module) == ("MaxRetriesExceededError", "celery.exceptions")
    assert raised.args == [f"Can't retry retry_exhausted[{call.id}] args:(0,) kwargs:{{}}"]


@case("retries/automatic", spec="results-and-workflows#5")
def test_autoretry_runs_again_for_the_listed_exceptions(exchange: Exchange) -> None:
    call = exchange.producer.send("autoretry", [2])
    assert exchange.producer.result(call) == 2
    assert [run.retries for run in exchange.journal.runs(call.id)] == [0, 1, 2]


@case("retries/automatic-exhausted", spec="results-and-workflows#5")
def test_autoretry_ends_with_the_original_exception(exchange: Exchange) -> None:
    raised = exchange.producer.wait(exchange.producer.send("autoretry", [9])).raised
    assert raised is not None
    assert (raised.type, raised.args) == ("ConnectionError", ["attempt 2"])


@case("retries/other-arguments", spec="task-message#7.2")
def test_arguments_given_to_retry_replace_the_old(exchange: Exchange) -> None:
    assert exchange.producer.result(exchange.producer.send("retry_with", [21])) == 42


@case("retries/keeps-what-the-caller-gave", spec="task-message#7.2", since="5.3")
def test_a_retry_keeps_shadow_headers_limits_expiry_and_priority(exchange: Exchange) -> None:
    call = exchange.producer.send(
        "retry_n",
        [1],
        shadow="sh",
        headers={"x-u": 1},
        time_limit=50,
        soft_time_limit=40,
        expires=300,
        priority=3,
    )
    assert exchange.producer.result(call) == 1
    first, second = (run.request for run in exchange.journal.runs(call.id))
    for name in (
        "root_id",
        "shadow",
        "timelimit",
        "expires",
        "correlation_id",
        "reply_to",
        "origin",
    ):
        assert second[name] == first[name], name
    assert second["headers"] == {"x-u": 1}
    assert second["delivery_info"]["priority"] == 3


@case("retries/parent-of-a-root-task", spec="task-message#7.2")
def test_a_retried_root_task_becomes_its_own_parent(exchange: Exchange) -> None:
    call = exchange.producer.send("retry_n", [1])
    exchange.producer.result(call)
    first, second = exchange.journal.runs(call.id)
    assert (first.request["parent_id"], second.request["parent_id"]) == (None, call.id)


@case("retries/same-queue", spec="task-message#7.2")
def test_a_retry_goes_back_to_the_queue_it_came_from(exchange: Exchange) -> None:
    call = exchange.producer.send("retry_n", [1], queue="other")
    exchange.producer.result(call)
    keys = [run.request["delivery_info"]["routing_key"] for run in exchange.journal.runs(call.id)]
    assert keys == ["other", "other"]


@case("retries/keeps-stamps", spec="task-message#9", since="5.3")
def test_a_retry_keeps_stamps(exchange: Exchange) -> None:
    call = exchange.producer.send("retry_n", [1], stamped_headers=["trace"], trace="abc")
    exchange.producer.result(call)
    assert [run.request["stamps"] for run in exchange.journal.runs(call.id)] == [
        {"trace": "abc"}
    ] * 2


@case("retries/eta-in-request", spec="task-message#5.3 results-and-workflows#5")
def test_a_retry_has_the_time_it_waits_for_as_its_eta(exchange: Exchange) -> None:
    before = datetime.datetime.now(datetime.UTC)
    call = exchange.producer.send("retry_n", [1], {"countdown": 1})
    assert exchange.producer.result(call) == 1
    first, second = exchange.journal.runs(call.id)
    assert first.request["eta"] is None
    eta = datetime.datetime.fromisoformat(second.request["eta"])
    assert before + datetime.timedelta(seconds=1) <= eta
    assert eta.timestamp() <= second.time


@case(
    "retries/expired-before-its-time",
    spec="results-and-workflows#5 results-and-workflows#4.5",
    since="5.3",
)
def test_a_retry_that_expires_while_it_waits_never_runs(exchange: Exchange) -> None:
    call = exchange.producer.send("retry_n", [1], {"countdown": 2}, expires=1)
    assert exchange.producer.wait(call).state == "REVOKED"
    assert len(exchange.journal.runs(call.id)) == 1
