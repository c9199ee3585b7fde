"""Tasks that raise: type, arguments and traceback as the producer reads them."""

from __future__ import annotations

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange

TASKS = "celeriac_conformance.drivers.tasks"


@case("failures/builtin-exception", spec="results-and-workflows#1.4")
def test_a_builtin_exception_comes_back_with_type_arguments_and_traceback(
    exchange: Exchange,
) -> None:
    answer = exchange.producer.wait(exchange.producer.send("fail", ["ValueError", "bad", 7]))
    assert answer.state == "FAILURE"
    assert answer.raised is not None
    assert (answer.raised.type, answer.raised.module) == ("ValueError", "builtins")
    assert answer.raised.args == ["bad", 7]
    assert answer.traceback is not None
    assert answer.traceback.startswith("Traceback (most recent call last):\n")
    assert answer.traceback.rstrip().endswith("ValueError: ('bad', 7)")
    assert "in fail\n" in answer.traceback


@case("failures/without-arguments", spec="results-and-workflows#1.4")
def test_an_exception_without_arguments_has_none(exchange: Exchange) -> None:
    raised = exchange.producer.wait(exchange.producer.send("fail", ["KeyError"])).raised
    assert raised is not None
    assert (raised.type, raised.args) == ("KeyError", [])


@case("failures/own-exception", spec="results-and-workflows#1.4")
def test_an_exception_of_the_task_module_comes_back_as_that_class(exchange: Exchange) -> None:
    raised = exchange.producer.wait(exchange.producer.send("fail", ["BrokenError", "text"])).raised
    assert raised is not None
    assert (raised.type, raised.module, raised.args) == ("BrokenError", TASKS, ["text"])
    assert "builtins.Exception" in raised.bases


@case("failures/nested-exception-class", spec="results-and-workflows#1.4")
def test_a_nested_exception_class_is_found_by_its_dotted_name(exchange: Exchange) -> None:
    raised = exchange.producer.wait(
        exchange.producer.send("fail", ["Outer.InnerError", "deep"])
    ).raised
    assert raised is not None
    assert (raised.type, raised.module) == ("Outer.InnerError", TASKS)
    assert f"{TASKS}.BrokenError" in raised.bases


@case("failures/get-raises", spec="results-and-workflows#3")
def test_get_raises_what_the_task_raised(exchange: Exchange) -> None:
    call = exchange.producer.send("fail", ["ZeroDivisionError", "by zero"])
    raised = exchange.producer.wait(call, propagate=True).raised
    assert raised is not None
    assert (raised.type, raised.args) == ("ZeroDivisionError", ["by zero"])


@case("failures/unencodable-argument", spec="results-and-workflows#1.4")
def test_an_argument_that_cannot_be_encoded_becomes_its_repr(exchange: Exchange) -> None:
    raised = exchange.producer.wait(exchange.producer.send("fail_with_object")).raised
    assert raised is not None
    assert (raised.type, raised.args) == ("BrokenError", ["text", "<class 'object'>"])


@case("failures/exception-that-cannot-be-rebuilt", spec="results-and-workflows#1.4", since="5.3")
def test_an_exception_that_does_not_survive_pickling_travels_in_a_wrapper(
    exchange: Exchange,
) -> None:
    answer = exchange.producer.wait(exchange.producer.send("fail", ["PickyError", "a", "b"]))
    assert answer.state == "FAILURE"
    assert answer.raised is not None
    assert answer.raised.type == "UnpickleableExceptionWrapper"
    assert answer.raised.module == "celery.utils.serialization"
    assert answer.raised.args[:2] == [TASKS, "PickyError"]


@case("failures/wrong-arguments", spec="task-message#3.5")
def test_a_call_that_does_not_fit_the_function_fails_with_type_error(exchange: Exchange) -> None:
    call = exchange.producer.send("add", [1, 2, 3], by_name=True)
    answer = exchange.producer.wait(call)
    assert (answer.state, answer.raised and answer.raised.type) == ("FAILURE", "TypeError")
    assert exchange.journal.runs(call.id) == []


@case("failures/unexpected-keyword", spec="task-message#3.5")
def test_an_unknown_keyword_argument_fails_with_type_error(exchange: Exchange) -> None:
    call = exchange.producer.send("add", [], {"x": 1, "y": 2, "z": 3}, by_name=True)
    answer = exchange.producer.wait(call)
    assert answer.raised is not None
    assert answer.raised.type == "TypeError"
    assert "z" in answer.raised.args[0]


@case("failures/expected-exception", spec="results-and-workflows#4.7")
def test_an_exception_listed_in_throws_is_still_a_failure(exchange: Exchange) -> None:
    answer = exchange.producer.wait(exchange.producer.send("fail_expected", ["known"]))
    assert (answer.state, answer.raised and answer.raised.args) == ("FAILURE", ["known"])


@case("failures/unencodable-result", spec="results-and-workflows#1.4")
def test_a_result_that_cannot_be_encoded_is_a_failure(exchange: Exchange) -> None:
    raised = exchange.producer.wait(exchange.producer.send("return_object")).raised
    assert raised is not None
    assert (raised.type, raised.module) == ("EncodeError", "kombu.exceptions")
    assert raised.args == ["TypeError('Object of type object is not JSON serializable')"]


@case("failures/unknown-task", spec="task-message#3.5 results-and-workflows#4.8")
def test_a_call_of_an_unknown_task_fails(exchange: Exchange) -> None:
    answer = exchange.producer.wait(exchange.producer.send("no.such.task", [1], by_name=True))
    assert answer.state == "FAILURE"
    assert answer.raised is not None
    assert (answer.raised.type, answer.raised.module) == ("NotRegistered", "celery.exceptions")
    assert answer.raised.args == ["no.such.task"]
