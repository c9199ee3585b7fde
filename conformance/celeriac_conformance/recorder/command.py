"""``python -m celeriac_conformance record``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

from celeriac_conformance.environments import Environments, cache_folder
from celeriac_conformance.matrix import Implementation, Matrix
from celeriac_conformance.recorder import compare, files
from celeriac_conformance.recorder.capture import capture, scenarios_for
from celeriac_conformance.recorder.scenarios import Scenario
from celeriac_conformance.runtimes.process import ProcessRuntime

__all__ = ["add_arguments", "run"]

_BROKERS = ("redis", "rabbitmq")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = (
        "Record what pinned versions of Celery put on the wire, as files below fixtures/; or check that a version "
        "still does what its files say."
    )
    parser.add_argument(
        "--celery",
        action="append",
        metavar="X.Y.Z",
        help="a version of the matrix; may be given several times (default: every version)",
    )
    parser.add_argument(
        "--broker",
        action="append",
        choices=_BROKERS,
        help="may be given several times (default: both)",
    )
    parser.add_argument(
        "--cases", default="*", metavar="PATTERN", help="only these, e.g. 'canvas/*' (default: all)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=files.FIXTURES,
        metavar="DIR",
        help="where to (default: fixtures/)",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing: record again and compare with the files, up to ids, times, processes and hosts",
    )


def run(chosen: argparse.Namespace, matrix: Matrix, show: Callable[[str], None]) -> int:
    """Record or check, and return the exit status: 1 when a check found a difference.

    Raises:
        CannotSetUpError: A version cannot be installed or a server not started.
    """
    found = 0
    for implementation in _implementations(matrix, chosen.celery):
        for broker in dict.fromkeys(chosen.broker or _BROKERS):
            scenarios = [
                scenario
                for scenario in scenarios_for(implementation, broker)
                if fnmatchcase(scenario.name, chosen.cases)
            ]
            found += _one(chosen, matrix, implementation, broker, scenarios, show)
    if chosen.check:
        show("no difference" if not found else f"{found} differences")
    return 1 if found else 0


def _implementations(matrix: Matrix, versions: list[str] | None) -> list[Implementation]:
    known = {
        found.version: found
        for found in matrix.implementations.values()
        if found.library == "celery"
    }
    for version in versions or ():
        if version not in known:
            raise SystemExit(f"--celery {version}: the matrix has {', '.join(map(str, known))}")
    return [known[version] for version in versions] if versions else list(known.values())


def _one(
    chosen: argparse.Namespace,
    matrix: Matrix,
    implementation: Implementation,
    broker: str,
    scenarios: list[Scenario],
    show: Callable[[str], None],
) -> int:
    runtime = ProcessRuntime(Environments(cache_folder(), show), show)
    try:
        carrier = matrix.carriers[broker]
        records = capture(runtime, implementation, carrier, scenarios, show)
    finally:
        runtime.close()
    folder = chosen.out / implementation.name
    if not chosen.check:
        if chosen.cases == "*":
            written = files.write_all(folder, broker, records)
        else:
            written = [files.write(folder, record) for record in records]
        show(f"{len(written)} records in {folder / broker}")
        return 0
    before = [
        record
        for record in files.read(folder)
        if record["broker"] == broker and fnmatchcase(record["case"], chosen.cases)
    ]
    lines = list(compare.all_differences(before, records))
    for line in lines:
        show(line)
    return len(lines)
