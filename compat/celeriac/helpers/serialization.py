"""Texts, bytes and exception classes made from names. Spec: app-and-cli#10.2."""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

from celeriac.app.einfo import picklable_exception

__all__ = [
    "b64decode",
    "b64encode",
    "create_exception_cls",
    "get_pickleable_exception",
    "jsonify",
    "raise_with_context",
    "strtobool",
    "subclass_exception",
]

get_pickleable_exception = picklable_exception

_WORDS = {
    "false": False,
    "no": False,
    "0": False,
    "off": False,
    "true": True,
    "yes": True,
    "1": True,
    "on": True,
}


def b64encode(s: bytes | str) -> str:
    """Return bytes as base64 text."""
    return base64.b64encode(s.encode() if isinstance(s, str) else s).decode("ascii")


def b64decode(s: bytes | str) -> bytes:
    """Return the bytes of a base64 text."""
    return base64.b64decode(s)


def subclass_exception(name: str, parent: type[BaseException], module: str) -> type[BaseException]:
    """Make an exception class."""
    return type(name, (parent,), {"__module__": module})


def create_exception_cls(
    name: str, module: str, parent: type[BaseException] | None = None
) -> type[BaseException]:
    """Make an exception class that stands for one that cannot be imported here."""
    return subclass_exception(name, Exception if parent is None else parent, module)


def strtobool(term: str | bool, table: Mapping[str, bool] | None = None) -> bool:
    """Return the truth value a word stands for.

    Raises:
        TypeError: It stands for none.
    """
    if not isinstance(term, str):
        return term
    try:
        return (table or _WORDS)[term.lower()]
    except KeyError:
        raise TypeError(f"Cannot coerce {term!r} to type bool") from None


def jsonify(obj: Any) -> Any:
    """Return a value with everything JSON lacks as text."""
    if obj is None or isinstance(obj, int | float | str):
        return obj
    if isinstance(obj, list | tuple):
        return [jsonify(item) for item in obj]
    if isinstance(obj, Mapping):
        return {key: jsonify(value) for key, value in obj.items()}
    if isinstance(obj, datetime | date | time):
        return obj.isoformat()
    if isinstance(obj, timedelta):
        return str(obj)
    raise ValueError(f"Unsupported type: {type(obj)!r}")


def raise_with_context(exc: BaseException) -> None:
    """Raise an exception with the one that is being handled as its cause."""
    cause = sys.exception()
    if cause is None or cause is exc:
        raise exc
    raise exc from cause
