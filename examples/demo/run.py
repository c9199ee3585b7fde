"""Show the real Celery producing for our worker, with nothing prepared beforehand.

    python examples/demo/run.py --producer-python .venvs/celery-5.7.0/bin/python [--broker filesystem|redis|amqp]

Starts the worker (and a broker of its own, if one is asked for), runs `producer.py` in another process with another
environment, prints a table, stops what it started. The exit status is 0 only when every row is right.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from celeriac_conformance.servers import MissingServerError, RabbitServer, RedisServer

HERE = Path(__file__).resolve().parent
READY_S = 30.0
PRODUCER_S = 100.0
STOP_S = 20.0


@dataclass(frozen=True)
class Expected:
    """What a row must show: final state, value, how many times tasks were started, seconds before the first start."""

    state: str
    result: str
    runs: int
    delay_s: float = 0.0


EXPECTED = {
    "plain call": Expected("SUCCESS", "5", 1),
    "keyword arguments": Expected("SUCCESS", "'Hello, Ada!'", 1),
    "failing task": Expected("FAILURE", "ZeroDivisionError('division by zero')", 1),
    "retried task": Expected("SUCCESS", "'tea ordered at attempt 3'", 3),
    "countdown": Expected("SUCCESS", "2", 1, delay_s=1.5),
    "chain": Expected("SUCCESS", "16", 3),
    "group": Expected("SUCCESS", "[0, 2, 4, 6]", 4),
    "chord": Expected("SUCCESS", "12", 5),
}


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


@contextlib.contextmanager
def broker(kind: str, folder: Path) -> Iterator[dict[str, str]]:
    """Yield the environment that points both sides at a broker and a result store, started here if it is a server."""
    environment = {"SHOP_FOLDER": str(folder), "SHOP_JOURNAL": str(folder / "journal.jsonl")}
    if kind == "filesystem":
        for name in ("queue", "control", "results"):
            (folder / name).mkdir()
        yield environment | {
            "SHOP_BROKER_URL": "filesystem://",
            "SHOP_RESULT_BACKEND": f"file://{folder}/results",
        }
        return
    try:
        with RedisServer() if kind == "redis" else RabbitServer() as server:
            results = server.url(1) if isinstance(server, RedisServer) else "rpc://"
            yield environment | {"SHOP_BROKER_URL": server.url(), "SHOP_RESULT_BACKEND": results}
    except MissingServerError as exc:
        raise DemoError(str(exc)) from exc


def require_no_celery(python: Path) -> str:
    """Return the version of our package in the worker's environment, which must not hold Celery itself."""
    probe = (
        "import importlib.util as u, importlib.metadata as m, sys;"
        "found = [n for n in ('celery', 'billiard') if u.find_spec(n)];"
        "sys.exit(f'the worker environment has {found} installed') if found else print(m.version('celeriac'))"
    )
    done = subprocess.run([python, "-I", "-c", probe], capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoError(done.stderr.strip())
    return done.stdout.strip()


@contextlib.contextmanager
def worker(
    program: Path, environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the worker until the block ends; the log file takes everything it says."""
    command = [program, "-A", "shop", "worker", "-l", "INFO", "-c", "2", "-n", "demo@%h"]
    print("$", " ".join(str(part) for part in command), flush=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=HERE,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        started = time.monotonic()
        while b" ready." not in log.read_bytes():
            if process.poll() is not None:
                raise DemoError(f"the worker ended at once with exit status {process.returncode}")
            if time.monotonic() - started > READY_S:
                raise DemoError(f"the worker was not ready within {READY_S:.0f} s")
            time.sleep(0.05)
        print(
            f"worker ready after {time.monotonic() - started:.1f} s, pid {process.pid}\n",
            flush=True,
        )
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def rows(python: Path, environment: dict[str, str]) -> Iterator[dict]:
    """Run the producer and yield what it prints, line by line; it is ended when it takes too long."""
    with subprocess.Popen(
        [python, HERE / "producer.py"],
        cwd=HERE,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        limit = threading.Timer(PRODUCER_S, process.kill)
        limit.start()
        try:
            yield from map(json.loads, process.stdout)
            if process.wait() != 0:
                raise DemoError(f"the producer ended with exit status {process.returncode}")
        finally:
            limit.cancel()
            if process.poll() is None:
                process.kill()


def judge(row: dict, expected: Expected, runs: list[dict], worker_pid: int) -> list[str]:
    """Return what is wrong with a row; nothing when it is right."""
    wrong = []
    if row["state"] != expected.state:
        wrong.append(f"state should be {expected.state}")
    if row["result"] != expected.result:
        wrong.append(f"result should be {expected.result}")
    if len(runs) != expected.runs:
        wrong.append(f"{len(runs)} runs, not {expected.runs}")
    if strangers := {run["pid"] for run in runs if worker_pid not in (run["pid"], run["parent"])}:
        wrong.append(f"run by processes that are not the worker's: {sorted(strangers)}")
    first = min((run["at"] for run in runs), default=row["sent"])
    if expected.delay_s and first < row["sent"] + expected.delay_s:
        wrong.append(f"started {first - row['sent']:.2f} s after it was sent")
    return wrong


def table(lines: Iterator[dict], due: dict[str, Expected], journal: Path, worker_pid: int) -> int:
    """Print a row for every line of the producer; return how many are wrong or never came."""
    print(f"{'call':48}{'state':9}{'result':39}ran by")
    failures = 0
    for row in lines:
        expected = due.pop(row["name"])
        entries = [json.loads(line) for line in journal.read_text().splitlines()]
        runs = [entry for entry in entries if entry["id"] in row["ids"]]
        nodes = ", ".join(sorted({run["node"] for run in runs})) or "nobody"
        pids = ", ".join(str(pid) for pid in sorted({run["pid"] for run in runs}))
        print(f"{row['call']:48}{row['state']:9}{row['result']:39}{nodes} pid {pids}", flush=True)
        wrong = judge(row, expected, runs, worker_pid)
        for complaint in wrong:
            print(f"    WRONG: {complaint}")
        failures += bool(wrong)
    for name in due:
        print(f"    WRONG: {name}: no row")
    return failures + len(due)


def show(options: argparse.Namespace, folder: Path) -> int:
    """Run the whole demo in `folder`; return the number of things that are wrong."""
    log = folder / "worker.log"
    due = dict(EXPECTED)
    if options.broker == "amqp":
        # Results travel as rpc:// there, each to one reader: Celery itself refuses chords.
        del due["chord"]
    try:
        with broker(options.broker, folder) as environment:
            with worker(options.worker, environment, log) as process:
                lines = rows(options.producer_python, environment)
                hello = next(lines, None)
                if hello is None:
                    raise DemoError("the producer said nothing")
                print(f"producer: celery {hello['celery']}, Python {hello['python']}\n")
                failures = table(lines, due, folder / "journal.jsonl", process.pid)
            if process.returncode != 0:
                raise DemoError(f"the worker left with status {process.returncode} after SIGTERM")
    except DemoError as exc:
        print(f"WRONG: {exc}")
        failures = 1
    if failures and log.exists():
        print(f"\nThe end of the worker's log:\n{log.read_text(errors='replace')[-4000:]}")
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--broker", choices=("filesystem", "redis", "amqp"), default="filesystem")
    parser.add_argument(
        "--producer-python", type=Path, required=True, help="Python that has the real Celery"
    )
    parser.add_argument(
        "--worker", type=Path, help="worker program; default: the celeriac beside this Python"
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the folder with queue, results and logs behind"
    )
    options = parser.parse_args()
    options.producer_python = Path(os.path.abspath(options.producer_python))
    started = time.monotonic()
    if options.worker is None:
        version = require_no_celery(Path(sys.executable))
        options.worker = Path(sys.executable).parent / "celeriac"
        print(f"worker:   celeriac {version}; its environment holds no celery package")
    folder = Path(tempfile.mkdtemp(prefix="celeriac-demo-"))
    try:
        failures = show(options, folder)
    finally:
        if options.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    verdict = "every row is right" if not failures else f"{failures} wrong"
    print(f"\nbroker {options.broker}: {verdict}, {time.monotonic() - started:.1f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DemoError as error:
        sys.exit(f"demo: {error}")
