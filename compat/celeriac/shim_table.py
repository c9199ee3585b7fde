"""Which module of the `celery` namespace is served by what. Spec: app-and-cli#2.1."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass, field

__all__ = ["MODULES", "SERIES", "VERSION", "VERSION_BANNER", "ModuleTable", "version_info_t"]

version_info_t = namedtuple("version_info_t", ("major", "minor", "micro", "releaselevel", "serial"))
__version__ = "5.7.0"
"""The release whose interface is served; programs compare it."""
SERIES = "collider"
VERSION = version_info_t(5, 7, 0, "", "")
VERSION_BANNER = f"{__version__} ({SERIES})"


@dataclass(frozen=True, slots=True)
class ModuleTable:
    """One module."""

    doc: str
    sources: tuple[str, ...] = ()
    """Modules searched for every name, in order."""
    names: dict[str, str] = field(default_factory=dict)
    """Name → ``module:attribute`` (or ``module``), before the sources."""
    is_package: bool = False


def _served(doc: str, *sources: str, is_package: bool = False, **names: str) -> ModuleTable:
    return ModuleTable(doc, sources, names, is_package)


_TOP = "celeriac"
_STATE = "celeriac.app.state"
_HERE = "celeriac.shim_table"

MODULES: dict[str, ModuleTable] = {
    "celery": _served(
        "Celery's top level, served by Celeriac.",
        _TOP,
        is_package=True,
        __version__=f"{_HERE}:__version__",
        VERSION=f"{_HERE}:VERSION",
        version_info=f"{_HERE}:VERSION",
        version_info_t=f"{_HERE}:version_info_t",
        VERSION_BANNER=f"{_HERE}:VERSION_BANNER",
        SERIES=f"{_HERE}:SERIES",
        maybe_patch_concurrency="celeriac.pools.patching:maybe_patch_concurrency",
    ),
    "celery.__main__": _served("The program.", "celeriac.cli.main"),
    "celery._state": _served(
        "Current app and current task.",
        _STATE,
        _task_stack=f"{_STATE}:task_stack",
        _set_current_app=f"{_STATE}:set_current_app",
        _get_current_app=f"{_STATE}:get_current_app",
        _get_active_apps=f"{_STATE}:get_active_apps",
        _register_app=f"{_STATE}:register_app",
        _deregister_app=f"{_STATE}:deregister_app",
        _announce_app_finalized=f"{_STATE}:announce_app_finalized",
        task_join_will_block="celeriac.result.blocking:task_join_will_block",
        _set_task_join_will_block="celeriac.result.blocking:set_join_will_block",
    ),
    "celery.app": _served("Applications.", "celeriac.app", is_package=True),
    "celery.app.amqp": _served("Queues.", "celeriac.app.amqp", Queues="celeriac.app.queues:Queues"),
    "celery.app.annotations": _served("Annotations.", "celeriac.app.annotations"),
    "celery.app.autoretry": _served("Automatic retries.", "celeriac.app.retry"),
    "celery.app.base": _served("The Celery class.", "celeriac.app.app"),
    "celery.app.builtins": _served("Tasks every app has.", "celeriac.app.builtins"),
    "celery.app.control": _served("Remote control.", "celeriac.control"),
    "celery.app.defaults": _served(
        "Settings.",
        DEFAULT_PROCESS_LOG_FMT="celeriac.app.settings_table:DEFAULT_PROCESS_LOG_FMT",
        DEFAULT_TASK_LOG_FMT="celeriac.app.settings_table:DEFAULT_TASK_LOG_FMT",
    ),
    "celery.app.events": _served("Events of an app.", "celeriac.events.app"),
    "celery.app.log": _served("Logging.", "celeriac.app.log"),
    "celery.app.registry": _served("Registry.", "celeriac.app.registry"),
    "celery.app.routes": _served(
        "Routes.", "celeriac.app.queues", prepare="celeriac.app.queues:prepare_routes"
    ),
    "celery.app.task": _served("Tasks.", "celeriac.app.task"),
    "celery.app.trace": _served("Running tasks.", "celeriac.app.trace", "celeriac.worker.lines"),
    "celery.app.utils": _served(
        "Settings and -A.",
        Settings="celeriac.app.settings:Settings",
        bugreport="celeriac.app:bugreport",
        find_app="celeriac.app.find:find_app",
    ),
    "celery.apps": _served("Programs.", is_package=True),
    "celery.apps.beat": _served("Beat.", "celeriac.beat.program"),
    "celery.apps.worker": _served("Worker.", Worker="celeriac.worker.worker:Worker"),
    "celery.backends": _served(
        "Result backends.",
        is_package=True,
        by_url="celeriac.backends:by_url",
    ),
    "celery.backends.base": _served(
        "Result backends.", DisabledBackend="celeriac.backends.disabled:DisabledBackend"
    ),
    "celery.backends.cache": _served(
        "Results in memory.", CacheBackend="celeriac.backends.memory:MemoryBackend"
    ),
    "celery.backends.database": _served(
        "Results in a database.", "celeriac.backends.database", is_package=True
    ),
    "celery.backends.filesystem": _served("Results in files.", "celeriac.backends.filesystem"),
    "celery.backends.redis": _served("Results in Redis.", "celeriac.backends.redis"),
    "celery.backends.rpc": _served("Results as messages.", "celeriac.backends.rpc"),
    "celery.beat": _served("Periodic tasks.", "celeriac.beat"),
    "celery.bin": _served("The program.", is_package=True),
    "celery.bin.base": _served("The program.", "celeriac.cli.base"),
    "celery.bin.celery": _served(
        "The program.", "celeriac.cli.main", celery="celeriac.cli.main:celery"
    ),
    "celery.bin.worker": _served("The worker command.", "celeriac.cli.worker"),
    "celery.bootsteps": _served("Boot steps.", "celeriac.bootsteps"),
    "celery.canvas": _served("Canvas.", "celeriac.canvas"),
    "celery.concurrency": _served("Pools.", is_package=True),
    "celery.contrib": _served("Extras.", is_package=True),
    "celery.contrib.abortable": _served("Tasks that can be aborted.", "celeriac.contrib.abortable"),
    "celery.contrib.pytest": _served("Fixtures.", "celeriac.contrib.pytest"),
    "celery.contrib.testing": _served("For tests.", "celeriac.contrib.testing", is_package=True),
    "celery.contrib.testing.app": _served("For tests.", "celeriac.contrib.testing.app"),
    "celery.contrib.testing.tasks": _served("For tests.", "celeriac.contrib.testing.tasks"),
    "celery.contrib.testing.worker": _served("For tests.", "celeriac.contrib.testing.worker"),
    "celery.events": _served("Monitoring events.", "celeriac.events", is_package=True),
    "celery.events.dispatcher": _served("Sending events.", "celeriac.events.dispatcher"),
    "celery.events.event": _served("One event.", "celeriac.events.event"),
    "celery.events.receiver": _served("Receiving events.", "celeriac.events.receiver"),
    "celery.events.state": _served("State of a cluster.", "celeriac.events.cluster_state"),
    "celery.exceptions": _served("Exceptions.", "celeriac.exceptions"),
    "celery.execute": _served(
        "Old home of send_task.", send_task="celeriac.app.old_names:send_task"
    ),
    "celery.fixups": _served("Framework integrations.", is_package=True),
    "celery.fixups.django": _served("Django.", "celeriac.contrib.django"),
    "celery.loaders": _served(
        "Loaders.", is_package=True, get_loader_cls="celeriac.app.loader:resolve_loader"
    ),
    "celery.loaders.app": _served("Loader of an app.", AppLoader="celeriac.app.loader:AppLoader"),
    "celery.loaders.base": _served(
        "Base of loaders.",
        BaseLoader="celeriac.app.loader:BaseLoader",
        find_related_module="celeriac.app.loader:find_related_module",
    ),
    "celery.loaders.default": _served(
        "Default loader.", Loader="celeriac.app.loader:DefaultLoader"
    ),
    "celery.local": _served("Proxies.", "celeriac.local"),
    "celery.platforms": _served("Processes.", "celeriac.platforms"),
    "celery.registry": _served("Tasks of the current app.", tasks="celeriac.app.old_names:tasks"),
    "celery.result": _served("Results.", "celeriac.result"),
    "celery.schedules": _served("Schedules.", "celeriac.schedules"),
    "celery.security": _served("Signed messages.", "celeriac.app.security"),
    "celery.signals": _served("Signals.", "celeriac.signals"),
    "celery.states": _served("States.", "celeriac.states"),
    "celery.utils": _served("Helpers.", "celeriac.helpers.names", is_package=True),
    "celery.utils.dispatch": _served("Signals.", is_package=True, Signal="celeriac.signals:Signal"),
    "celery.utils.dispatch.signal": _served("Signals.", Signal="celeriac.signals:Signal"),
    "celery.utils.functional": _served("Functions.", "celeriac.helpers.functional"),
    "celery.utils.imports": _served("Importing by name.", "celeriac.helpers.imports"),
    "celery.utils.log": _served("Logging.", "celeriac.app.log"),
    "celery.utils.nodenames": _served("Node names.", "celeriac.helpers.nodenames"),
    "celery.utils.saferepr": _served("Bounded repr.", saferepr="celeriac_protocol.reprs:saferepr"),
    "celery.utils.serialization": _served("Serialization.", "celeriac.helpers.serialization"),
    "celery.utils.term": _served("Colours.", "celeriac.helpers.term"),
    "celery.utils.text": _served("Text.", "celeriac.helpers.text"),
    "celery.utils.threads": _served("Stacks.", LocalStack="celeriac.local:LocalStack"),
    "celery.utils.time": _served("Time.", "celeriac.helpers.time"),
    "celery.worker": _served(
        "Worker.", is_package=True, WorkController="celeriac.worker.worker:Worker"
    ),
    "celery.worker.control": _served("Remote control.", "celeriac.worker.remote"),
    "celery.worker.state": _served("State of a worker.", "celeriac.worker.state"),
    "billiard": _served("What of the process pool is public.", is_package=True),
    "billiard.einfo": _served("Tracebacks.", "celeriac.app.einfo"),
    "billiard.exceptions": _served(
        "Errors of the pool.",
        SoftTimeLimitExceeded="celeriac.exceptions:SoftTimeLimitExceeded",
        TimeLimitExceeded="celeriac.exceptions:TimeLimitExceeded",
        WorkerLostError="celeriac.exceptions:WorkerLostError",
        Terminated="celeriac.exceptions:Terminated",
    ),
}
"""Name → what serves it. A module is importable when at least one thing behind it exists."""
