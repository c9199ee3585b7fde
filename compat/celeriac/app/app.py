"""`Celery`: one application, its settings, tasks and connections, wired together.

Making an app costs nothing: no settings are read, nothing is connected. Reading a setting configures it; asking for its
tasks finalizes it.

Spec: app-and-cli#3
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self

from celeriac.app.app_config import AppConfiguration
from celeriac.app.app_io import AppConnections
from celeriac.app.app_tasks import AppTasks
from celeriac.app.loader import BaseLoader, resolve_loader, symbol_by_name
from celeriac.app.registry import TaskRegistry
from celeriac.app.settings import Settings
from celeriac.app.state import (
    deregister_app,
    get_active_apps,
    register_app,
    set_current_app,
    set_default_app,
)
from celeriac.signals import Signal

__all__ = ["Celery", "unpickle_app"]

_PRESET_ARGUMENTS = {"broker": "broker_url", "backend": "result_backend", "include": "include"}

_NO_WORKER_WORD = (
    "The worker sub-command must be specified in argv.\n"
    "Use app.start() to programmatically start other commands."
)


def unpickle_app(cls: type[Celery], kwargs: dict[str, Any]) -> Celery:
    """Make the copy of a pickled app; it does not become the current app."""
    return cls(set_as_current=False, **kwargs)


class Celery(AppConfiguration, AppTasks, AppConnections):
    """A Celery application.

    Args:
        main: Stands for ``__main__`` in the names of tasks.
        loader: Class, path or alias (``app``, ``default``); the environment variable ``CELERY_LOADER`` wins.
        backend: URL or class of the result backend.
        amqp: Class (or path) of `amqp`.
        events: Class (or path) of `events`.
        log: Class (or path) of `log`.
        control: Class (or path) of `control`.
        set_as_current: Become the current app of this thread.
        tasks: Registry, or tasks by name.
        broker: URL of the broker.
        include: Modules with tasks.
        changes: Settings that win over the configuration source.
        config_source: As of `config_from_object`.
        fixups: Framework integrations, as ``module:callable``, each called with the app.
        task_cls: Base class (or path) of the tasks.
        autofinalize: Finalize when the tasks are first needed; without, only `finalize()` does.
        namespace: Prefix of the keys in the configuration source.
        strict_typing: Check the arguments of calls before publishing.
        config_source_silent: As `silent` of `config_from_object`.
        **kwargs: More settings.
    """

    SYSTEM = platform.system()
    IS_macOS = platform.system() == "Darwin"
    IS_WINDOWS = platform.system() == "Windows"

    main = None
    amqp_cls: Any = "celery.app.amqp:AMQP"
    backend_cls: Any = None
    events_cls: Any = "celery.app.events:Events"
    loader_cls: Any = None
    log_cls: Any = "celery.app.log:Logging"
    control_cls: Any = "celery.app.control:Control"
    task_cls: Any = "celery.app.task:Task"
    registry_cls: Any = "celery.app.registry:TaskRegistry"
    builtin_fixups: frozenset[str] = frozenset()
    user_options: Any = None
    steps: Any = None
    on_configure: Any = None
    """Called before the configuration is read: a signal, unless a subclass makes it a method."""

    def __init__(
        self,
        main: str | None = None,
        loader: Any = None,
        backend: Any = None,
        amqp: Any = None,
        events: Any = None,
        log: Any = None,
        control: Any = None,
        set_as_current: bool = True,
        tasks: Any = None,
        broker: Any = None,
        include: Any = None,
        changes: Mapping[str, Any] | None = None,
        config_source: Any = None,
        fixups: Any = None,
        task_cls: Any = None,
        autofinalize: bool = True,
        namespace: str | None = None,
        strict_typing: bool = True,
        config_source_silent: bool = False,
        **kwargs: Any,
    ) -> None:
        self.main = main if main is not None else self.main
        self.amqp_cls = amqp or self.amqp_cls
        self.events_cls = events or self.events_cls
        self.loader_cls = loader or self.loader_cls or "app"
        self.log_cls = log or self.log_cls
        self.control_cls = control or self.control_cls
        self._custom_task_cls = task_cls is not None
        self.task_cls = task_cls or self.task_cls
        self.set_as_current = set_as_current
        self.user_options = defaultdict(set) if self.user_options is None else self.user_options
        self.steps = defaultdict(set) if self.steps is None else self.steps
        self.configured = False
        self.finalized = False
        self.autofinalize = autofinalize
        self.strict_typing = strict_typing
        self.namespace = namespace
        self._config_source = config_source
        self._config_source_silent = config_source_silent
        self._pending: deque[Any] = deque()
        self._pending_periodic_tasks: list[tuple[str, dict[str, Any], bool]] = []
        self._finalize_lock = threading.RLock()
        self._io_lock = threading.RLock()
        self._per_thread = threading.local()
        self._shared_backend = None
        self._backends = []
        self._publisher = None
        self._warned_names: set[str] = set()

        registry = tasks if tasks is not None else {}
        self._tasks = (
            registry
            if isinstance(registry, TaskRegistry)
            else symbol_by_name(self.registry_cls)(registry)
        )
        presets = dict(changes or {})
        for name, value in (("broker", broker), ("backend", backend), ("include", include)):
            if value:
                presets.setdefault(_PRESET_ARGUMENTS[name], value)
        presets.update(kwargs)
        self._conf = Settings(presets, load=self._load_config, namespace=namespace)

        if self.on_configure is None:
            self.on_configure = Signal(name="app.on_configure")
        self.on_after_configure = Signal(("source",), name="app.on_after_configure")
        self.on_after_finalize = Signal(name="app.on_after_finalize")
        self.on_after_fork = Signal(name="app.on_after_fork")

        self.fixups = set(self.builtin_fixups) if fixups is None else fixups
        self._fixups = [symbol_by_name(fixup)(self) for fixup in self.fixups]
        if set_as_current:
            self.set_current()
        self.on_init()
        register_app(self)

    # -- extension points --------------------------------------------------------------------------

    def on_init(self) -> None:
        """Called at the end of `__init__`."""

    # -- which app is current ----------------------------------------------------------------------

    def set_current(self) -> None:
        """Become the current app of this thread."""
        set_current_app(self)

    def set_default(self) -> None:
        """Become the app of every thread that has no current one."""
        set_default_app(self)

    def close(self) -> None:
        """Close connections and leave the list of live apps."""
        self.close_connections()
        deregister_app(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # -- parts -------------------------------------------------------------------------------------

    @cached_property
    def loader(self) -> BaseLoader:
        """Finds configuration and task modules."""
        return resolve_loader(os.environ.get("CELERY_LOADER") or self.loader_cls)(self)

    @cached_property
    def clock(self) -> Any:
        """The logical clock of this process."""
        from celeriac_protocol.lamport import LamportClock

        return LamportClock()

    @cached_property
    def amqp(self) -> Any:
        """Queues and routes."""
        return symbol_by_name(self.amqp_cls)(app=self)

    @cached_property
    def log(self) -> Any:
        """Sets up logging."""
        return symbol_by_name(self.log_cls)(app=self)

    @cached_property
    def events(self) -> Any:
        """Receives and sends monitoring events."""
        return symbol_by_name(self.events_cls)(app=self)

    @cached_property
    def control(self) -> Any:
        """Client of remote control."""
        return symbol_by_name(self.control_cls)(app=self)

    @property
    def annotations(self) -> Any:
        """The setting `task_annotations`, as a list."""
        found = self.conf.task_annotations
        if not found:
            return ()
        return found if isinstance(found, list | tuple) else (found,)

    # -- classes bound to this app -----------------------------------------------------------------

    @cached_property
    def AsyncResult(self) -> Any:  # noqa: N802 - the public name
        """`celeriac.result.AsyncResult` of this app."""
        from celeriac.result import AsyncResult

        return self.subclass_with_self(AsyncResult, keep_reduce=True)

    @cached_property
    def ResultSet(self) -> Any:  # noqa: N802 - the public name
        """`celeriac.result.ResultSet` of this app."""
        from celeriac.result import ResultSet

        return self.subclass_with_self(ResultSet, keep_reduce=True)

    @cached_property
    def GroupResult(self) -> Any:  # noqa: N802 - the public name
        """`celeriac.result.GroupResult` of this app."""
        from celeriac.result import GroupResult

        return self.subclass_with_self(GroupResult, keep_reduce=True)

    @cached_property
    def Worker(self) -> Any:  # noqa: N802 - the public name
        """The worker program of this app."""
        return self.subclass_with_self("celery.apps.worker:Worker")

    @cached_property
    def WorkController(self) -> Any:  # noqa: N802 - the public name
        """The worker of this app, to be embedded."""
        return self.subclass_with_self("celery.worker:WorkController")

    @cached_property
    def Beat(self) -> Any:  # noqa: N802 - the public name
        """The beat program of this app."""
        return self.subclass_with_self("celery.apps.beat:Beat")

    # -- programs ----------------------------------------------------------------------------------

    def start(self, argv: list[Any] | None = None) -> Any:
        """Run the command line program with this app.

        Args:
            argv: Words after the name of the program; by default those this process was started with.
        """
        # By name: the program knows the app, the app does not depend on the program.
        program = importlib.import_module("celeriac.cli.main")
        words = sys.argv[1:] if argv is None else argv
        return program.main([str(word) for word in words], app=self)

    def worker_main(self, argv: list[Any] | None = None) -> Any:
        """Run a worker: `start` for words that contain ``worker``.

        Raises:
            ValueError: They do not.
        """
        words = sys.argv if argv is None else argv
        if "worker" not in words:
            raise ValueError(_NO_WORKER_WORD)
        return self.start(argv)

    def bugreport(self) -> str:
        """Return what a report of a problem should tell about this installation."""
        from celeriac.app.report import bugreport

        return bugreport(self)

    # -- as a value --------------------------------------------------------------------------------

    def __reduce__(self) -> Any:
        if hasattr(self, "__reduce_args__"):
            return type(self), tuple(self.__reduce_args__())
        return unpickle_app, (type(self), self.__reduce_keys__())

    def __reduce_keys__(self) -> dict[str, Any]:
        """Return the arguments that make a copy of this app."""
        return {
            "main": self.main,
            "changes": dict(self._conf.changes),
            "loader": self.loader_cls,
            "amqp": self.amqp_cls,
            "events": self.events_cls,
            "log": self.log_cls,
            "control": self.control_cls,
            "fixups": self.fixups,
            "config_source": self._config_source,
            "config_source_silent": self._config_source_silent,
            "task_cls": self.task_cls,
            "namespace": self.namespace,
        }

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.main or '__main__'} at {id(self):#x}>"


def _after_fork() -> None:
    for app in get_active_apps():
        app.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
