"""What a cluster looks like, as told by its events: workers, tasks, and their order.

Served as `celery.events.state`. Spec: control-and-events#2.5, control-and-events#8.1
"""

from __future__ import annotations

import threading
from bisect import insort
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar
from weakref import WeakSet

from celeriac.events.seen import HEARTBEAT_EXPIRE_WINDOW, Task, Worker, heartbeat_expires

__all__ = ["HEARTBEAT_EXPIRE_WINDOW", "State", "Task", "Worker", "heartbeat_expires"]

_T = TypeVar("_T")

_KEPT = 0.8
"""Share of the timeline that stays when it has grown too long."""


class _Moment(NamedTuple):
    """A task event on the timeline: by clock where both sides have one, else by time."""

    clock: int
    timestamp: float
    origin: str
    uuid: str

    def __lt__(self, other: tuple[Any, ...]) -> bool:
        if self.clock and other[0]:
            if self.clock == other[0]:
                return bool(self.origin < other[2])
            return bool(self.clock < other[0])
        return bool(self.timestamp < other[1])


class _Bounded(OrderedDict[str, _T]):
    """Forgets what was added first when there is too much."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def __setitem__(self, key: str, value: _T) -> None:
        super().__setitem__(key, value)
        while len(self) > self.limit:
            self.popitem(last=False)

    def __reduce__(self) -> Any:
        return type(self), (self.limit,), None, None, iter(list(self.items()))


class _Index(defaultdict[str, "WeakSet[Task]"]):
    """Tasks by something: ``index[key]`` is a set, ``index(key)`` iterates ``(id, task)``, newest first."""

    def __init__(self, ordered: Callable[..., Iterator[tuple[str, Task]]]) -> None:
        super().__init__(WeakSet)
        self._ordered = ordered

    def __call__(
        self, key: str, limit: int | None = None, reverse: bool = True
    ) -> Iterator[tuple[str, Task]]:
        return self._ordered(key, limit, reverse)


SeenTask = Task
SeenWorker = Worker


class State:
    """Feed it with events; ask it for workers and tasks.

    Args:
        callback: Called with this object and each event, before it is taken in.
        workers: Mapping to use for workers, by node name.
        tasks: Mapping to use for tasks, by id.
        taskheap: Timeline to go on with.
        max_workers_in_memory: Workers kept; the oldest go first.
        max_tasks_in_memory: Tasks kept; the oldest go first.
        on_node_join: Called with each worker that comes.
        on_node_leave: Called with each worker that says goodbye.
        tasks_by_type: Accepted for the sake of old pickles; made of `tasks`.
        tasks_by_worker: The same.
    """

    Worker: type[SeenWorker] = SeenWorker
    Task: type[SeenTask] = SeenTask
    heap_multiplier = 4
    """The timeline holds so many events per task at most."""
    event_count = 0
    task_count = 0

    def __init__(
        self,
        callback: Callable[[State, Mapping[str, Any]], Any] | None = None,
        workers: Any = None,
        tasks: Any = None,
        taskheap: list[Any] | None = None,
        max_workers_in_memory: int = 5000,
        max_tasks_in_memory: int = 10000,
        on_node_join: Callable[[SeenWorker], Any] | None = None,
        on_node_leave: Callable[[SeenWorker], Any] | None = None,
        tasks_by_type: Any = None,
        tasks_by_worker: Any = None,
    ) -> None:
        self.event_callback = callback
        self.workers: Any = _Bounded(max_workers_in_memory) if workers is None else workers
        self.tasks: Any = _Bounded(max_tasks_in_memory) if tasks is None else tasks
        self.max_workers_in_memory = max_workers_in_memory
        self.max_tasks_in_memory = max_tasks_in_memory
        self.on_node_join = on_node_join
        self.on_node_leave = on_node_leave
        self._timeline: list[_Moment] = [_Moment(*moment) for moment in taskheap or ()]
        self._mutex = threading.RLock()
        self._seen_types: set[str] = set()
        self._orphans: dict[str, WeakSet[SeenTask]] = {}
        """Id of a task not seen yet → the children that wait for it."""
        self.tasks_by_type = _Index(self._tasks_by_type)
        self.tasks_by_worker = _Index(self._tasks_by_worker)
        for task in self.tasks.values():
            task.cluster_state = self
            self._enlist(task)

    # -- taking in ---------------------------------------------------------------------------------

    def event(self, event: Mapping[str, Any]) -> Any:
        """Take an event in.

        Args:
            event: As a receiver hands it on; it is not changed.

        Returns:
            ``((worker or task, whether it is new), what happened)``; `None` for events about neither.

        Raises:
            KeyError: A task event without `uuid`, `hostname` or `timestamp`.
        """
        with self._mutex:
            self.event_count += 1
            if self.event_callback is not None:
                self.event_callback(self, event)
            fields = dict(event)
            group, _, subject = str(fields["type"]).partition("-")
            if group == "worker":
                return self._worker_event(subject, fields)
            if group == "task" and subject:
                return self._task_event(subject, fields)
            return None

    def worker_event(self, type_: str, fields: Mapping[str, Any]) -> Any:
        """Take in an event of a worker: ``online``, ``heartbeat``, ``offline``."""
        return self.event({**fields, "type": f"worker-{type_}"})

    def task_event(self, type_: str, fields: Mapping[str, Any]) -> Any:
        """Take in an event of a task: ``received``, ``started`` and so on."""
        return self.event({**fields, "type": f"task-{type_}"})

    def _worker_event(self, subject: str, fields: dict[str, Any]) -> Any:
        hostname, timestamp = fields.get("hostname"), fields.get("timestamp")
        if hostname is None or timestamp is None:
            return None
        worker = self.workers.get(hostname)
        is_new = False
        if worker is None:
            worker = self.Worker(hostname)
            if subject != "offline":
                self.workers[hostname] = worker
                is_new = True
        worker.event(subject, timestamp, fields.get("local_received", timestamp), fields)
        if self.on_node_join is not None and (is_new or subject == "online"):
            self.on_node_join(worker)
        if self.on_node_leave is not None and subject == "offline":
            self.on_node_leave(worker)
        return (worker, is_new), subject

    def _task_event(self, subject: str, fields: dict[str, Any]) -> Any:
        uuid, hostname, timestamp = fields["uuid"], fields["hostname"], fields["timestamp"]
        received = fields.get("local_received", timestamp)
        task, is_new = self.get_or_create_task(uuid)
        if subject == "sent":
            task.client = hostname
        else:
            worker, _ = self.get_or_create_worker(hostname)
            worker.event(None, timestamp, received, {"pid": fields.get("pid")})
            task.worker = worker
        self._add_moment(task, fields)
        task.event(subject, timestamp, received, fields)
        self._enlist(task)
        if is_new:
            self.task_count += 1
            for child in self._orphans.pop(uuid, ()):
                task.children.add(child)
        return (task, is_new), subject

    def _add_moment(self, task: SeenTask, fields: Mapping[str, Any]) -> None:
        timeline = self._timeline
        origin = task.origin or ""
        clock = fields.get("clock")
        moment = _Moment(
            clock if isinstance(clock, int) else 0, fields["timestamp"], origin, task.uuid or ""
        )
        if not timeline or timeline[-1] < moment:
            timeline.append(moment)
        else:
            insort(timeline, moment)
        limit = self.max_tasks_in_memory * self.heap_multiplier
        if len(timeline) > limit:
            del timeline[: len(timeline) - int(limit * _KEPT)]

    def _enlist(self, task: SeenTask) -> None:
        if task.name:
            self._seen_types.add(task.name)
            self.tasks_by_type[task.name].add(task)
        if task.worker is not None:
            self.tasks_by_worker[str(task.worker.hostname)].add(task)
        if task.parent_id:
            parent = self.tasks.get(task.parent_id)
            if parent is None:
                self._orphans.setdefault(task.parent_id, WeakSet()).add(task)
            else:
                parent.children.add(task)
        if len(self._orphans) > self.max_tasks_in_memory:
            self._orphans = {uuid: waiting for uuid, waiting in self._orphans.items() if waiting}

    def get_or_create_worker(self, hostname: str, **kwargs: Any) -> tuple[SeenWorker, bool]:
        """Return a worker and whether it is new; `kwargs` are set on it."""
        worker = self.workers.get(hostname)
        if worker is not None:
            worker.update(kwargs)
            return worker, False
        worker = self.workers[hostname] = self.Worker(hostname, **kwargs)
        return worker, True

    def get_or_create_task(self, uuid: str) -> tuple[SeenTask, bool]:
        """Return a task and whether it is new."""
        task = self.tasks.get(uuid)
        if task is not None:
            return task, False
        task = self.tasks[uuid] = self.Task(uuid, cluster_state=self)
        return task, True

    # -- asking ------------------------------------------------------------------------------------

    def tasks_by_time(
        self, limit: int | None = None, reverse: bool = True
    ) -> Iterator[tuple[str, SeenTask]]:
        """Iterate ``(id, task)`` by time of their last event, newest first; without `reverse` oldest first."""
        with self._mutex:
            moments = self._timeline[::-1]
            found: dict[str, SeenTask] = {}
            for moment in moments:
                task = self.tasks.get(moment.uuid)
                if task is not None:
                    found.setdefault(moment.uuid, task)
        items = list(found.items())
        if not reverse:
            items.reverse()
        return iter(items[:limit] if limit else items)

    tasks_by_timestamp = tasks_by_time

    def _tasks_by_type(
        self, name: str, limit: int | None = None, reverse: bool = True
    ) -> Iterator[tuple[str, SeenTask]]:
        return self._only(self.tasks_by_type[name], limit, reverse)

    def _tasks_by_worker(
        self, hostname: str, limit: int | None = None, reverse: bool = True
    ) -> Iterator[tuple[str, SeenTask]]:
        return self._only(self.tasks_by_worker[hostname], limit, reverse)

    def _only(
        self, wanted: WeakSet[SeenTask], limit: int | None, reverse: bool
    ) -> Iterator[tuple[str, SeenTask]]:
        found = [item for item in self.tasks_by_time(reverse=reverse) if item[1] in wanted]
        return iter(found[:limit] if limit else found)

    def itertasks(self, limit: int | None = None) -> Iterator[tuple[str, SeenTask]]:
        """Iterate ``(id, task)`` in the order they were first seen."""
        items = list(self.tasks.items())
        return iter(items[:limit] if limit else items)

    def task_types(self) -> list[str]:
        """Names of all tasks seen."""
        return sorted(self._seen_types)

    def alive_workers(self) -> Iterator[SeenWorker]:
        """Iterate workers that are heard of."""
        return (worker for worker in list(self.workers.values()) if worker.alive)

    # -- forgetting --------------------------------------------------------------------------------

    def freeze_while(self, fun: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
        """Call a function while nothing changes; with `clear_after` forget finished tasks then."""
        clear_after = kwargs.pop("clear_after", False)
        with self._mutex:
            try:
                return fun(*args, **kwargs)
            finally:
                if clear_after:
                    self.clear()

    def clear_tasks(self, ready: bool = True) -> None:
        """Forget tasks: finished ones, or without `ready` all."""
        with self._mutex:
            if ready:
                for uuid, task in list(self.tasks.items()):
                    if task.ready:
                        del self.tasks[uuid]
                self._timeline = [m for m in self._timeline if m.uuid in self.tasks]
            else:
                self.tasks.clear()
                self._timeline.clear()
                self._orphans.clear()

    def clear(self, ready: bool = True) -> None:
        """Forget tasks, workers and counts; with `ready` keep the tasks that are not finished."""
        with self._mutex:
            self.workers.clear()
            self.clear_tasks(ready)
            self.event_count = 0
            self.task_count = 0

    def rebuild_taskheap(self, *_: Any) -> None:
        """Make the timeline anew, of each task's last event."""
        with self._mutex:
            self._timeline = []
            for task in list(self.tasks.values()):
                if task.timestamp is not None:
                    self._add_moment(task, {"clock": task.clock, "timestamp": task.timestamp})

    def __repr__(self) -> str:
        return f"<State: events={self.event_count} tasks={self.task_count}>"

    def __reduce__(self) -> Any:
        arguments = (
            self.event_callback,
            self.workers,
            self.tasks,
            [tuple(moment) for moment in self._timeline],
            self.max_workers_in_memory,
            self.max_tasks_in_memory,
            self.on_node_join,
            self.on_node_leave,
        )
        return type(self), arguments
