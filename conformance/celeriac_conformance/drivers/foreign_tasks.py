"""The tasks of the suite that need nothing but their arguments, for workers in Python that are not Celery.

Same names, same results as `celeriac_conformance.drivers.tasks`, which can only be loaded with Celery's API.
"""

from __future__ import annotations

import asyncio
import builtins
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from celeriac_conformance.drivers import typed_values

__all__ = [
    "GATE_LIMIT_S",
    "PLAIN",
    "BrokenError",
    "Outer",
    "PickyError",
    "add",
    "add_later_value",
    "collect",
    "echo_all",
    "fail",
    "fits",
    "gate",
    "keyword_only",
    "mul",
    "sleep",
]

GATE_LIMIT_S = 60
"""So long does a task wait for its gate to open."""

_TASKS_MODULE = "celeriac_conformance.drivers.tasks"


class BrokenError(Exception):
    """The exception that `tasks` defines: workers name it as defined there."""


class Outer:
    """Holds a nested exception class."""

    class InnerError(BrokenError):
        """Its qualified name has a dot."""


class PickyError(Exception):
    """Cannot be rebuilt from its own `args`."""

    def __init__(self, first: Any, second: Any) -> None:
        super().__init__(f"{first}/{second}")


BrokenError.__module__ = Outer.InnerError.__module__ = PickyError.__module__ = _TASKS_MODULE
_RAISABLE: dict[str, type[Exception]] = {
    "BrokenError": BrokenError,
    "Outer.InnerError": Outer.InnerError,
    "PickyError": PickyError,
}


def fail(kind: str, *args: Any) -> None:
    """Raise the exception of that name."""
    raise (_RAISABLE.get(kind) or getattr(builtins, kind))(*args)


def echo_all(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return all that it was given."""
    return {"args": list(args), "kwargs": kwargs}


def keyword_only(*, a: Any, b: Any = 2) -> list[Any]:
    """Return two arguments that go by name."""
    return [a, b]


def add(x: Any, y: Any) -> Any:
    """Add."""
    return x + y


def mul(x: Any, y: Any) -> Any:
    """Multiply."""
    return x * y


def add_later_value(value: Any, extra: Any = 0, **kwargs: Any) -> Any:
    """Add to the value of an earlier task."""
    return value + extra


PLAIN: dict[str, Callable[..., Any]] = {
    "add": add,
    "mul": mul,
    "xsum": sum,
    "echo": lambda value: value,
    "echo_all": echo_all,
    "describe": typed_values.encode,
    "keyword_only": keyword_only,
    "measure": len,
    "make_text": lambda length: "x" * length,
    "add_later_value": add_later_value,
    "fail": fail,
}
"""Task name → function; a run of each is one ``run`` line in the journal."""


def fits(function: Callable[..., Any], args: Any, kwargs: Any) -> bool:
    """Say whether a call gets as far as into the function; where it does not, no run is written down."""
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def collect(*args: Any, **kwargs: Any) -> tuple[dict[str, Any], list[Any]]:
    """Return what `collect` adds to its line in the journal, and its result."""
    return {"args": list(args), "kwargs": kwargs}, list(args)


async def sleep(seconds: float) -> float:
    """Take a while."""
    await asyncio.sleep(seconds)
    return seconds


async def gate(path: str, end: Callable[[], Awaitable[None]]) -> str:
    """Wait until a file exists; then call `end`, which writes the ``end`` line."""
    for _ in range(GATE_LIMIT_S * 50):
        if Path(path).exists():
            await end()
            return "through"
        await asyncio.sleep(0.02)
    raise RuntimeError("nobody opened " + path)
