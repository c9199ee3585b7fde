from __future__ import annotations

import pickle
from typing import Any

import pytest

from celeriac.app.einfo import ExceptionInfo, picklable_exception
from celeriac.result.failures import UnpickleableExceptionWrapper


class TwoArgumentsError(ValueError):
    """Cannot be rebuilt from its `args`."""

    def __init__(self, one: Any, two: Any) -> None:
        super().__init__(f"{one}-{two}")


class NoneOfItsBasesWorksError(Exception):
    def __init__(self, one: Any, two: Any) -> None:
        super().__init__(one)


def raised(exc: BaseException) -> BaseException:
    with pytest.raises(type(exc)) as info:
        raise exc
    return info.value


def test_the_traceback_is_the_whole_text_python_prints() -> None:
    text = ExceptionInfo(raised(ValueError("boom"))).traceback
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith("ValueError: boom\n")


def test_an_exception_whose_text_cannot_be_made_still_has_a_traceback() -> None:
    class HostileError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert "HostileError" in ExceptionInfo(raised(HostileError())).traceback


def test_a_picklable_exception_is_kept() -> None:
    exc = KeyError("x", 3)
    assert picklable_exception(exc) is exc


def test_the_nearest_base_that_survives_pickling_takes_the_place() -> None:
    exc = picklable_exception(TwoArgumentsError(1, 2))
    assert type(exc) is ValueError
    assert exc.args == ("1-2",)


def test_without_such_a_base_a_wrapper_names_the_original() -> None:
    exc = picklable_exception(NoneOfItsBasesWorksError("a", "b"))
    assert isinstance(exc, UnpickleableExceptionWrapper)
    assert exc.args == (
        __name__,
        "NoneOfItsBasesWorksError",
        ["a"],
        "NoneOfItsBasesWorksError('a')",
    )


def test_arguments_that_do_not_pickle_are_shown_as_text() -> None:
    exc = picklable_exception(Exception(lambda: None))
    assert isinstance(exc, UnpickleableExceptionWrapper)
    assert "<lambda>" in exc.args[2][0]
    pickle.dumps(exc.args)
