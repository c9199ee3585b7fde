"""Throughput and CPU per task of our worker against real Celery's, in one run.

Real Celery fills a queue with no-op calls first; then a worker starts, drains it and is measured; the implementations
take turns, round after round. A first and a last message write the journal: the rate is counted between them, so
start-up is outside. CPU is that of the worker's whole process tree from its start to the last message, less what the
same worker used in the same round to start and drain the two marker messages alone.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from celeriac_conformance.accounting import usage
from celeriac_conformance.driver_client import DriverClient
from celeriac_conformance.environments import Environments, cache_folder
from celeriac_conformance.journal import Journal
from celeriac_conformance.matrix import Implementation, Matrix
from celeriac_conformance.runtimes.base import Ground, Runtime, WorkerOptions
from celeriac_conformance.runtimes.process import ProcessRuntime

__all__ = ["Measure", "Round", "add_arguments", "compare", "measure", "report", "run"]

_DRAIN_S = 600.0
_CARRIERS = {"redis": "redis", "amqp": "rabbitmq"}


@dataclass(frozen=True)
class Measure:
    """One worker draining one queue."""

    seconds: float
    """From the first message to the last."""
    cpu_s: float
    """CPU of the worker's process tree, start-up included."""
    memory_mb: float


@dataclass(frozen=True)
class Round:
    """One implementation in one round."""

    implementation: str
    tasks: int
    seconds: float
    cpu_s: float
    """Start-up taken off."""
    startup_cpu_s: float
    memory_mb: float

    @property
    def rate(self) -> float:
        """Tasks per second."""
        return self.tasks / self.seconds

    @property
    def cpu_ms_per_task(self) -> float:
        """Milliseconds of CPU per task."""
        return self.cpu_s * 1000 / self.tasks


def measure(
    runtime: Runtime,
    ground: Ground,
    producer: DriverClient,
    implementation: Implementation,
    options: WorkerOptions,
    count: int,
) -> Measure:
    """Fill a new queue with `count` no-op calls between two markers, and drain it with a new worker."""
    queue, journal = f"bench-{uuid.uuid4().hex[:8]}", Journal(ground.journal)
    to_queue = {"queue": queue, "ignore_result": True}
    ids = [producer.request("send", task="collect", args=["first"], options=to_queue)["id"]]
    if count:
        producer.request(
            "send_many",
            task="noop",
            args=[],
            count=count,
            options={"queue": queue},
            timeout_s=_DRAIN_S,
        )
    ids.append(producer.request("send", task="collect", args=["last"], options=to_queue)["id"])
    worker = runtime.start_worker(
        implementation,
        ground,
        WorkerOptions(
            queues=(queue,),
            pool=options.pool,
            concurrency=options.concurrency,
            name="bench",
            loglevel=options.loglevel,
        ),
    )
    try:
        first, last = (
            journal.wait(id=task_id, timeout_s=_DRAIN_S, check=worker.check)[0].time
            for task_id in ids
        )
        used = usage(worker.pid)
    finally:
        worker.stop()
    return Measure(last - first, used.cpu_s, used.memory_mb)


def compare(
    runtime: Runtime,
    ground: Ground,
    producer: DriverClient,
    implementations: Sequence[Implementation],
    options: WorkerOptions,
    *,
    count: int,
    rounds: int,
    progress: Callable[[str], None],
) -> list[Round]:
    """Measure implementations in turn, `rounds` times; every other round in reverse order."""
    done = []
    for number in range(rounds):
        for implementation in implementations if number % 2 == 0 else reversed(implementations):
            progress(f"round {number + 1} of {rounds}: {implementation.name}")
            idle = measure(runtime, ground, producer, implementation, options, 0)
            full = measure(runtime, ground, producer, implementation, options, count)
            done.append(
                Round(
                    implementation=implementation.name,
                    tasks=count,
                    seconds=full.seconds,
                    cpu_s=full.cpu_s - idle.cpu_s,
                    startup_cpu_s=idle.cpu_s,
                    memory_mb=full.memory_mb,
                )
            )
    return done


def report(rounds: Sequence[Round], *, reference: str) -> list[str]:
    """Return the lines of a table: median and range per implementation, and ratios to the reference."""
    names = list(dict.fromkeys(entry.implementation for entry in rounds))
    by_name = {name: [entry for entry in rounds if entry.implementation == name] for name in names}
    width = max(len(name) for name in names)
    lines = [
        f"{'':{width}}  {'tasks/s':>22}  {'CPU ms/task':>22}  {'start-up CPU s':>14}  {'PSS MB':>7}"
    ]
    for name, entries in by_name.items():
        rates = [entry.rate for entry in entries]
        costs = [entry.cpu_ms_per_task for entry in entries]
        lines.append(
            f"{name:{width}}  {_spread(rates, 0):>22}  {_spread(costs, 3):>22}  "
            f"{_median(entry.startup_cpu_s for entry in entries):14.2f}  "
            f"{_median(entry.memory_mb for entry in entries):7.1f}"
        )
    base = by_name[reference]
    for name, entries in by_name.items():
        if name != reference:
            rate = _median(entry.rate for entry in entries) / _median(entry.rate for entry in base)
            cost = _median(entry.cpu_ms_per_task for entry in base) / _median(
                entry.cpu_ms_per_task for entry in entries
            )
            lines.append(
                f"{name} against {reference}: {rate:.2f} x the rate, {cost:.2f} x less CPU per task"
            )
    return lines


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _spread(values: Sequence[float], digits: int) -> str:
    return f"{_median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``bench``."""
    parser.add_argument(
        "--broker",
        choices=sorted(_CARRIERS),
        nargs="+",
        default=list(_CARRIERS),
        help="default: both",
    )
    parser.add_argument(
        "--pool",
        choices=("prefork", "solo", "threads"),
        nargs="+",
        default=["prefork"],
        help="default: prefork",
    )
    parser.add_argument("-c", "--concurrency", type=int, default=2)
    parser.add_argument("-n", "--tasks", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loglevel", default="WARNING", help="of both workers (default: WARNING)")
    parser.add_argument(
        "--reference", default="celery-5.7.0", help="implementation to compare with"
    )
    parser.add_argument("--worker", default="celeriac", help="implementation to measure against it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round there as well")


def run(arguments: argparse.Namespace, matrix: Matrix, show: Callable[[str], None]) -> int:
    """Run the benchmark; returns the exit status."""
    reference = matrix.implementations[arguments.reference]
    candidate = matrix.implementations[arguments.worker]
    runtime = ProcessRuntime(Environments(cache_folder(), show), show)
    tables: list[str] = []
    documents: list[dict[str, Any]] = []
    try:
        for implementation in (reference, candidate):
            runtime.prepare(implementation)
        for broker, pool in product(arguments.broker, arguments.pool):
            show(f"{broker}, -P {pool}")
            ground = runtime.open_ground(
                matrix.carriers[_CARRIERS[broker]], f"bench-{broker}-{pool}"
            )
            process = runtime.start_driver(reference, ground, {})
            producer = DriverClient(process)
            versions: Mapping[str, str] = producer.request("start")["versions"]
            rounds = compare(
                runtime,
                ground,
                producer,
                (reference, candidate),
                WorkerOptions(
                    pool=pool, concurrency=arguments.concurrency, loglevel=arguments.loglevel
                ),
                count=arguments.tasks,
                rounds=arguments.rounds,
                progress=show,
            )
            process.stop()
            title = f"{broker}, -P {pool} -c {arguments.concurrency}, {arguments.tasks} no-op tasks"
            tables += ["", title, *report(rounds, reference=reference.name)]
            documents.append(
                {
                    "title": title,
                    "producer": dict(versions),
                    "python": platform.python_version(),
                    "machine": f"{platform.system()} {platform.machine()}",
                    "rounds": [
                        {
                            **asdict(entry),
                            "rate": entry.rate,
                            "cpu_ms_per_task": entry.cpu_ms_per_task,
                        }
                        for entry in rounds
                    ],
                }
            )
    finally:
        runtime.close()
    for line in tables:
        show(line)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(documents, indent=2) + "\n")
    return 0
