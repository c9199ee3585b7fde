"""Applications: making them, finding the current one, and tasks shared by all of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celeriac.app.state import (
    app_or_default,
    connect_on_app_finalize,
    default_app,
    disable_trace,
    enable_trace,
    get_active_apps,
    get_current_app,
    pop_current_task,
    push_current_task,
)
from celeriac.local import Proxy

if TYPE_CHECKING:
    from celeriac.app.app import Celery

__all__ = [
    "Celery",
    "app_or_default",
    "bugreport",
    "default_app",
    "disable_trace",
    "enable_trace",
    "pop_current_task",
    "push_current_task",
    "shared_task",
]

_TWICE = (
    "@shared_task was applied more than once to the same function. "
    "Remove the extra @shared_task decorator."
)


def __getattr__(name: str) -> Any:
    if name == "Celery":
        from celeriac.app.app import Celery

        return Celery
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def bugreport(app: Celery | None = None) -> str:
    """Return `Celery.bugreport` of `app`, or of the current app."""
    return app_or_default(app).bugreport()


class _SharedTask(Proxy):
    """What `shared_task` returns; known by its type when the decorator is applied to it again."""

    __slots__ = ()


def shared_task(*args: Any, **options: Any) -> Any:
    """Make a task for every app, now and later: ``@shared_task`` or ``@shared_task(name=…, bind=True, …)``.

    Args:
        *args: The function, when used without parentheses.
        **options: As of `Celery.task`.

    Returns:
        A proxy that finds the task in the app that is current when it is used.

    Raises:
        TypeError: Applied twice to a function, or to something that is none.

    Spec: app-and-cli#3.3
    """

    def decorate(fun: Callable[..., Any]) -> Any:
        if type(fun) is _SharedTask:
            raise TypeError(_TWICE)
        name = options.get("name")
        made = {key: value for key, value in options.items() if key not in ("shared", "lazy")}

        def register(app: Celery) -> Any:
            return app._task_from_fun(fun, **made)

        connect_on_app_finalize(register)
        for app in get_active_apps():
            if app.finalized:
                register(app)

        def find() -> Any:
            app = get_current_app()
            return app.tasks[name or app.gen_task_name(fun.__name__, fun.__module__)]

        return _SharedTask(find, name=fun.__name__, __doc__=fun.__doc__)

    if not args:
        return decorate
    if len(args) > 1:
        raise TypeError(f"@shared_task() takes exactly 1 argument ({len(args)} given)")
    if type(args[0]) is not _SharedTask and not inspect.isroutine(args[0]):
        raise TypeError("argument 1 to @shared_task() must be a callable")
    return decorate(args[0])
