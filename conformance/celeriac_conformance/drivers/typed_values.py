"""Python values in JSON lines: what JSON cannot say travels as ``{"__type": ..., "value": ...}``.

Both ends of a driver's pipes use this file, and so does the journal the tasks write. It runs on Python 3.7 with nothing
but the standard library. Exceptions and foreign objects travel one way only, towards the harness, as descriptions.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import uuid
from collections.abc import Callable
from typing import Any

__all__ = ["decode", "describe_exception", "encode"]

_TEXTUAL: tuple[tuple[str, type, Callable[[Any], Any]], ...] = (
    # Subclasses first: a datetime is a date as well.
    ("datetime", datetime.datetime, datetime.datetime.isoformat),
    ("date", datetime.date, datetime.date.isoformat),
    ("time", datetime.time, datetime.time.isoformat),
    ("timedelta", datetime.timedelta, datetime.timedelta.total_seconds),
    ("decimal", decimal.Decimal, str),
    ("uuid", uuid.UUID, str),
    ("bytes", bytes, lambda value: base64.b64encode(value).decode("ascii")),
)


def describe_exception(error: BaseException) -> dict[str, Any]:
    """Describe an exception by class name, module, arguments and text."""
    return {
        "type": type(error).__qualname__,
        "module": type(error).__module__,
        "bases": [base.__module__ + "." + base.__qualname__ for base in type(error).__mro__],
        "args": [encode(argument) for argument in getattr(error, "args", ())],
        "text": str(error),
    }


def encode(value: Any) -> Any:
    """Turn any value into one that `json.dumps` takes; forms are objects with a `to_form()` method."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [encode(item) for item in value]
    if hasattr(value, "to_form"):
        return {"__type": "form", "value": encode(value.to_form())}
    if isinstance(value, dict):
        if "__type" in value or not all(isinstance(key, str) for key in value):
            return {"__type": "dict", "value": [[encode(k), encode(v)] for k, v in value.items()]}
        return {key: encode(item) for key, item in value.items()}
    for name, kind in (("tuple", tuple), ("set", set), ("frozenset", frozenset)):
        if isinstance(value, kind):
            return {"__type": name, "value": [encode(item) for item in value]}
    for name, cls, write in _TEXTUAL:
        if isinstance(value, cls):
            return {"__type": name, "value": write(value)}
    if isinstance(value, BaseException):
        return {"__type": "exception", "value": describe_exception(value)}
    return {
        "__type": "object",
        "value": [type(value).__module__ + "." + type(value).__qualname__, repr(value)],
    }


_READERS: dict[str, Callable[[Any], Any]] = {
    "timedelta": lambda value: datetime.timedelta(seconds=value),
    "decimal": decimal.Decimal,
    "uuid": uuid.UUID,
    "bytes": base64.b64decode,
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
}


def decode(value: Any, build_form: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Undo `encode`.

    Args:
        value: A JSON value.
        build_form: Makes a signature or canvas from a form's fields; without it forms stay dictionaries.
            Descriptions of exceptions and objects always stay dictionaries.
    """
    if isinstance(value, list):
        return [decode(item, build_form) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("__type")
    if kind is None:
        return {key: decode(item, build_form) for key, item in value.items()}
    inner = decode(value["value"], build_form)
    if kind == "form":
        return inner if build_form is None else build_form(inner)
    if kind in ("exception", "object"):
        return {"__type": kind, "value": inner}
    return _READERS[kind](inner)
