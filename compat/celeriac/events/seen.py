"""One worker and one task as their events tell of them. Spec: control-and-events#2.3, control-and-events#2.4."""

from __future__ import annotations

import logging
import time
from bisect import insort
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from celeriac.states import PENDING, READY_STATES, RETRY, precedence
from celeriac_protocol.events import TASK_STATES

if TYPE_CHECKING:
    from celeriac.events.cluster_state import State

__all__ = ["HEARTBEAT_EXPIRE_WINDOW", "Task", "Worker", "heartbeat_expires"]

logger = logging.getLogger("celery.events.state")

HEARTBEAT_EXPIRE_WINDOW: Final = 200
"""Percent of the interval between heartbeats after which a worker counts as gone."""
HEARTBEAT_DRIFT_MAX: Final = 16
"""Seconds between sending and arrival that are believed to be the way, not the clock."""
_DEFAULT_FREQ_S: Final = 60
_DRIFT: Final = (
    "Substantial drift from %s may mean clocks are out of sync.  Current drift is %s seconds.  "
    "[orig: %s recv: %s]"
)
_drifting: set[str] = set()
"""Hosts that were warned of, once."""


def heartbeat_expires(
    timestamp: float, freq: float = _DEFAULT_FREQ_S, expire_window: float = HEARTBEAT_EXPIRE_WINDOW
) -> float:
    """Return when a worker that was heard at `timestamp` counts as gone."""
    if isinstance(freq, bool) or not isinstance(freq, int | float):
        freq = _DEFAULT_FREQ_S
    return timestamp + freq * (expire_window / 100)


class Worker:
    """A worker.

    Args:
        hostname: Its node name.
        pid: Its process.
        freq: Seconds between its heartbeats.
        heartbeats: When it was heard, oldest first.
        clock: Its clock.
        active: Tasks that run there.
        processed: Tasks that ran there.
        loadavg: Of its machine.
        sw_ident: Its software.
        sw_ver: The software's version.
        sw_sys: Its operating system.
    """

    heartbeat_max = 4
    expire_window = HEARTBEAT_EXPIRE_WINDOW
    _fields = (
        "hostname", "pid", "freq", "heartbeats", "clock", "active", "processed", "loadavg", "sw_ident", "sw_ver",
        "sw_sys",
    )  # fmt: skip

    def __init__(
        self,
        hostname: str | None = None,
        pid: int | None = None,
        freq: float = _DEFAULT_FREQ_S,
        heartbeats: list[float] | None = None,
        clock: int = 0,
        active: int | None = None,
        processed: int | None = None,
        loadavg: Any = None,
        sw_ident: str | None = None,
        sw_ver: str | None = None,
        sw_sys: str | None = None,
    ) -> None:
        self.hostname = hostname
        self.pid = pid
        self.freq = freq
        self.heartbeats = [] if heartbeats is None else heartbeats
        self.clock = clock or 0
        self.active = active
        self.processed = processed
        self.loadavg = loadavg
        self.sw_ident = sw_ident
        self.sw_ver = sw_ver
        self.sw_sys = sw_sys

    def event(
        self,
        type_: str | None,
        timestamp: float | None = None,
        local_received: float | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Take in what an event says.

        Args:
            type_: ``online``, ``heartbeat``, ``offline``; `None` for an event of a task there.
            timestamp: When it was sent.
            local_received: When it arrived.
            fields: What it says.
        """
        self.update({key: value for key, value in (fields or {}).items() if key in self._fields})
        if type_ == "offline":
            self.heartbeats.clear()
            return
        if not local_received or not timestamp:
            return
        drift = abs(int(local_received) - int(timestamp))
        if drift > HEARTBEAT_DRIFT_MAX and self.hostname not in _drifting:
            _drifting.add(str(self.hostname))
            logger.warning(_DRIFT, self.hostname, drift, timestamp, local_received)
        heartbeats = self.heartbeats
        if len(heartbeats) >= self.heartbeat_max:
            del heartbeats[0]
        insort(heartbeats, local_received)

    def update(self, f: Mapping[str, Any], **kw: Any) -> None:
        """Set attributes."""
        for key, value in {**f, **kw}.items():
            setattr(self, key, value)

    @property
    def heartbeat_expires(self) -> float:
        """When it counts as gone, if nothing more is heard."""
        return heartbeat_expires(self.heartbeats[-1], self.freq, self.expire_window)

    @property
    def alive(self) -> bool:
        """Whether it was heard lately."""
        return bool(self.heartbeats) and time.time() < self.heartbeat_expires

    @property
    def status_string(self) -> str:
        """``ONLINE`` or ``OFFLINE``."""
        return "ONLINE" if self.alive else "OFFLINE"

    @property
    def id(self) -> str:
        """Name and process."""
        return f"{self.hostname}.{self.pid}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Worker) and self.hostname == other.hostname

    def __hash__(self) -> int:
        return hash(self.hostname)

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname} ({self.status_string} clock:{self.clock})>"

    def __reduce__(self) -> Any:
        return type(self), tuple(getattr(self, name) for name in self._fields)


class Task:
    """A task.

    Args:
        uuid: Its id.
        cluster_state: Where its relatives are.
        children: Ids of tasks it sent, looked up in `cluster_state`.
        **kwargs: Attributes.
    """

    name: str | None = None
    state: str = PENDING
    received: float | None = None
    sent: float | None = None
    started: float | None = None
    rejected: float | None = None
    succeeded: float | None = None
    failed: float | None = None
    retried: float | None = None
    revoked: float | None = None
    args: str | None = None
    kwargs: str | None = None
    eta: str | None = None
    expires: str | None = None
    retries: int | None = None
    worker: Worker | None = None
    result: str | None = None
    exception: str | None = None
    timestamp: float | None = None
    runtime: float | None = None
    traceback: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    clock: int = 0
    client: str | None = None
    root_id: str | None = None
    parent_id: str | None = None

    _fields = (
        "uuid", "name", "state", "received", "sent", "started", "rejected", "succeeded", "failed", "retried",
        "revoked", "args", "kwargs", "eta", "expires", "retries", "worker", "result", "exception", "timestamp",
        "runtime", "traceback", "exchange", "routing_key", "clock", "client", "root", "root_id", "parent",
        "parent_id", "children",
    )  # fmt: skip
    _info_fields = (
        "args", "kwargs", "retries", "result", "eta", "runtime", "expires", "exception", "exchange", "routing_key",
        "root_id", "parent_id",
    )  # fmt: skip
    merge_rules: Mapping[str, tuple[str, ...]] = {
        "RECEIVED": (
            "name", "args", "kwargs", "parent_id", "root_id", "retries", "eta", "expires",
        )
    }  # fmt: skip
    """What an event that comes late may still add."""

    def __init__(
        self,
        uuid: str | None = None,
        cluster_state: State | None = None,
        children: Iterable[str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.uuid = uuid
        self.cluster_state = cluster_state
        tasks = {} if cluster_state is None else cluster_state.tasks
        self.children: WeakSet[Task] = WeakSet(
            tasks[child] for child in children or () if child in tasks
        )
        self.__dict__.update(kwargs)

    def event(
        self,
        type_: str,
        timestamp: float | None = None,
        local_received: float | None = None,
        fields: Mapping[str, Any] | None = None,
        **_unused: Any,
    ) -> None:
        """Take in what an event says; one that comes late does not turn the state back.

        Args:
            type_: ``received``, ``started`` and so on.
            timestamp: When it was sent.
            local_received: When it arrived.
            fields: What it says.
        """
        news = dict(fields or {})
        state = TASK_STATES.get(type_)
        if state is not None:
            setattr(self, type_, timestamp)
        else:
            state = type_.upper()
        is_late = RETRY not in (state, self.state) and precedence(state) > precedence(self.state)
        if is_late:
            keep = self.merge_rules.get(state)
            if keep is not None:
                self.__dict__.update((name, news[name]) for name in keep if name in news)
                return
        else:
            self.state = state
        self.timestamp = timestamp
        for name in (
            "type",
            "hostname",
            "timestamp",
            "worker",
            "children",
            "cluster_state",
            "state",
        ):
            news.pop(name, None)
        self.__dict__.update((name, value) for name, value in news.items() if _may_be_set(name))

    def info(
        self, fields: Iterable[str] | None = None, extra: Iterable[str] | None = None
    ) -> dict[str, Any]:
        """Return what is known: some attributes, those without a value left out."""
        names = [*(self._info_fields if fields is None else fields), *(extra or ())]
        return {name: value for name in names if (value := getattr(self, name, None)) is not None}

    def as_dict(self) -> dict[str, Any]:
        """Return every attribute; relatives by their ids."""
        found = {name: getattr(self, name, None) for name in self._fields}
        found["root"], found["parent"] = self.root_id, self.parent_id
        found["children"] = [child.id for child in self.children]
        return found

    @property
    def ready(self) -> bool:
        """Whether it is done, whatever came of it."""
        return self.state in READY_STATES

    @property
    def id(self) -> str | None:
        """The same as `uuid`."""
        return self.uuid

    @property
    def origin(self) -> str | None:
        """Who told of it: the worker, else the producer."""
        return self.client if self.worker is None else self.worker.id

    @property
    def parent(self) -> Task | None:
        """The task that sent it, if it was seen."""
        return self._relative(self.parent_id)

    @property
    def root(self) -> Task | None:
        """The first task of its workflow, if it was seen."""
        return self._relative(self.root_id)

    def _relative(self, uuid: str | None) -> Task | None:
        if uuid is None or self.cluster_state is None:
            return None
        found: Task | None = self.cluster_state.tasks.get(uuid)
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and self.uuid == other.uuid

    def __hash__(self) -> int:
        return hash(self.uuid)

    def __repr__(self) -> str:
        return f"<Task: {self.name}({self.uuid}) {self.state} clock:{self.clock}>"

    def __reduce__(self) -> Any:
        # Relatives are found again by the `State` that is restored around it.
        values = {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("cluster_state", "children", "uuid")
        }
        return _restored, (type(self), self.uuid, values)


def _may_be_set(name: str) -> bool:
    """Whether a field of an event may become an attribute: none that would hide a property or method."""
    found = getattr(Task, name, None)
    return not (isinstance(found, property) or callable(found))


def _restored(cls: type[Task], uuid: str | None, values: dict[str, Any]) -> Task:
    return cls(uuid, **values)
