"""Results that are there already."""

from __future__ import annotations

import pickle

import pytest

from celeriac.result import EagerResult, denied_join_result


def test_a_value_is_there() -> None:
    result = EagerResult("i", 1, "SUCCESS", name="proj.add")
    assert (result.get(), result.result, result.state, result.ready(), result.name) == (
        1,
        1,
        "SUCCESS",
        True,
        "proj.add",
    )
    assert (result.successful(), result.failed(), result.children, result.date_done) == (
        True,
        False,
        None,
        None,
    )
    assert (repr(result), result.as_tuple()) == ("<EagerResult: i>", (("i", None), None))


def test_a_failure_raises() -> None:
    result = EagerResult("i", ValueError("x"), "FAILURE", "tb")
    with pytest.raises(ValueError, match="x"):
        result.get()
    assert (repr(result.get(propagate=False)), result.traceback) == ("ValueError('x')", "tb")


def test_a_retry_has_no_value() -> None:
    assert EagerResult("i", ValueError("x"), "RETRY").get() is None


def test_an_id_is_not_needed() -> None:
    assert EagerResult(None, None, "REJECTED").get() is None


def test_waiting_inside_a_task_is_refused_all_the_same() -> None:
    with denied_join_result(), pytest.raises(RuntimeError):
        EagerResult("i", 1, "SUCCESS").get()


def test_it_pickles_with_its_value() -> None:
    loaded = pickle.loads(pickle.dumps(EagerResult("i", [1], "SUCCESS")))
    assert (loaded.id, loaded.get()) == ("i", [1])


def test_callbacks_are_called_at_once() -> None:
    heard: list[object] = []
    result = EagerResult("i", 1, "SUCCESS")
    result.then(heard.append)
    assert heard == [result]
