"""Importing by name. Spec: app-and-cli#10.2."""

from __future__ import annotations

import importlib.util
from typing import Any

from celeriac.app.loader import cwd_in_path, import_from_cwd, symbol_by_name

__all__ = [
    "NotAPackage",
    "cwd_in_path",
    "find_module",
    "gen_task_name",
    "import_from_cwd",
    "instantiate",
    "qualname",
    "symbol_by_name",
]


class NotAPackage(Exception):  # noqa: N818 - the public name
    """A dotted name goes on below something that is no package."""

    __module__ = "celery.utils.imports"


def instantiate(name: Any, *args: Any, **kwargs: Any) -> Any:
    """Make an instance of a class given by its path."""
    return symbol_by_name(name)(*args, **kwargs)


def qualname(obj: Any) -> str:
    """Return module and qualified name of a class, function or the class of an object."""
    if not hasattr(obj, "__name__") and hasattr(obj, "__class__"):
        obj = type(obj)
    return f"{obj.__module__}.{getattr(obj, '__qualname__', obj.__name__)}"


def find_module(module: str) -> Any:
    """Return the import spec of a module in the current directory or on the path, or `None`."""
    with cwd_in_path():
        return importlib.util.find_spec(module)


def gen_task_name(app: Any, name: str, module_name: str | None) -> str:
    """Return the name an app gives to a task."""
    found: str = app.gen_task_name(name, module_name)
    return found
