"""The commands that look. Spec: control-and-events#1.7, control-and-events#1.9."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from celeriac.app.report import bugreport
from celeriac.app.settings_censor import censor
from celeriac.worker.remote.registry import inspect_command
from celeriac.worker.remote.requests import RESERVED, in_phase, request_info, request_infos
from celeriac.worker.remote.state import ControlState
from celeriac.worker.request import Phase
from celeriac_protocol.control import ok, read_revoked

try:
    import resource
except ImportError:  # no such thing on this platform
    resource = None  # type: ignore[assignment]

__all__ = [
    "active",
    "active_queues",
    "clock",
    "conf",
    "hello",
    "ping",
    "plain",
    "query_task",
    "registered",
    "report",
    "reserved",
    "revoked",
    "scheduled",
    "stats",
]

logger = logging.getLogger("celery.worker.control")

_DEFAULT_PRIORITY = 6
"""Of entries in a timer; there is no other."""
_TASK_INFO_ITEMS = ("exchange", "routing_key", "rate_limit")


@inspect_command(default_timeout=1.0)
def ping(state: ControlState, **kwargs: Any) -> dict[str, object]:
    """Ping worker(s)."""
    return ok("pong")


@inspect_command(alias="dump_active")
def active(state: ControlState, safe: bool = False, **kwargs: Any) -> list[dict[str, Any]]:
    """List of tasks currently being executed."""
    return request_infos(state, in_phase(state.loop, Phase.RUNNING), safe=bool(safe))


@inspect_command(alias="dump_reserved")
def reserved(state: ControlState, safe: bool = False, **kwargs: Any) -> list[dict[str, Any]]:
    """List of currently reserved tasks, not including scheduled/active."""
    return request_infos(state, in_phase(state.loop, *RESERVED), safe=bool(safe))


@inspect_command(alias="dump_schedule")
def scheduled(state: ControlState, safe: bool = False, **kwargs: Any) -> list[dict[str, Any]]:
    """List of currently scheduled ETA/countdown tasks."""
    held = [r for r in in_phase(state.loop, Phase.HELD) if r.until is not None]
    return [
        {
            "eta": None if request.until is None else request.until.isoformat(),
            "priority": _DEFAULT_PRIORITY,
            "request": request_info(state, request, safe=bool(safe)),
        }
        for request in sorted(held, key=lambda r: (r.until is None, r.until))
    ]


@inspect_command(args=[("ids", str)], variadic="ids", signature="[id1 [id2 [... [idN]]]]")
def query_task(state: ControlState, ids: Any, **kwargs: Any) -> dict[str, list[Any]]:
    """Query for task(s) information by id."""
    wanted = {ids} if isinstance(ids, str) else set(ids)
    names = {Phase.RUNNING: "active", Phase.HELD: "scheduled"}
    names.update(dict.fromkeys(RESERVED, "reserved"))
    return {
        request.id: [names[request.state.phase], request_info(state, request)]
        for request in state.loop.requests.values()
        if request.id in wanted and request.state.phase in names
    }


@inspect_command(alias="dump_revoked")
def revoked(state: ControlState, **kwargs: Any) -> list[str]:
    """List of revoked task-ids."""
    state.revoked.expire()
    return list(state.revoked)


@inspect_command(
    alias="dump_tasks",
    args=[("taskinfoitems", str)],
    variadic="taskinfoitems",
    signature="[attr1 [attr2 [... [attrN]]]]",
)
def registered(
    state: ControlState, taskinfoitems: Any = None, builtins: bool = False, **kwargs: Any
) -> list[str]:
    """List of registered tasks."""
    if isinstance(taskinfoitems, str):
        taskinfoitems = [taskinfoitems]
    items = [item for item in taskinfoitems or _TASK_INFO_ITEMS if not item.startswith("_")]
    tasks = state.app.tasks
    names = (name for name in tasks if builtins or not name.startswith("celery."))
    return sorted(_task_line(tasks[name], name, items) for name in names)


def _task_line(task: Any, name: str, items: list[str]) -> str:
    pairs = [(item, getattr(task, item, None)) for item in items]
    found = " ".join(f"{item}={value}" for item, value in pairs if value is not None)
    return f"{name} [{found}]" if found else name


@inspect_command()
def stats(state: ControlState, **kwargs: Any) -> dict[str, Any]:
    """Request worker statistics/information."""
    connection = state.app.connection_for_read()
    # Not opened: it only knows how the URL is to be understood.
    broker = {key: value for key, value in connection.info().items() if key != "password"}
    broker["alternates"] = [
        censor({"broker_url": url})["broker_url"] for url in broker["alternates"]
    ]
    broker["credential_provider"] = None
    heartbeat = state.app.conf.broker_heartbeat
    broker["heartbeat"] = None if heartbeat is None else float(heartbeat)
    scaled = state.worker.autoscaler
    return {
        **({} if scaled is None else {"autoscaler": scaled.info()}),
        "total": dict(state.loop.totals),
        "pid": os.getpid(),
        "clock": str(state.app.clock.value),
        "uptime": int(state.worker.uptime_s),
        "pool": plain(state.loop.pool.info()),
        "broker": plain(censor(broker)),
        "prefetch_count": state.loop.window,
        "rusage": _rusage(),
    }


def _rusage() -> dict[str, float] | str:
    if resource is None:
        return "N/A"
    usage = resource.getrusage(resource.RUSAGE_SELF)
    names = (
        "utime", "stime", "maxrss", "ixrss", "idrss", "isrss", "minflt", "majflt", "nswap", "inblock", "oublock",
        "msgsnd", "msgrcv", "nsignals", "nvcsw", "nivcsw",
    )  # fmt: skip
    return {name: getattr(usage, f"ru_{name}") for name in names}


@inspect_command(
    alias="dump_conf", signature="[include_defaults=False]", args=[("with_defaults", bool)]
)
def conf(state: ControlState, with_defaults: bool = False, **kwargs: Any) -> dict[str, Any]:
    """List configuration."""
    settings = state.app.conf
    table = settings.table(with_defaults=bool(with_defaults))
    table["deprecated_settings"] = settings.deprecated_settings or None
    modules = (task.__module__ for task in state.app.tasks.values())
    table["include"] = list(dict.fromkeys((*(settings.include or ()), *modules)))
    shown: dict[str, Any] = plain(table)
    return shown


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: what it cannot becomes text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if hasattr(value, "total_seconds"):
        return str(value)
    return repr(value)


@inspect_command()
def report(state: ControlState) -> dict[str, object]:
    """Information about Celery installation for bug reports."""
    return ok(bugreport(state.app))


@inspect_command()
def active_queues(state: ControlState) -> list[dict[str, Any]]:
    """List the task queues a worker is currently consuming from."""
    return [plain(queue.as_dict(recurse=True)) for queue in state.loop.queues]


@inspect_command()
def clock(state: ControlState, **kwargs: Any) -> dict[str, int]:
    """Get current logical clock value."""
    return {"clock": state.app.clock.value}


@inspect_command(visible=False)
def hello(
    state: ControlState, from_node: str, revoked: Any = None, **kwargs: Any
) -> dict[str, Any] | None:
    """Request mingle sync-data."""
    if from_node == state.hostname:
        return None
    logger.info("sync with %s", from_node)
    state.revoked.add(read_revoked(revoked))
    return {"revoked": list(state.revoked), "clock": state.app.clock.forward()}
