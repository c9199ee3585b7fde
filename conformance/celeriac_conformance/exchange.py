"""What a case works with: a producer, a worker, the journal and the broker of one cell."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celeriac_conformance.broker_taps import BrokerTap, ResultTap, StoredResults
from celeriac_conformance.driver_client import DriverClient
from celeriac_conformance.forms import Form
from celeriac_conformance.journal import Entry, Journal
from celeriac_conformance.matrix import Cell, Implementation
from celeriac_conformance.runtimes.base import (
    CannotSetUpError,
    Ground,
    Program,
    Runtime,
    WorkerOptions,
)
from celeriac_conformance.unsupported import Offered, UnsupportedError, check_tasks

__all__ = [
    "ACKS_QUEUE",
    "QUEUES",
    "Answer",
    "Call",
    "Deployment",
    "Exchange",
    "Gate",
    "Monitored",
    "Printed",
    "Producer",
    "Raised",
]

ACKS_QUEUE = "acks"
"""A queue for cases that count held messages: nothing else uses it."""
QUEUES = ("celery", "other", ACKS_QUEUE)
"""What the long-lived worker of a cell consumes."""

_CANARY_S = 10.0
"""How long a worker under suspicion has for one trivial call."""
_STARTS = 2
"""So often may a worker fail to start before its cell is given up."""


@dataclass(frozen=True)
class Call:
    """What sending returned."""

    id: str
    kind: str
    """``task`` or ``group``."""
    members: tuple[Call, ...] = ()
    known_parents: tuple[str, ...] | None = None
    """None where the producer's results do not know what they hang on."""

    @property
    def parents(self) -> tuple[str, ...]:
        """Ids of the results this one hangs on, nearest first.

        Raises:
            UnsupportedError: The producer's results do not know.
        """
        if self.known_parents is None:
            raise UnsupportedError("the producer's results have no parents")
        return self.known_parents

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Call:
        """Read a driver's description of a result object."""
        members = tuple(cls.from_dict(member) for member in value["members"])
        parents = value.get("parents")
        return cls(value["id"], value["kind"], members, None if parents is None else tuple(parents))


@dataclass(frozen=True)
class Raised:
    """An exception as the producer met it."""

    type: str
    module: str
    args: list[Any]
    text: str
    known_bases: list[str] | None
    """Classes it derives from; None where the producer makes no exception of what is stored."""

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Raised:
        """Read a driver's description of an exception."""
        return cls(value["type"], value["module"], value["args"], value["text"], value.get("bases"))

    @property
    def bases(self) -> list[str]:
        """Classes it derives from.

        Raises:
            UnsupportedError: The producer makes no exception of what is stored.
        """
        if self.known_bases is None:
            raise UnsupportedError("the producer hands out stored exceptions as data")
        return self.known_bases


@dataclass(frozen=True)
class Answer:
    """How a call ended, as the producer reads it."""

    id: str
    state: str | None
    """None for a group."""
    value: Any
    """What `get()` returned."""
    raised: Raised | None
    """What `get()` raised, or returned where the result is an exception."""
    document: Offered
    """Public attributes of the result object."""
    seen: list[dict[str, Any]] | None = None
    """Result documents that came by while waiting; None where the producer does not show them."""
    members: list[dict[str, Any]] = field(default_factory=list)
    """The same as `document`, for each member of a group."""

    @property
    def traceback(self) -> str | None:
        """Its traceback, as the result object has it."""
        found: str | None = self.document["traceback"]
        return found

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Result documents that came by while waiting.

        Raises:
            UnsupportedError: The producer does not show them.
        """
        if self.seen is None:
            raise UnsupportedError("the producer shows no documents that arrive while it waits")
        return self.seen

    @property
    def states(self) -> list[str]:
        """States that came by while waiting, in order."""
        return [message["status"] for message in self.messages]

    @property
    def children(self) -> list[Call]:
        """Results listed as children of the task."""
        return [Call.from_dict(child) for child in self.document["children"]]


@dataclass(frozen=True)
class Monitored:
    """What a monitor heard."""

    events: list[dict[str, Any]]
    tasks: dict[str, str]
    """Task id → state, as the implementation's own `State` sees it."""
    alive: list[str]
    """Nodes taken to be alive."""

    def of(self, task_id: str) -> list[dict[str, Any]]:
        """Return the events of one task, in the order of their arrival."""
        return [event for event in self.events if event.get("uuid") == task_id]

    def types_of(self, task_id: str) -> list[str]:
        """Return just their types."""
        return [event["type"] for event in self.of(task_id)]


@dataclass(frozen=True)
class Printed:
    """How a command-line program ended and what it printed."""

    status: int
    output: str
    errors: str


class Producer:
    """A producer: some implementation's app in a process of its own."""

    def __init__(self, client: DriverClient, *, worker: Implementation, patience_s: float) -> None:
        self.client = client
        self.worker = worker
        self._dumps: set[str] = set()
        self.patience_s = patience_s
        self.versions: dict[str, str] = client.request("start")["versions"]

    def send(
        self,
        task: str,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        *,
        by_name: bool = False,
        **options: object,
    ) -> Call:
        """Send one task. Options are those of `apply_async`; `by_name` uses `send_task`.

        Raises:
            UnsupportedError: The producer has no such option, or the worker no such task.
        """
        check_tasks(self.worker, task, options)
        sent = self.client.request(
            "send",
            task=task,
            args=tuple(args),
            kwargs=dict(kwargs or {}),
            by_name=by_name,
            options=options,
        )
        made = Call.from_dict(sent)
        if task == "request_dump":
            self._dumps.add(made.id)
        return made

    def run(self, form: Form, **options: object) -> Call:
        """Send a canvas.

        Raises:
            UnsupportedError: The producer has no such canvas, or the worker lacks one of its tasks.
        """
        check_tasks(self.worker, None, form, options)
        return Call.from_dict(self.client.request("send", form=form, options=options))

    def wait(
        self, call: Call | str, timeout_s: float | None = None, *, propagate: bool = False
    ) -> Answer:
        """Wait for a call to end.

        Args:
            call: What to wait for, or its id.
            timeout_s: How long; the cell's patience by default.
            propagate: Let `get()` raise, parents first, as applications do.

        Raises:
            AssertionError: It did not end in time.
        """
        patience = self.patience_s if timeout_s is None else timeout_s
        task_id = call if isinstance(call, str) else call.id
        found = self.client.request(
            "wait", id=task_id, timeout=patience, propagate=propagate, timeout_s=patience + 30
        )
        document = found.get("document") or {}
        if found["timed_out"]:
            raise AssertionError(
                f"{task_id} did not end within {patience} s; state {document.get('state')}, "
                f"documents seen {found.get('messages')}, members {found.get('documents')}"
            )
        raised = found["raised"] or _exception_in(found["value"])
        return Answer(
            id=task_id,
            state=document.get("state"),
            value=found["value"],
            raised=None if raised is None else Raised.from_dict(raised["value"]),
            document=Offered(document, "the producer's results have no"),
            seen=found.get("messages"),
            members=found.get("documents", []),
        )

    def result(self, call: Call | str) -> Any:
        """Wait for a call that must succeed, and return its value."""
        answer = self.wait(call)
        if answer.raised is not None:
            raise AssertionError(
                f"{answer.id} was to succeed, but: {answer.raised}\n{answer.document.get('traceback')}"
            )
        if answer.id in self._dumps:
            return Offered(answer.value, "the worker tells its tasks no")
        return answer.value

    def meta(self, call: Call | str) -> dict[str, Any]:
        """Read a result without waiting."""
        found: dict[str, Any] = self.client.request(
            "meta", id=call if isinstance(call, str) else call.id
        )
        return Offered(found, "the producer's results have no")

    def control(
        self, method: str, *, node: str | None = None, **arguments: object
    ) -> dict[str, Any]:
        """Send a control command to one node, or to all; return what each one answered within a second."""
        found: dict[str, Any] = self.client.request(
            "control",
            method=method,
            arguments=arguments,
            destination=None if node is None else [node],
            timeout=1.0 if node is None else self.patience_s,
        )
        return found

    def inspect(self, method: str, *args: object, node: str | None = None) -> dict[str, Any]:
        """Ask one node, or all, through the client's own method; return what each one answered."""
        found: dict[str, Any] = self.client.request(
            "inspect",
            method=method,
            args=list(args),
            destination=None if node is None else [node],
            timeout=1.0 if node is None else self.patience_s,
        )
        return found

    def program(self, *words: str, seconds: float | None = None) -> Printed:
        """Run the implementation's own command-line program against the cell's broker.

        Args:
            *words: What follows ``-A app``, e.g. ``inspect``, ``ping``.
            seconds: Stop it after so long; by default it must end by itself.
        """
        found = self.client.request(
            "program", words=list(words), seconds=seconds, timeout_s=90.0 + (seconds or 0)
        )
        return Printed(**found)

    def events(self) -> Monitored:
        """Return what the producer's event receiver heard since the first call of this method."""
        return Monitored(**self.client.request("events"))


def _exception_in(value: object) -> dict[str, Any] | None:
    if isinstance(value, dict) and value.get("__type") == "exception":
        return value
    return None


@dataclass(frozen=True)
class Gate:
    """A file that tasks wait for: a case lets them through when it has seen enough."""

    path: Path

    def open(self) -> None:
        """Let the waiting tasks through."""
        self.path.touch()


class Deployment:
    """The long-lived programs of one cell: a worker, and a producer per set of settings."""

    def __init__(
        self,
        cell: Cell,
        runtime: Runtime,
        *,
        options: WorkerOptions | None = None,
        patience_s: float = 20.0,
        name: str | None = None,
    ) -> None:
        self.cell = cell
        self.runtime = runtime
        self.patience_s = patience_s
        self.options = options or WorkerOptions(queues=QUEUES)
        self.ground: Ground = runtime.open_ground(cell.carrier, name or cell.id)
        self.journal = Journal(self.ground.journal, patience_s)
        self._producers: dict[str, Producer] = {}
        self._worker: Program | None = None
        self._failed_starts = 0
        self.is_suspect = False
        """Set after a failure: the worker has to prove that it still serves, before the next case uses it."""

    @property
    def worker(self) -> Program:
        """The cell's worker, started on first use and again after it died or hung."""
        if self._worker is not None and not self._is_serving(self._worker):
            self._worker.stop()
            self._worker = None
        if self._worker is None:
            self._worker = self._start_worker()
        self.is_suspect = False
        return self._worker

    def _is_serving(self, worker: Program) -> bool:
        if worker.status is not None:
            return False
        if not self.is_suspect:
            return True
        try:
            self.await_ready(worker, self.options.queues[0], _CANARY_S)
        except CannotSetUpError:
            return False
        return True

    def _start_worker(self) -> Program:
        if self._failed_starts >= _STARTS:
            raise CannotSetUpError(
                f"the worker of {self.cell.id} could not be started {_STARTS} times"
            )
        worker = self.runtime.start_worker(self.cell.worker, self.ground, self.options)
        try:
            self.await_ready(worker, self.options.queues[0])
        except CannotSetUpError:
            self._failed_starts += 1
            worker.stop()
            raise
        return worker

    @property
    def running_worker(self) -> Program | None:
        """The cell's worker as it is, dead or alive, without starting one."""
        return self._worker

    @property
    def versions(self) -> dict[str, str]:
        """What the producer said of itself; nothing before it was started."""
        return next((one.versions for one in self._producers.values()), {})

    def producer(self, **settings: object) -> Producer:
        """Return the cell's producer, or one with other settings."""
        key = json.dumps(settings, sort_keys=True)
        if key not in self._producers:
            process = self.runtime.start_driver(self.cell.producer, self.ground, settings)
            self._producers[key] = Producer(
                DriverClient(process), worker=self.cell.worker, patience_s=self.patience_s
            )
        return self._producers[key]

    def await_ready(
        self,
        worker: Program,
        queue: str,
        timeout_s: float = 60.0,
        *,
        caller: Producer | None = None,
    ) -> None:
        """Wait until a worker serves its queue.

        Args:
            worker: The worker.
            queue: What it consumes.
            timeout_s: How long to wait.
            caller: Who calls it; by default the cell's producer.

        Raises:
            CannotSetUpError: It ended, or served nothing in time.
        """
        call = (caller or self.producer()).send("ignored", ["ready?"], queue=queue)

        def check() -> None:
            if worker.status is not None:
                raise CannotSetUpError(
                    f"{worker.name} ended with status {worker.status}\n{worker.tail()}"
                )

        try:
            self.journal.wait(id=call.id, timeout_s=timeout_s, check=check)
        except AssertionError as error:
            raise CannotSetUpError(f"{worker.name} served nothing\n{worker.tail()}") from error

    def stop(self) -> None:
        """Stop worker and producers."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        for producer in self._producers.values():
            producer.client.process.stop()
        self._producers.clear()


class Exchange:
    """One case in one cell."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.worker = deployment.worker
        self.cell: Cell = deployment.cell
        self.producer: Producer = deployment.producer()
        self.journal: Journal = deployment.journal
        self.broker: BrokerTap = deployment.ground.broker
        self.results: StoredResults | None = deployment.ground.results
        self._gates: list[Gate] = []
        self.processes: list[Program] = [self.worker, self.producer.client.process]

    def producer_with(self, **settings: object) -> Producer:
        """Return a producer whose app has other settings.

        Raises:
            UnsupportedError: It takes none (those of workers tell a producer nothing, and every one takes them).
        """
        wanted = [name for name in settings if not name.startswith("worker_")]
        if wanted and not self.cell.producer.takes_settings:
            raise UnsupportedError(f"{self.cell.producer.name} takes no settings")
        return self._deployment.producer(**settings)

    def stored_in_redis(self) -> ResultTap:
        """Return raw access to results stored in Redis, with what only Redis tells.

        Raises:
            UnsupportedError: They are stored elsewhere, or nowhere.
        """
        if not isinstance(self.results, ResultTap):
            raise UnsupportedError(f"{self.cell.carrier.name} stores no results in Redis")
        return self.results

    def stored(self) -> StoredResults:
        """Return raw access to stored results.

        Raises:
            UnsupportedError: This carrier stores none.
        """
        if self.results is None:
            raise UnsupportedError(f"{self.cell.carrier.name} stores no results")
        return self.results

    def gate(self) -> Gate:
        """Make a gate for tasks to wait at; it opens by itself when the case ends."""
        gate = Gate(self.marker())
        self._gates.append(gate)
        return gate

    def marker(self) -> Path:
        """Return the path of a file that does not exist yet."""
        return self._deployment.ground.folder / uuid.uuid4().hex

    def wait_run(self, call: Call | str, count: int = 1) -> list[Entry]:
        """Wait until a task has started to run (`count` times)."""
        task_id = call if isinstance(call, str) else call.id
        return self.journal.wait(count, event="run", id=task_id, timeout_s=self.producer.patience_s)

    def eventually(self, claim: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
        """Wait until a claim holds.

        Raises:
            AssertionError: It did not in time.
        """
        deadline = time.monotonic() + timeout_s
        while not claim():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout_s} s: {what}")
            time.sleep(0.05)

    @contextmanager
    def extra_worker(
        self,
        options: WorkerOptions,
        implementation: Implementation | None = None,
        *,
        caller: Producer | None = None,
    ) -> Iterator[Program]:
        """Run one more worker for one case, e.g. with other settings.

        Args:
            options: How to start it.
            implementation: Whose; by default that of the cell's worker. `cell.producer` makes a mixed cluster.
            caller: Who finds out that it serves, where it would refuse the messages of the cell's producer.

        Raises:
            UnsupportedError: It does not take these settings or arguments, or it is no worker.
        """
        chosen = implementation or self.cell.worker
        if not chosen.takes_settings and (options.settings or options.extra):
            raise UnsupportedError(f"{chosen.name} takes no settings")
        if "worker" not in chosen.roles:
            raise UnsupportedError(f"{chosen.name} is no worker")
        deployment = self._deployment
        worker = deployment.runtime.start_worker(chosen, deployment.ground, options)
        self.processes.append(worker)
        try:
            deployment.await_ready(worker, options.queues[0], caller=caller)
            yield worker
        finally:
            worker.stop()

    def open_gates(self) -> None:
        """Let everything through that waits at a gate of this case."""
        for gate in self._gates:
            gate.open()

    def close(self) -> None:
        """End the case: nothing may be left waiting at a gate."""
        self.open_gates()
