"""The tasks of the suite that need nothing but their arguments, for workers in Python that are not Celery.

Same names, same results as `celeriac_conformance.drivers.tasks`, which can only be loaded with Celery's API.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from celeriac_conformance.drivers import typed_values

__all__ = ["GATE_LIMIT_S", "PLAIN", "collect", "gate", "sleep"]

GATE_LIMIT_S = 60
"""So long does a task wait for its gate to open."""

_TASKS_MODULE = "celeriac_conformance.drivers.tasks"


class BrokenError(Exception):
    """The exception that `tasks` defines: workers name it as defined there."""


class Outer:
    """Holds a nested exception class."""

    class InnerError(BrokenError):
        """Its qualified name has a dot."""


BrokenError.__module__ = Outer.InnerError.__module__ = _TASKS_MODULE
_RAISABLE: dict[str, type[Exception]] = {
    "BrokenError": BrokenError,
    "Outer.InnerError": Outer.InnerError,
}


def _fail(kind: str, *args: Any) -> None:
    raise (_RAISABLE.get(kind) or getattr(builtins, kind))(*args)


def _echo_all(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"args": list(args), "kwargs": kwargs}


def _keyword_only(*, a: Any, b: Any = 2) -> list[Any]:
    return [a, b]


def _add(x: Any, y: Any) -> Any:
    return x + y


def _mul(x: Any, y: Any) -> Any:
    return x * y


def _later(value: Any, extra: Any = 0, **kwargs: Any) -> Any:
    return value + extra


PLAIN: dict[str, Callable[..., Any]] = {
    "add": _add,
    "mul": _mul,
    "xsum": sum,
    "echo": lambda value: value,
    "echo_all": _echo_all,
    "describe": typed_values.encode,
    "keyword_only": _keyword_only,
    "measure": len,
    "make_text": lambda length: "x" * length,
    "add_later_value": _later,
    "fail": _fail,
}
"""Task name → function; a run of each is one ``run`` line in the journal."""


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
