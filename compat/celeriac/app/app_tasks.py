"""How an app gets its tasks. Mixed into `Celery`. Spec: app-and-cli#3.2-#5.1."""

from __future__ import annotations

import importlib
import inspect
import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from celeriac.app.loader import symbol_by_name
from celeriac.app.registry import TaskRegistry
from celeriac.app.state import announce_app_finalized, connect_on_app_finalize
from celeriac.exceptions import AlwaysEagerIgnored, DuplicateTaskNameWarning
from celeriac.local import PromiseProxy, maybe_evaluate
from celeriac.signals import Signal

if TYPE_CHECKING:
    from celeriac.app.settings import Settings
    from celeriac.result import AsyncResult

__all__ = ["AppTasks", "argument_check", "rebuild_bound"]

_DUPLICATE = """\
Task name {name!r} is already registered to a different callable.

Existing: {existing}
New:      {new}

The new callable was not registered; calls under this name reach the callable registered first.

Every task must have a unique name. Pass an explicit name= to the task decorator, or rename one of the callables.\
"""


def rebuild_bound(app: Any, attribute: str, args: tuple[Any, ...]) -> Any:
    """Unpickle an instance of a class made by `subclass_with_self`: make it from the app's own class."""
    target = app
    for part in attribute.split("."):
        target = getattr(target, part)
    return target(*args)


class AppTasks:
    """The part of `Celery` that makes, registers and calls tasks."""

    main: str | None
    autofinalize: bool
    finalized: bool
    task_cls: Any
    on_after_finalize: Signal
    _tasks: TaskRegistry
    _pending: deque[Any]
    _finalize_lock: threading.RLock
    _warned_names: set[str]

    if TYPE_CHECKING:

        @property
        def conf(self) -> Settings:
            """The settings."""

    # -- classes bound to this app -----------------------------------------------------------------

    def subclass_with_self(
        self,
        Class: Any,  # noqa: N803 - the public name
        name: str | None = None,
        attribute: str = "app",
        reverse: str | None = None,
        keep_reduce: bool = False,
        **kw: Any,
    ) -> Any:
        """Return a subclass that has this app as an attribute.

        Args:
            Class: The class, or its path.
            name: Name of the subclass.
            attribute: Name of the attribute.
            reverse: Attribute of the app that finds the subclass again when an instance is unpickled.
            keep_reduce: Leave pickling to the class; it must define `__reduce_args__` otherwise.
            **kw: More attributes.
        """
        base = symbol_by_name(Class)
        found_by = reverse or base.__name__
        attributes = {attribute: self, "__module__": base.__module__, "__doc__": base.__doc__, **kw}
        if not keep_reduce:

            def __reduce__(instance: Any) -> Any:  # noqa: N807
                args: tuple[Any, ...] = getattr(instance, "__reduce_args__", tuple)()
                return rebuild_bound, (getattr(instance, attribute), found_by, args)

            attributes["__reduce__"] = __reduce__
        return type(name or base.__name__, (base,), attributes)

    def create_task_cls(self) -> Any:
        """Return the base class of this app's tasks."""
        return self.subclass_with_self(
            self.task_cls, name="Task", attribute="app", keep_reduce=True, abstract=True
        )

    @cached_property
    def Task(self) -> Any:  # noqa: N802 - the public name
        """Base class of this app's tasks; may be replaced before tasks are made."""
        return self.create_task_cls()

    # -- the decorator -----------------------------------------------------------------------------

    def task(self, *args: Any, **opts: Any) -> Any:
        """Make a task of a function: ``@app.task`` or ``@app.task(name=…, bind=True, …)``.

        The task is made when it is first used, or when the app is finalized.

        Args:
            *args: The function, when used without parentheses.
            **opts: `name`; `base`: class of the task; `bind`: pass the task as first argument; `shared`: register it
                with every app that is finalized later (default True); `lazy`: make it when needed (default True);
                `filter`: called with the task, what it returns is returned; every other option becomes an attribute
                of the task.

        Raises:
            TypeError: The argument is no function, or there are several.

        Spec: app-and-cli#5
        """
        if len(args) > 1:
            raise TypeError(f"@task() takes exactly 1 argument ({len(args)} given)")
        decorate = self._decorator(**opts)
        if not args:
            return decorate
        if not callable(args[0]):
            raise TypeError("argument 1 to @task() must be a callable")
        return decorate(args[0])

    def _decorator(
        self,
        shared: bool = True,
        filter: Callable[[Any], Any] | None = None,
        lazy: bool = True,
        **opts: Any,
    ) -> Callable[[Any], Any]:
        def decorate(fun: Any) -> Any:
            if shared:
                connect_on_app_finalize(lambda app: app._task_from_fun(fun, **opts))
            if not lazy or self.finalized:
                made = self._task_from_fun(fun, **opts)
            else:
                made = PromiseProxy(self._task_from_fun, (fun,), opts, __doc__=fun.__doc__)
                self._pending.append(made)
            return made if filter is None else filter(made)

        return decorate

    def _task_from_fun(
        self,
        fun: Any,
        name: str | None = None,
        base: Any = None,
        bind: bool = False,
        **options: Any,
    ) -> Any:
        if not self.finalized and not self.autofinalize:
            raise RuntimeError("Contract breach: app not finalized")
        name = name or self.gen_task_name(fun.__name__, fun.__module__)
        existing = self._tasks.get(name)
        if existing is not None:
            self._warn_if_another(name, existing, fun)
            return existing
        task_class = type(
            fun.__name__,
            (base or self.Task,),
            {
                "app": self,
                "name": name,
                "run": fun if bind else staticmethod(fun),
                "abstract": False,
                "__doc__": fun.__doc__,
                "__module__": fun.__module__,
                "__annotations__": getattr(fun, "__annotations__", {}),
                "__header__": staticmethod(argument_check(fun, is_bound=bind)),
                "__wrapped__": fun if bind else staticmethod(fun),
                **options,
            },
        )
        task = task_class()
        self._tasks.register(task)
        task.bind(self)
        return task

    def _warn_if_another(self, name: str, existing: Any, fun: Any) -> None:
        wrapped = getattr(existing, "__wrapped__", None)
        known = getattr(wrapped, "__func__", wrapped)
        if known is None or known is fun or name in self._warned_names:
            return
        if _place(known) == _place(fun) and known.__code__ == fun.__code__:
            return  # the same definition, imported twice
        self._warned_names.add(name)
        warnings.warn(
            DuplicateTaskNameWarning(
                _DUPLICATE.format(name=name, existing=_place(known), new=_place(fun))
            ),
            stacklevel=4,
        )

    def register_task(self, task: Any, **options: Any) -> Any:
        """Register a task object or class, replacing one of the same name, and return it bound to this app."""
        if inspect.isclass(task):
            task = task()
        task = maybe_evaluate(task)
        if not task.name:
            task_class = type(task)
            task.name = self.gen_task_name(task_class.__name__, task_class.__module__)
        for attribute, value in options.items():
            setattr(task, attribute, value)
        self._tasks.register(task)
        task.bind(self)
        return task

    def gen_task_name(self, name: str, module: str | None) -> str:
        """Return the name of a task that was given none.

        Args:
            name: Name of the function or class.
            module: Module it is defined in.

        Spec: app-and-cli#4
        """
        module = module or "__main__"
        if module in ("__main__", os.environ.get("MP_MAIN_FILE")):
            return f"{self.main or '__main__'}.{name}"
        return f"{module}.{name}"

    # -- registry ----------------------------------------------------------------------------------

    @property
    def tasks(self) -> TaskRegistry:
        """The tasks by name; reading it finalizes the app."""
        self.finalize(auto=True)
        return self._tasks

    def finalize(self, auto: bool = False) -> None:
        """Make every task that was declared, and bind all of them; once.

        Args:
            auto: Somebody needs the tasks, nobody asked to finalize.

        Raises:
            RuntimeError: `auto`, and the app was made with ``autofinalize=False``.
        """
        if self.finalized:
            return
        with self._finalize_lock:
            if self.finalized:
                return
            if auto and not self.autofinalize:
                raise RuntimeError("Contract breach: app not finalized")
            importlib.import_module("celeriac.app.builtins")  # declares the tasks every app has

            self.finalized = True
            announce_app_finalized(self)  # type: ignore[arg-type]
            while self._pending:
                maybe_evaluate(self._pending.popleft())
            for task in list(self._tasks.values()):
                task.bind(self)
            self.on_after_finalize.send(sender=self)

    # -- calling -----------------------------------------------------------------------------------

    def send_task(
        self,
        name: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> AsyncResult:
        """Publish a call by the name of the task, which need not be registered here.

        Args:
            name: Name of the task.
            args: Positional arguments.
            kwargs: Keyword arguments.
            **options: As of `celeriac.app.publish.publish_task`.

        Raises:
            kombu.exceptions.OperationalError: The broker could not be reached.
            kombu.exceptions.EncodeError: The arguments cannot be serialized.

        Spec: app-and-cli#3.2, #5.3
        """
        from celeriac.app.publish import publish_task

        if self.conf.task_always_eager:
            warnings.warn(
                AlwaysEagerIgnored("task_always_eager has no effect on send_task"), stacklevel=2
            )
        task = options.pop("task_type", None)
        return publish_task(self, name, args, kwargs, task=task, **options)  # type: ignore[arg-type]

    def signature(self, *args: Any, **kwargs: Any) -> Any:
        """Return a signature bound to this app; see `celeriac.canvas.signature`."""
        from celeriac.canvas.signature import signature

        kwargs["app"] = self
        return signature(*args, **kwargs)


def _place(fun: Any) -> str:
    return f"{fun.__module__}.{getattr(fun, '__qualname__', fun.__name__)}"


def argument_check(fun: Any, *, is_bound: bool) -> Callable[..., None]:
    """Return a function that takes what `fun` takes and does nothing: calling it raises Python's own `TypeError`.

    Args:
        fun: The function.
        is_bound: Leave out its first parameter.
    """
    try:
        parameters = list(inspect.signature(fun).parameters.values())
    except (TypeError, ValueError):  # a C function without a signature: nothing to check against
        return _anything
    if is_bound:
        parameters = parameters[1:]
    name = fun.__name__ if fun.__name__.isidentifier() else "task"
    if any(parameter.name == name for parameter in parameters):
        name = "task"
    text = []
    keyword_only = False
    for index, parameter in enumerate(parameters):
        default = "" if parameter.default is parameter.empty else "=None"
        match parameter.kind:
            case parameter.VAR_POSITIONAL:
                text.append(f"*{parameter.name}")
                keyword_only = True
            case parameter.VAR_KEYWORD:
                text.append(f"**{parameter.name}")
            case parameter.KEYWORD_ONLY:
                if not keyword_only:
                    text.append("*")
                    keyword_only = True
                text.append(parameter.name + default)
            case _:
                text.append(parameter.name + default)
                follows = parameters[index + 1 : index + 2]
                if parameter.kind is parameter.POSITIONAL_ONLY and not (
                    follows and follows[0].kind is parameter.POSITIONAL_ONLY
                ):
                    text.append("/")
    namespace: dict[str, Any] = {}
    # The names come from a function that Python compiled: they are identifiers, not text from outside.
    exec(f"def {name}({', '.join(text)}): return None", namespace)  # noqa: S102
    check: Callable[..., None] = namespace[name]
    return check


def _anything(*args: object, **kwargs: object) -> None:
    return None
