"""The pytest side of reports: records and traces where cases run, files and progress where pytest is in charge.

Under pytest-xdist cases run in processes of their own: what they learnt travels in the test reports.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import time
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from celeriac_conformance.exchange import Deployment
from celeriac_conformance.items import case_of, cell_of, processes_of, property_of
from celeriac_conformance.matrix import Cell, Implementation
from celeriac_conformance.outcomes import Outcome
from celeriac_conformance.report.page import write_page
from celeriac_conformance.report.progress import Progress
from celeriac_conformance.report.records import JUNIT, PAGE, RESULTS, TRACES, Record
from celeriac_conformance.report.traces import CaseTraces

__all__ = ["ReportPlugin", "add_report_options"]

_NAME = "celeriac-conformance-report"
_CARRIED = "celeriac_conformance"
"""Attribute of a test report that holds a record on its way."""
_KEPT = (Outcome.FAILED, Outcome.KNOWN, Outcome.ERROR)
"""Outcomes whose traces and messages are kept."""
_MESSAGE_LIMIT = 20_000


def add_report_options(options: pytest.OptionGroup) -> None:
    """Add the command-line options of reports."""
    options.addoption(
        "--report",
        default=None,
        metavar="DIR",
        help=f"write {RESULTS}, {JUNIT}, wire traces and {PAGE} into this folder",
    )


class ReportPlugin:
    """Reports on one run.

    Args:
        config: pytest's configuration.
        folder: Where the report goes; None: nothing is written, progress is shown all the same.
        show: Shows a line now.
    """

    def __init__(
        self, config: pytest.Config, folder: Path | None, show: Callable[[str], None]
    ) -> None:
        self.config = config
        self.folder = folder
        self.runtime: str = config.getoption("--runtime", default="process")
        self.in_charge = not hasattr(config, "workerinput")
        self.progress = Progress(show)
        self.records: list[Record] = []
        self.traces = None if folder is None else CaseTraces(folder, self.runtime)
        self._cases: Counter[str] = Counter()
        self._began: dict[str, float] = {}
        self._durations: dict[str, float] = {}
        self._versions: dict[str, dict[str, str]] = {}
        self._made: dict[str, dict[str, Any]] = {}

    @classmethod
    def install(cls, config: pytest.Config, show: Callable[[str], None]) -> None:
        """Register the plugin; call it from `pytest_configure`."""
        given = config.getoption("--report")
        folder = None if given is None else Path(given).absolute()
        made = cls(config, folder, show)
        if folder is not None and made.in_charge:
            made.prepare(folder)
        config.pluginmanager.register(made, _NAME)

    def prepare(self, folder: Path) -> None:
        """Clear away what an earlier run left, and have JUnit written."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in (RESULTS, JUNIT, PAGE):
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / TRACES, ignore_errors=True)
        (folder / RESULTS).touch()
        if not self.config.option.xmlpath:
            self.config.option.xmlpath = str(folder / JUNIT)

    # Where cases run

    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Count the cases of each cell."""
        self._cases.update(cell.id for item in session.items if (cell := cell_of(item)) is not None)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Record the brokers of cells."""
        made = yield
        if self.traces is not None and isinstance(made, Deployment):
            self.traces.open(made.ground)
        return made

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """Stop to record a broker that goes away."""
        if self.traces is not None and fixturedef.argname == "deployment":
            self.traces.close()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begin the trace of a case."""
        if self.traces is not None and cell_of(item) is not None:
            self.traces.begin()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Make the record of a case, as far as it is known after this phase."""
        report = yield
        described, cell = case_of(item), cell_of(item)
        if described is None or cell is None:
            return report
        self._began.setdefault(cell.id, call.start)
        if report.when == "call":
            self._durations[item.nodeid] = call.duration
        outcome = property_of(item, "outcome")
        if outcome is not None:
            before = self._made.get(item.nodeid)
            if before is None or before["outcome"] != outcome:
                record = self._record(item, cell, Outcome(outcome), report)
                self._made[item.nodeid] = asdict(record)
        if report.when == "teardown" and item.nodeid in self._made:
            found = self._made.pop(item.nodeid)
            found["duration_s"] = round(self._durations.pop(item.nodeid, 0.0), 3)
            setattr(
                report,
                _CARRIED,
                {
                    "record": {**found, "outcome": str(found["outcome"])},
                    "cases": self._cases[cell.id],
                    "cells": len(self._cases),
                    "seconds": call.stop - self._began[cell.id],
                },
            )
        return report

    def _record(
        self, item: pytest.Item, cell: Cell, outcome: Outcome, report: pytest.TestReport
    ) -> Record:
        case_id = property_of(item, "case") or ""
        trace = None
        if outcome in _KEPT and self.traces is not None:
            logs = [(f"log of the {one.name}", one.tail()) for one in processes_of(item)]
            trace = self.traces.save(case_id, cell.id, logs)
        return Record(
            case=case_id,
            spec=property_of(item, "spec") or "",
            cell=cell.id,
            role="control" if cell.is_control else "tested",
            producer=cell.producer.name,
            worker=cell.worker.name,
            producer_version=cell.producer.version,
            worker_version=cell.worker.version,
            versions=self._versions_of(item, cell),
            carrier=cell.carrier.name,
            broker=cell.carrier.broker,
            backend=cell.carrier.backend,
            runtime=self.runtime,
            outcome=outcome,
            duration_s=0.0,
            reason=_reason(report),
            message=report.longreprtext[-_MESSAGE_LIMIT:] if outcome in _KEPT else "",
            trace=trace,
        )

    def _versions_of(self, item: pytest.Item, cell: Cell) -> dict[str, str]:
        known = self._versions.setdefault(cell.id, {})
        if not known:
            used = getattr(item, "funcargs", {}).get("deployment")
            if isinstance(used, Deployment):
                known.update({f"producer {name}": value for name, value in used.versions.items()})
                known["worker library"] = _version(cell.worker)
                known[cell.carrier.broker] = used.ground.broker.version
        return known

    # Where pytest is in charge

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the record of a case that is through."""
        carried: dict[str, Any] | None = getattr(report, _CARRIED, None)
        if carried is None or not self.in_charge:
            return
        record = Record.from_dict(carried["record"])
        self.records.append(record)
        if self.folder is not None:
            with (self.folder / RESULTS).open("a", encoding="utf-8") as stream:
                stream.write(record.line())
        self.progress.add(
            record.cell,
            record.outcome,
            cases=carried["cases"],
            cells=carried["cells"],
            seconds=carried["seconds"],
        )

    def pytest_sessionfinish(self) -> None:
        """Write the page."""
        if self.folder is not None and self.in_charge:
            write_page(self.folder, self.records, now=time.time())

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say where the report is."""
        if self.folder is not None:
            terminalreporter.write_line(f"conformance report: {self.folder / PAGE}")

    def pytest_unconfigure(self) -> None:
        """Stop recording; copy the JUnit report if it was asked for elsewhere."""
        if self.traces is not None:
            self.traces.close()
        if self.folder is None or not self.in_charge:
            return
        asked = Path(self.config.option.xmlpath)
        if asked.exists() and asked.absolute() != self.folder / JUNIT:
            shutil.copyfile(asked, self.folder / JUNIT)


def _reason(report: pytest.TestReport) -> str:
    """Say in a line why a case ended as it did."""
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail).removeprefix("reason: ")
    if report.skipped and isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    if not report.failed:
        return ""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = report.longreprtext if crash is None else crash.message
    return str(text).strip().partition("\n")[0][:500]


def _version(implementation: Implementation) -> str:
    if implementation.version is not None:
        return implementation.version
    try:
        return f"{importlib.metadata.version(implementation.library)} (checkout)"
    except importlib.metadata.PackageNotFoundError:
        return "checkout"
