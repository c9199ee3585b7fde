"""Workers that serve one case alone: a queue of their own, a name to call them by, settings as the case wants them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from celeriac_conformance.exchange import Call, Exchange, Producer
from celeriac_conformance.matrix import Implementation
from celeriac_conformance.runtimes.base import Program, WorkerOptions

__all__ = ["OwnWorker", "own_worker"]


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
    """
    name = f"own{uuid.uuid4().hex[:8]}"
    options = WorkerOptions(
        queues=(queue or name,),
        pool=pool,
        concurrency=concurrency,
        name=name,
        settings=settings or {},
        extra=extra,
        environment=environment or {},
    )
    with exchange.extra_worker(options, implementation) as process:
        found: list[str] = []

        def answers() -> bool:
            found[:] = [each for each in exchange.producer.inspect("ping") if each.startswith(name)]
            return bool(found)

        exchange.eventually(answers, f"{process.name} answers a ping", timeout_s=30)
        yield OwnWorker(process, found[0], options.queues[0], exchange.producer)
