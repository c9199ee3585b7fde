"""Celeriac: an application and worker that speak Celery's protocol.

The names here are those of Celery's top level; each is loaded when it is first used, so that importing the package
costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celeriac.app import bugreport, shared_task
    from celeriac.app.app import Celery
    from celeriac.app.state import current_app, current_task
    from celeriac.app.task import Task
    from celeriac.canvas.chain import chain
    from celeriac.canvas.chord import chord
    from celeriac.canvas.group import group
    from celeriac.canvas.mapped import chunks, xmap, xstarmap
    from celeriac.canvas.signature import Signature, maybe_signature, signature, subtask
    from celeriac_protocol import __version__

__all__ = [
    "Celery",
    "Signature",
    "Task",
    "__version__",
    "bugreport",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "group",
    "maybe_signature",
    "shared_task",
    "signature",
    "subtask",
    "uuid",
    "xmap",
    "xstarmap",
]

_HOMES = {
    "__version__": "celeriac_protocol",
    "Celery": "celeriac.app.app",
    "Task": "celeriac.app.task",
    "bugreport": "celeriac.app",
    "current_app": "celeriac.app.state",
    "current_task": "celeriac.app.state",
    "shared_task": "celeriac.app",
}


def uuid() -> str:
    """Return a new random id, as tasks have it."""
    from uuid import uuid4

    return str(uuid4())


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES.get(name, "celeriac.canvas")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
