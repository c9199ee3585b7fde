"""Exceptions in results: written for every reader, rebuilt only as far as it is safe."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac_protocol.errors import RemoteProtocolError
from celeriac_protocol.failure import (
    ExceptionForm,
    UnsafeExceptionError,
    build_exception,
    encode_exception,
    read_exception,
    unwrap_unpickleable,
    wrap_unpickleable,
)
from celeriac_protocol.result import build_exception as exported
from celeriac_protocol.serializers import dumps


class Outer:
    class InnerError(Exception):
        """Nested, to see its name."""


class PickyError(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(first)


class ShapeshifterError(Exception):
    def __new__(cls, *args: object) -> Any:
        return 5


def is_encodable(value: object) -> bool:
    try:
        dumps(value, "json")
    except ValueError:
        return False
    return True


def resolve(module: str, qualname: str) -> object | None:
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found  # type: ignore[no-any-return]


def test_an_exception_is_three_keys() -> None:
    document = encode_exception(ValueError("boom", 5), is_encodable)
    assert list(document.items()) == [
        ("exc_type", "ValueError"), ("exc_message", ["boom", 5]), ("exc_module", "builtins"),
    ]  # fmt: skip
    assert encode_exception(ValueError(), is_encodable)["exc_message"] == []


def test_a_nested_class_keeps_its_dots() -> None:
    document = encode_exception(Outer.InnerError("x"), is_encodable)
    assert (document["exc_type"], document["exc_module"]) == ("Outer.InnerError", __name__)


def test_each_argument_that_cannot_be_encoded_becomes_its_repr_on_its_own() -> None:
    exc = ValueError("a", {"k": [1, object]}, 3)
    assert encode_exception(exc, is_encodable)["exc_message"] == [
        "a", "{'k': [1, <class 'object'>]}", 3,
    ]  # fmt: skip


def test_a_failing_repr_does_not_hide_the_failure() -> None:
    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError

    message = encode_exception(ValueError(Mute()), is_encodable)["exc_message"]
    assert str(message).startswith('["<Unrepresentable ')


def test_arguments_that_are_no_tuple_are_one_argument() -> None:
    class OddError(Exception):
        args = "x"  # type: ignore[assignment]

    assert encode_exception(OddError(), is_encodable)["exc_message"] == ["x"]


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (
            {"exc_type": "ValueError", "exc_message": ["boom"], "exc_module": "builtins"},
            ExceptionForm("ValueError", ("boom",), "builtins"),
        ),
        ({"exc_type": "V", "exc_message": "boom"}, ExceptionForm("V", ("boom",), None)),
        ({"exc_type": "V", "exc_module": None}, ExceptionForm("V", ("",), None)),
        ({"exc_type": "V", "exc_message": None}, ExceptionForm("V", (None,), None)),
        ({"exc_type": "V", "exc_message": {"a": 1}}, ExceptionForm("V", ({"a": 1},), None)),
        ({"exc_type": "V", "exc_message": ()}, ExceptionForm("V", (), None)),
        ([["exc_type", "V"], ["exc_message", "m"]], ExceptionForm("V", ("m",), None)),
    ],
)
def test_exceptions_are_read_from_every_writer(value: object, form: ExceptionForm) -> None:
    assert read_exception(value) == form
    assert read_exception(form.to_dict()) == form


@pytest.mark.parametrize(
    "value",
    [None, "x", 5, [], ["ab"], {}, {"exc_type": None}, {"exc_type": 5}, {"exc_type": ""},
     {"exc_type": "V", "exc_module": 5}],
)  # fmt: skip
def test_what_is_no_exception_is_refused(value: object) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_exception(value)
    assert caught.value.field.startswith("result")


def built(exc_type: str, *message: object, module: str | None = "builtins") -> BaseException:
    return build_exception(ExceptionForm(exc_type, message, module), resolve)


def test_a_known_class_is_built_with_its_arguments() -> None:
    exc = built("KeyError", "a", 1)
    assert type(exc) is KeyError
    assert exc.args == ("a", 1)
    assert type(built("Outer.InnerError", "x", module=__name__)) is Outer.InnerError
    assert exported is build_exception


def test_an_unknown_class_is_made_up() -> None:
    exc = built("A.B", "m", 1, module="nope")
    assert (type(exc).__name__, type(exc).__module__) == ("A.B", "celery.exceptions")
    assert type(exc).__bases__ == (Exception,)
    assert exc.args == ("m", 1)


def test_a_class_without_module_is_made_up_and_never_looked_up() -> None:
    exc = built("ValueError", "m", module=None)
    assert type(exc) is not ValueError
    assert type(exc).__module__ == "celery.backends.base"


def test_what_is_no_exception_class_is_never_called() -> None:
    """CVE-2021-23727: the reader ran ``os.system`` with the message."""
    for module, name in (("os", "system"), ("builtins", "int"), ("builtins", "print")):
        with pytest.raises(UnsafeExceptionError) as caught:
            built(name, "echo pwned", module=module)
        assert str(caught.value) == (
            f"Expected an exception class, got {module}.{name} with payload ['echo pwned']"
        )
        assert isinstance(caught.value, RemoteProtocolError)
    assert os.system is not None


@pytest.mark.parametrize(
    "name", ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException"]
)
def test_an_exception_that_could_end_the_reader_becomes_an_ordinary_one(name: str) -> None:
    exc = built(name, "1")
    assert isinstance(exc, Exception)
    assert (type(exc).__name__, exc.args) == (name, ("1",))


def test_the_allow_list_lets_such_a_class_through() -> None:
    form = ExceptionForm("KeyboardInterrupt", (), "builtins")
    assert type(build_exception(form, resolve, allowed=[KeyboardInterrupt])) is KeyboardInterrupt


def test_a_constructor_that_refuses_its_arguments_leaves_both_as_text() -> None:
    exc = built("UnicodeDecodeError", "m", 1)
    assert type(exc) is Exception
    assert exc.args == ("<class 'UnicodeDecodeError'>(['m', 1])",)
    assert type(built("PickyError", 1, module=__name__)) is Exception
    assert type(built("ShapeshifterError", module=__name__)) is Exception


def test_a_name_that_no_class_can_have_is_text_too() -> None:
    for name in ("a\0b", "\ud800"):
        exc = built(name, "m", module="nope")
        assert type(exc) is Exception
        assert "m" in str(exc)


def test_the_wrapper_for_unpicklable_exceptions_goes_both_ways() -> None:
    form = ExceptionForm("Outer.InnerError", ("x", 1), "mod")
    wrapper = wrap_unpickleable(form, "Inner('x', 1)")
    assert wrapper.to_dict() == {
        "exc_type": "UnpickleableExceptionWrapper",
        "exc_message": ["mod", "Outer.InnerError", ["x", 1], "Inner('x', 1)"],
        "exc_module": "celery.utils.serialization",
    }
    assert unwrap_unpickleable(read_exception(wrapper.to_dict())) == form


@pytest.mark.parametrize(
    "message",
    [(), ("m", "C", [], "t", 5), (5, "C", [], "t"), ("m", "", [], "t"), ("m", None, [], "t")],
)
def test_a_broken_wrapper_is_no_wrapper(message: tuple[object, ...]) -> None:
    form = ExceptionForm("UnpickleableExceptionWrapper", message, "celery.utils.serialization")
    assert unwrap_unpickleable(form) is None
    assert unwrap_unpickleable(ExceptionForm("V", ("m", "C", [], "t"), "builtins")) is None


odd = st.none() | st.integers() | st.text() | st.lists(st.text() | st.integers(), max_size=3)


@given(
    st.dictionaries(st.sampled_from(["exc_type", "exc_message", "exc_module"]), odd)
    | st.fixed_dictionaries(
        {
            "exc_type": st.sampled_from(dir(__builtins__)) | st.text(),
            "exc_message": odd,
            "exc_module": st.sampled_from(["builtins", "os", "nope", ""]),
        }
    )
)
def test_any_stored_failure_is_an_exception_or_refused(value: object) -> None:
    try:
        exc = build_exception(read_exception(value), resolve)
    except RemoteProtocolError as refused:
        assert refused.field.startswith("result")  # noqa: PT017 - either outcome is fine, no other is
    else:
        assert isinstance(exc, Exception)
