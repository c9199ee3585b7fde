"""Whether waiting for a result could deadlock here.

Inside a task `result.get()` may wait for a task that only this process could run. The process default is set by a
worker's pool; the two context managers override it for the code they enclose, in their thread only.

Spec: app-and-cli#6, results-and-workflows#3
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = [
    "allow_join_result",
    "assert_will_not_block",
    "denied_join_result",
    "set_join_will_block",
    "task_join_will_block",
]

E_WOULDBLOCK = """\
Never call result.get() within a task!
See https://docs.celeryq.dev/en/latest/userguide/tasks.html\
#avoid-launching-synchronous-subtasks
"""

_default = False
_override: ContextVar[bool | None] = ContextVar("join_will_block", default=None)


def set_join_will_block(blocks: bool) -> None:
    """Set the process default: true in pool children whose tasks must not wait for others."""
    global _default
    _default = blocks


def task_join_will_block() -> bool:
    """Tell whether waiting here is refused."""
    override = _override.get()
    return _default if override is None else override


def assert_will_not_block() -> None:
    """Raise `RuntimeError` where waiting is refused."""
    if task_join_will_block():
        raise RuntimeError(E_WOULDBLOCK)


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Allow `result.get()` inside, even in a task."""
    token = _override.set(False)
    try:
        yield
    finally:
        _override.reset(token)


@contextmanager
def denied_join_result() -> Iterator[None]:
    """Refuse `result.get()` inside, as in a task."""
    token = _override.set(True)
    try:
        yield
    finally:
        _override.reset(token)
