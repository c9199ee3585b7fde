"""What an implementation does not offer: said by its driver, by its row in the matrix, or by a field it leaves out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from celeriac_conformance.forms import Form
from celeriac_conformance.matrix import Implementation

__all__ = ["Offered", "UnsupportedError", "check_tasks", "tasks_in"]


class UnsupportedError(RuntimeError):
    """An implementation does not offer what a case needs: the outcome is *unsupported*, with this reason."""


class Offered(dict[str, Any]):
    """Fields an implementation gives; asking for one it left out makes the case unsupported.

    Args:
        fields: What it gave.
        complaint: Start of the reason; the name of the field follows.
    """

    def __init__(self, fields: Mapping[str, Any], complaint: str) -> None:
        super().__init__(fields)
        self.complaint = complaint

    def __missing__(self, name: str) -> Any:
        raise UnsupportedError(f"{self.complaint} {name}")


def tasks_in(value: object) -> Iterator[str]:
    """Find the tasks that a call, its options and every form inside them name."""
    if isinstance(value, Form):
        yield from tasks_in(value.to_form())
    elif isinstance(value, Mapping):
        if isinstance(name := value.get("task"), str):
            yield name
        for item in value.values():
            yield from tasks_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tasks_in(item)


def check_tasks(worker: Implementation, task: str | None, *values: object) -> None:
    """Make sure that a worker provides every task a call leads to.

    Args:
        worker: Implementation that will get the call.
        task: Name of the task called, if it is one task.
        values: Options and forms, which may name more tasks.

    Raises:
        UnsupportedError: Its row in the matrix lists the tasks it provides, and one is missing.
    """
    if worker.tasks is None:
        return
    wanted = {*tasks_in(values), *([] if task is None else [task])}
    missing = sorted(wanted - set(worker.tasks))
    if missing:
        raise UnsupportedError(f"{worker.name} provides no task {', '.join(missing)}")
