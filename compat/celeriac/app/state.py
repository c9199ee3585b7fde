"""Which app and which task are current: per thread, with a process-wide default app.

Everything here is state of the process, kept in one place so that nothing else needs globals.

Spec: app-and-cli#3.3
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celeriac.local import LocalStack, Proxy

if TYPE_CHECKING:
    from celeriac.app.app import Celery

__all__ = [
    "announce_app_finalized",
    "app_or_default",
    "connect_on_app_finalize",
    "current_app",
    "current_task",
    "default_app",
    "deregister_app",
    "disable_trace",
    "enable_trace",
    "get_active_apps",
    "get_current_app",
    "get_current_task",
    "get_current_worker_task",
    "get_default_app",
    "pop_current_task",
    "push_current_task",
    "register_app",
    "set_current_app",
    "set_default_app",
    "task_stack",
]


class _PerThread(threading.local):
    current_app: Any = None


_per_thread = _PerThread()
_default_app: Any = None
_default_lock = threading.RLock()
_apps: weakref.WeakSet[Any] = weakref.WeakSet()
_on_finalize: list[Callable[[Any], Any]] = []
_trace_fallback = False

task_stack: LocalStack[Any] = LocalStack()
"""Tasks running in this thread, the innermost last."""


def set_default_app(app: Celery | None) -> None:
    """Make `app` the fallback of every thread that has no current app."""
    global _default_app
    _default_app = app


def get_default_app() -> Celery:
    """Return the process default app; the first call makes one that reads ``celeryconfig``."""
    with _default_lock:
        if _default_app is None:
            from celeriac.app.app import Celery

            set_default_app(
                Celery(
                    "default",
                    fixups=[],
                    set_as_current=False,
                    loader=os.environ.get("CELERY_LOADER") or "default",
                )
            )
        found: Celery = _default_app
        return found


def set_current_app(app: Celery | None) -> None:
    """Make `app` the current app of this thread."""
    _per_thread.current_app = app


def get_current_app() -> Celery:
    """Return this thread's current app, else the process default app.

    Raises:
        RuntimeError: The environment variable ``C_STRICT_APP`` forbids asking.
    """
    if os.environ.get("C_STRICT_APP"):
        raise RuntimeError("USES CURRENT APP")
    if os.environ.get("C_WARN_APP"):
        print("-- USES CURRENT_APP", file=sys.stderr)  # noqa: T201 - what the variable asks for
        traceback.print_stack(file=sys.stderr)
    return _per_thread.current_app or get_default_app()


def get_current_task() -> Any | None:
    """Return the task that is running in this thread, or `None`."""
    return task_stack.top


def get_current_worker_task() -> Any | None:
    """Return the innermost task run by a worker: not one called like a function inside another task."""
    for task in reversed(task_stack.stack):
        if not task.request.called_directly:
            return task
    return None


def push_current_task(task: Any) -> list[Any]:
    """Note that `task` starts running in this thread."""
    return task_stack.push(task)


def pop_current_task() -> Any | None:
    """Note that the innermost task ended."""
    return task_stack.pop()


current_app: Any = Proxy(get_current_app)
"""Proxy of the current app."""
current_task: Any = Proxy(get_current_task)
"""Proxy of the running task; false when there is none."""
default_app: Any = Proxy(get_default_app)
"""Proxy of the process default app."""


def register_app(app: Celery) -> None:
    """Add to the live apps."""
    _apps.add(app)


def deregister_app(app: Celery) -> None:
    """Take from the live apps."""
    _apps.discard(app)


def get_active_apps() -> set[Celery]:
    """Return the live apps."""
    return set(_apps)


def connect_on_app_finalize(callback: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Call `callback(app)` whenever an app is finalized from now on."""
    if callback not in _on_finalize:
        _on_finalize.append(callback)
    return callback


def announce_app_finalized(app: Celery) -> None:
    """Run the callbacks of `connect_on_app_finalize`, in order."""
    for callback in list(_on_finalize):
        callback(app)


def app_or_default(app: Celery | None = None) -> Celery:
    """Return `app`, or the current app when it is `None`.

    Raises:
        Exception: ``CELERY_TRACE_APP`` (or `enable_trace`) asks for falling back to be an error.
    """
    if app is not None:
        return app
    if _trace_fallback:
        from multiprocessing import current_process

        # Pool children may fall back: tasks there are loaded by name.
        if current_process().name == "MainProcess":
            print("-- RETURNING TO DEFAULT APP --", file=sys.stderr)  # noqa: T201
            traceback.print_stack(file=sys.stderr)
            raise Exception("DEFAULT APP")
    return get_current_app()


def enable_trace() -> None:
    """Make `app_or_default` refuse to fall back, to find code that lost its app."""
    global _trace_fallback
    _trace_fallback = True


def disable_trace() -> None:
    """Undo `enable_trace`."""
    global _trace_fallback
    _trace_fallback = False


if os.environ.get("CELERY_TRACE_APP"):
    enable_trace()
