"""Plain calls: what goes in comes out."""

from __future__ import annotations

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange


@case("calls/positional-arguments", spec="task-message#3.1 results-and-workflows#1.3")
def test_a_call_with_positional_arguments_returns_its_value(exchange: Exchange) -> None:
    answer = exchange.producer.wait(exchange.producer.send("add", [2, 3]))
    assert (answer.state, answer.value) == ("SUCCESS", 5)
    assert answer.traceback is None


@case("calls/keyword-arguments", spec="task-message#3.1")
def test_keyword_arguments_arrive_by_name(exchange: Exchange) -> None:
    call = exchange.producer.send("keyword_only", kwargs={"b": 7, "a": 1})
    assert exchange.producer.result(call) == [1, 7]


@case("calls/defaults-of-keyword-arguments", spec="task-message#3.1")
def test_a_keyword_argument_left_out_has_its_default(exchange: Exchange) -> None:
    call = exchange.producer.send("keyword_only", kwargs={"a": 1})
    assert exchange.producer.result(call) == [1, 2]


@case("calls/mixed-arguments", spec="task-message#3.1")
def test_positional_and_keyword_arguments_do_not_mix(exchange: Exchange) -> None:
    call = exchange.producer.send("echo_all", [1, [2]], {"key": {"nested": None}})
    assert exchange.producer.result(call) == {"args": [1, [2]], "kwargs": {"key": {"nested": None}}}


@case("calls/unicode", spec="task-message#3.1")
def test_text_outside_ascii_survives_both_ways(exchange: Exchange) -> None:
    text = "Grüße, мир, 世界, 🎻, \u0000 and \u2028"
    call = exchange.producer.send("echo_all", [text], {"schlüssel": text})
    assert exchange.producer.result(call) == {"args": [text], "kwargs": {"schlüssel": text}}


@case("calls/json-values", spec="task-message#3.1")
def test_every_json_value_comes_back_as_sent(exchange: Exchange) -> None:
    value = {
        "list": [1, -2.5, 1e300, True, False, None, "", [], {}],
        "big": 2**70,
        "deep": [[[[[[0]]]]]],
    }
    assert exchange.producer.result(exchange.producer.send("echo", [value])) == value


@case("calls/not-a-number", spec="task-message#3.1")
def test_infinity_travels_in_json(exchange: Exchange) -> None:
    assert exchange.producer.result(exchange.producer.send("echo", [float("inf")])) == float("inf")


@case("calls/null-result", spec="results-and-workflows#1.3")
def test_none_is_a_result_like_any_other(exchange: Exchange) -> None:
    answer = exchange.producer.wait(exchange.producer.send("echo", [None]))
    assert (answer.state, answer.value) == ("SUCCESS", None)


@case("calls/large-arguments", spec="task-message#1")
def test_a_body_of_megabytes_is_read(exchange: Exchange) -> None:
    call = exchange.producer.send("measure", ["ü" * 3_000_000])
    assert exchange.producer.result(call) == 3_000_000


@case("calls/large-result", spec="results-and-workflows#1")
def test_a_result_of_megabytes_is_stored(exchange: Exchange) -> None:
    answer = exchange.producer.result(exchange.producer.send("make_text", [3_000_000]))
    assert answer == "x" * 3_000_000


@case("calls/own-task-id", spec="task-message#2")
def test_any_text_can_be_a_task_id(exchange: Exchange) -> None:
    wanted = f"My Id / ünï {exchange.marker().name}"
    call = exchange.producer.send("add", [1, 1], task_id=wanted)
    assert call.id == wanted
    assert exchange.producer.result(call) == 2
    # A second run of the same call would have been written down before later calls have run.
    for number in range(5):
        assert exchange.producer.result(exchange.producer.send("add", [number, 0])) == number
    assert [run.id for run in exchange.journal.runs(wanted)] == [wanted]


@case("calls/by-name", spec="task-message#2")
def test_send_task_needs_no_task_object(exchange: Exchange) -> None:
    call = exchange.producer.send("add", [20, 22], by_name=True)
    assert exchange.producer.result(call) == 42


@case("calls/other-queue", spec="task-message#1.1")
def test_a_message_in_another_queue_of_the_worker_is_served(exchange: Exchange) -> None:
    call = exchange.producer.send("request_dump", queue="other")
    assert exchange.producer.result(call)["delivery_info"]["routing_key"] == "other"


@case("calls/many", spec="task-message#1")
def test_of_many_calls_each_runs_once_and_gets_its_own_result(exchange: Exchange) -> None:
    calls = {number: exchange.producer.send("add", [number, 1000]) for number in range(150)}
    assert {number: exchange.producer.result(call) for number, call in calls.items()} == {
        number: number + 1000 for number in range(150)
    }
    assert all(len(exchange.journal.runs(call.id)) == 1 for call in calls.values())
