"""Compare the real Celery's worker with ours: the same messages, the same Redis, alternating runs.

    python scripts/bench.py --celery-python .venvs/celery-5.7.0/bin/python [--tasks 20000] [--runs 5] [--pool prefork]

Each run fills the queue with calls of a task that does nothing, then starts a worker and waits until the queue is empty
and nothing is left unacknowledged. Reported per worker, as median and range over the runs:

* tasks/s, from the first message taken to the last acknowledged;
* CPU per task: user and system time of the worker and all its children, start-up included;
* time from start to the first message taken.

On a machine that does other work, trust the ratios and the CPU time, not the rates.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import redis

from celeriac_conformance.servers import RedisServer

HERE = Path(__file__).resolve().parent
PATIENCE_S = 600.0
POLL_S = 0.01


class Measured(NamedTuple):
    """One run of one worker."""

    tasks_per_s: float
    cpu_ms_per_task: float
    first_task_s: float


def left(client: redis.Redis) -> int:
    """Return how many messages are queued or held by a worker."""
    return int(client.llen("celery")) + int(client.hlen("unacked"))


def wait_until(condition: object, process: subprocess.Popen[bytes]) -> float:
    """Poll `condition` until it holds; return the monotonic time."""
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if process.poll() is not None:
            raise SystemExit(f"the worker ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise SystemExit("the worker did not finish in time")
        time.sleep(POLL_S)
    return time.monotonic()


def measure(
    program: Path, pool: list[str], tasks: int, client: redis.Redis, environment: Mapping[str, str]
) -> Measured:
    """Start one worker on a full queue and stop it when the queue is empty."""
    before = os.times()
    started = time.monotonic()
    process = subprocess.Popen(
        [program, "-A", "bench_tasks", "worker", "-l", "WARNING", *pool],
        cwd=HERE,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        first = wait_until(lambda: int(client.llen("celery")) < tasks, process)
        last = wait_until(lambda: left(client) == 0, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    after = os.times()
    cpu_s = (after.children_user + after.children_system) - (
        before.children_user + before.children_system
    )
    return Measured(tasks / (last - first), cpu_s * 1000 / tasks, first - started)


def line(name: str, runs: list[Measured]) -> str:
    """Return a row of the table: median (lowest to highest) of each figure."""
    cells = [f"{name:10}"]
    for values, digits in zip(zip(*runs, strict=True), (0, 3, 2), strict=True):
        low, middle, high = min(values), statistics.median(values), max(values)
        cells.append(f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})".rjust(26))
    return " ".join(cells)


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--celery-python", type=Path, required=True)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pool", choices=("prefork", "threads", "solo"), default="prefork")
    parser.add_argument("--concurrency", type=int, default=2)
    options = parser.parse_args()
    pool = ["-P", options.pool, "-c", str(options.concurrency)]
    programs = {
        "celery": options.celery_python.absolute().parent / "celery",
        "celeriac": Path(sys.executable).parent / "celeriac",
    }
    measured: dict[str, list[Measured]] = {name: [] for name in programs}
    with RedisServer() as server, redis.Redis(port=server.port) as client:
        environment = os.environ | {"BENCH_BROKER_URL": server.url()}
        for number in range(options.runs):
            for name, program in programs.items():
                client.flushall()
                subprocess.run(
                    [options.celery_python.absolute(), HERE / "bench_tasks.py", str(options.tasks)],
                    env=environment,
                    check=True,
                )
                found = measure(program, pool, options.tasks, client, environment)
                measured[name].append(found)
                print(f"run {number + 1} {name}: {found.tasks_per_s:.0f} tasks/s", file=sys.stderr)
    print(f"{options.tasks} tasks that do nothing, results ignored, redis, {' '.join(pool)}")
    print(f"{'':10} {'tasks/s':>26} {'CPU ms per task':>26} {'seconds to first task':>26}")
    for name, runs in measured.items():
        print(line(name, runs))


if __name__ == "__main__":
    main()
