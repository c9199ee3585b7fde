"""The registry: task name to task instance. Spec: app-and-cli#3.2."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

from celeriac.exceptions import InvalidTaskError, NotRegistered
from celeriac.local import maybe_evaluate

__all__ = ["TaskRegistry", "unpickle_task"]


class TaskRegistry(dict[str, Any]):
    """Tasks by name."""

    NotRegistered = NotRegistered

    def __missing__(self, key: str) -> Any:
        raise self.NotRegistered(key)

    def register(self, task: Any) -> None:
        """Add a task under its name, replacing what was there; a class is instantiated.

        Raises:
            InvalidTaskError: The task has no name.
        """
        if inspect.isclass(task):
            task = task()
        name = getattr(task, "name", None)
        if not name:
            raise InvalidTaskError(
                f"Task class {type(task).__name__!r} must specify .name attribute"
            )
        add_autoretry = getattr(task, "enable_autoretry", None)
        if add_autoretry is not None:
            add_autoretry()
        self[name] = task

    def unregister(self, name: Any) -> None:
        """Remove a task, given by name or as itself.

        Raises:
            NotRegistered: It is not there.
        """
        key = getattr(name, "name", name)
        if key not in self:
            raise self.NotRegistered(key)
        del self[key]

    def regular(self) -> Iterator[tuple[str, Any]]:
        """Iterate over ordinary tasks as pairs of name and task."""
        return self.filter_types("regular")

    def periodic(self) -> Iterator[tuple[str, Any]]:
        """Iterate over tasks whose `type` is ``periodic``."""
        return self.filter_types("periodic")

    def filter_types(self, type: str) -> Iterator[tuple[str, Any]]:
        """Iterate over tasks whose `type` attribute (default ``regular``) is `type`."""
        return (
            (name, task) for name, task in self.items() if getattr(task, "type", "regular") == type
        )


def unpickle_task(name: str, module: str | None = None) -> Any:
    """Find the task a pickle names: import the module it was defined in, then ask the current app.

    Spec: app-and-cli#3.3
    """
    from celeriac.app.state import get_current_app

    if module:
        importlib.import_module(module)
    return maybe_evaluate(get_current_app().tasks[name])
