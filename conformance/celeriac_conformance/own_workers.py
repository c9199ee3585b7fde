"""Workers with a name to call them by: the cell's, or one that serves a case alone, set up as the case wants it.

Starting one takes seconds, so a case that leaves nothing behind uses the cell's.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from celeriac_conformance.exchange import ACKS_QUEUE, Call, Exchange, Producer
from celeriac_conformance.matrix import Implementation
from celeriac_conformance.runtimes.base import Program, WorkerOptions

__all__ = ["OwnWorker", "own_worker", "serving", "the_worker"]


@dataclass(frozen=True)
class OwnWorker:
    """One worker beside the cell's."""

    process: Program
    node: str
    """Its node name."""
    queue: str
    """What it consumes."""
    producer: Producer

    def send(self, task: str, *args: object, **options: Any) -> Call:
        """Send a task to its queue. Options are those of `apply_async`."""
        return self.producer.send(task, list(args), queue=self.queue, **options)

    def control(self, method: str, **arguments: object) -> object:
        """Send it a command and return its answer."""
        return self.producer.control(method, node=self.node, **arguments)[self.node]

    def inspect(self, method: str, *args: object) -> object:
        """Ask it something through the client's own method."""
        return self.producer.inspect(method, *args, node=self.node)[self.node]


def the_worker(exchange: Exchange) -> OwnWorker:
    """Return the cell's worker with a queue that cases count in; what a case changes there it has to undo."""
    node = _node(exchange, "conformance")
    return OwnWorker(exchange.worker, node, ACKS_QUEUE, exchange.producer)


def _node(exchange: Exchange, name: str) -> str:
    found: list[str] = []

    def answers() -> bool:
        found[:] = [each for each in exchange.producer.inspect("ping") if each.startswith(name)]
        return bool(found)

    exchange.eventually(answers, f"{name} answers a ping", timeout_s=30)
    return found[0]


@contextmanager
def own_worker(
    exchange: Exchange,
    *,
    implementation: Implementation | None = None,
    queue: str | None = None,
    pool: str = "prefork",
    concurrency: int = 2,
    settings: Mapping[str, object] | None = None,
    extra: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    mingles: bool = False,
) -> Iterator[OwnWorker]:
    """Run a worker for one case, and find out its node name.

    Args:
        exchange: The case's.
        implementation: Whose; by default that of the cell's worker.
        queue: What it consumes; by default a queue nobody else uses.
        pool: Where tasks run.
        concurrency: How many at once.
        settings: Laid over those of the suite.
        extra: More command-line arguments.
        environment: More variables of its environment.
        mingles: Let it ask its neighbours at its start, which takes Celery a second.
    """
    name = f"own{uuid.uuid4().hex[:8]}"
    options = WorkerOptions(
        queues=(queue or name,),
        pool=pool,
        concurrency=concurrency,
        name=name,
        settings=settings or {},
        extra=[*extra, *([] if mingles else ["--without-mingle"])],
        environment=environment or {},
    )
    with exchange.extra_worker(options, implementation) as process:
        try:
            yield OwnWorker(process, _node(exchange, name), options.queues[0], exchange.producer)
        finally:
            # A worker that may finish what it has ends at once.
            exchange.open_gates()


@contextmanager
def serving(
    exchange: Exchange,
    *,
    queues: Sequence[str] = (),
    concurrency: int = 2,
    settings: Mapping[str, object] | None = None,
    extra: Sequence[str] = (),
    caller: Producer | None = None,
) -> Iterator[str]:
    """Run a worker that nobody has to call by name, and return its own queue: quicker than `own_worker`.

    Args:
        exchange: The case's.
        queues: What it consumes beside a queue nobody else uses.
        concurrency: How many tasks at once.
        settings: Laid over those of the suite.
        extra: More command-line arguments.
        caller: Who finds out that it serves; by default the cell's producer.
    """
    queue = f"own{uuid.uuid4().hex[:8]}"
    options = WorkerOptions(
        queues=(queue, *queues),
        concurrency=concurrency,
        name=queue,
        settings=settings or {},
        extra=["--without-mingle", "--without-gossip", *extra],
    )
    with exchange.extra_worker(options, caller=caller):
        try:
            yield queue
        finally:
            # A worker that may finish what it has ends at once.
            exchange.open_gates()
