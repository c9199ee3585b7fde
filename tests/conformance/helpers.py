"""Runs the suite inside a test: a matrix, some cases, and the outcomes it reports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

__all__ = ["CHECKOUT", "SuiteRun", "matrix_text", "run_suite"]

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class SuiteRun:
    """What one run of the suite said."""

    status: int
    output: str
    outcomes: Mapping[tuple[str, str], str]
    """Outcome by (cell id, case id)."""

    def of(self, cell: str) -> dict[str, str]:
        """Return the outcomes of one cell by case."""
        return {case: outcome for (found, case), outcome in self.outcomes.items() if found == cell}


def matrix_text(workers: Iterable[str], *, controls: Iterable[str] = ()) -> str:
    """Write a matrix of toy workers; the producer is our own client, which needs no environment."""
    toys = sorted({*workers, *controls})
    blocks = [
        '[[implementations]]\nname = "celeriac"\nlibrary = "celeriac"\n'
        'driver = "celeriac_conformance.drivers.celery_driver"',
        *(
            f'[[implementations]]\nname = "{toy}"\nlibrary = "celeriac"\n'
            'driver = "celeriac_conformance.drivers.celery_driver"\n'
            f'worker = ["celeriac_conformance.faults", "--fault", "{toy}"]'
            for toy in toys
        ),
        '[[carriers]]\nname = "redis"\nbroker = "redis"\nbackend = "redis"\n'
        'features = ["stored-results", "redis-results"]',
        *_cells("tested", list(workers)),
        *_cells("control", list(controls)),
    ]
    return "\n\n".join(blocks)


def _cells(role: str, workers: list[str]) -> list[str]:
    if not workers:
        return []
    names = ", ".join(f'"{worker}"' for worker in workers)
    return [
        f'[[cells]]\nrole = "{role}"\nproducers = ["celeriac"]\nworkers = [{names}]\ncarriers = ["redis"]'
    ]


def run_suite(
    folder: Path, matrix: str, cases: Iterable[str] = (), *options: str, known: str = ""
) -> SuiteRun:
    """Run some cases (names of test functions; all by default) over a matrix, in a process of its own."""
    report = folder / "report.xml"
    (folder / "matrix.toml").write_text(matrix)
    (folder / "known.toml").write_text(known)
    command = [sys.executable, "-m", "pytest", "conformance", "-q", "-p", "no:cacheprovider"]
    command += [
        "--matrix",
        str(folder / "matrix.toml"),
        "--known-failures",
        str(folder / "known.toml"),
    ]
    command += ["--patience", "3", f"--junitxml={report}", *options]
    if chosen := " or ".join(cases):
        command += ["-k", chosen]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")
    }
    environment["TMPDIR"] = str(folder)
    done = subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=900
    )
    outcomes = {}
    for item in ElementTree.parse(report).iter("testcase") if report.exists() else ():
        properties = {entry.get("name"): entry.get("value", "") for entry in item.iter("property")}
        if "case" in properties:
            outcomes[properties["cell"], properties["case"]] = properties.get("outcome", "")
    return SuiteRun(done.returncode, done.stdout + done.stderr, outcomes)
