"""The pytest side: cells as parameters, controls before verdicts, five outcomes, properties for reports."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac_conformance.broker_options import add_broker_options, open_given_broker
from celeriac_conformance.cases import CASE_ATTRIBUTE, Case
from celeriac_conformance.environments import Environments, cache_folder
from celeriac_conformance.exchange import Deployment, Exchange
from celeriac_conformance.items import case_of, cell_id_of, cell_of, processes_of, property_of
from celeriac_conformance.known_failures import KnownFailure, find, read_known_failures, unmatched
from celeriac_conformance.matrix import (
    RUNTIMES,
    Cell,
    Matrix,
    MatrixError,
    find_matrix,
    read_matrix,
)
from celeriac_conformance.outcomes import Outcome, Verdicts, decide
from celeriac_conformance.processes import stop_all
from celeriac_conformance.report.plugin import ReportPlugin, add_report_options
from celeriac_conformance.runtimes.base import CannotSetUpError, NotOfferedError, Runtime
from celeriac_conformance.runtimes.process import ProcessRuntime
from celeriac_conformance.unsupported import UnsupportedError

__all__ = ["ConformancePlugin", "ControlFailedError", "add_options", "deployment", "exchange"]

_PLUGIN = "celeriac-conformance"


class ControlFailedError(RuntimeError):
    """Real Celery itself fails the case: it proves nothing about anybody else."""


def add_options(parser: pytest.Parser) -> None:
    """Add the suite's command-line options."""
    options = parser.getgroup("conformance")
    options.addoption(
        "--cells",
        default="",
        metavar="PATTERNS",
        help="comma-separated patterns over cell ids, e.g. '*-redis' (default: every cell of the matrix)",
    )
    options.addoption(
        "--control",
        default="run",
        choices=("run", "skip", "only"),
        help="run real Celery against itself first (run, default), not at all (skip), or nothing else (only)",
    )
    options.addoption(
        "--matrix",
        default=None,
        metavar="default|full|FILE",
        help="how much of the matrix (default: default), or another matrix file, which is taken whole",
    )
    options.addoption(
        "--runtime",
        default="process",
        choices=RUNTIMES,
        help="plain processes (default), or every broker, worker and producer in a container of its own",
    )
    options.addoption(
        "--known-failures", default=None, metavar="FILE", help="another list of known failures"
    )
    options.addoption(
        "--patience",
        type=float,
        default=20.0,
        metavar="SECONDS",
        help="how long a call may take (default: 20)",
    )
    add_report_options(options)
    add_broker_options(options)


class ConformancePlugin:
    """Holds the state of one run.

    Args:
        config: pytest's configuration.
        root: Folder of `matrix.toml`, `known_failures.toml` and the cases.
    """

    def __init__(self, config: pytest.Config, root: Path) -> None:
        self.config = config
        self.root = root
        path, self.tier = find_matrix(config.getoption("--matrix"), root / "matrix.toml")
        try:
            self.matrix: Matrix = read_matrix(path)
            patterns = [part for part in config.getoption("--cells").split(",") if part]
            cells = self.matrix.select(
                patterns, control=config.getoption("--control"), tier=self.tier
            )
        except MatrixError as error:
            raise pytest.UsageError(str(error)) from error
        self.runtime_name: str = config.getoption("--runtime")
        # Cells that this runtime has no carrier for are left out, unless somebody asks for them: then they say so.
        self.cells = tuple(c for c in cells if patterns or self.runtime_name in c.carrier.runtimes)
        accepted = config.getoption("--known-failures")
        self.known: tuple[KnownFailure, ...] = read_known_failures(
            Path(accepted) if accepted else root / "known_failures.toml"
        )
        self.patience_s: float = config.getoption("--patience")
        self.verdicts = Verdicts()
        self.reported = Verdicts()
        self.environments = Environments(cache_folder(), self.progress)
        self.runtime: Runtime = self._open_runtime()
        self._setup_errors: dict[str, CannotSetUpError] = {}
        self._failed = False

    def _open_runtime(self) -> Runtime:
        given = open_given_broker(self.config, self.environments, self.progress)
        if given is not None:
            self.cells = tuple(cell for cell in self.cells if given.offers(cell.carrier))
            return given
        if self.runtime_name == "process":
            return ProcessRuntime(self.environments, self.progress)
        try:
            from celeriac_conformance.runtimes.docker import DockerRuntime

            return DockerRuntime(cache_folder(), self.progress)
        except ImportError as error:
            raise pytest.UsageError(
                f"--runtime docker: {error}; pip install --group conformance"
            ) from error
        except CannotSetUpError as error:
            raise pytest.UsageError(f"--runtime docker: {error}") from error

    @classmethod
    def of(cls, config: pytest.Config) -> ConformancePlugin:
        """Return the plugin of a run."""
        plugin = config.pluginmanager.get_plugin(_PLUGIN)
        if not isinstance(plugin, cls):
            raise TypeError(f"{_PLUGIN} is not installed in this run")
        return plugin

    @classmethod
    def install(cls, config: pytest.Config, root: Path) -> None:
        """Register the plugin; call it from `pytest_configure`."""
        made = cls(config, root)
        config.pluginmanager.register(made, _PLUGIN)
        ReportPlugin.install(config, made.progress)
        signal.signal(signal.SIGTERM, _interrupt)

    def progress(self, line: str) -> None:
        """Show a line now, whatever is being captured."""
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        capture = self.config.pluginmanager.get_plugin("capturemanager")
        if reporter is None or capture is None:
            return
        with capture.global_and_fixture_disabled():
            if reporter._tw.width_of_current_line:
                reporter.line("")
            reporter.write_line(f"conformance: {line}")

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> object:
        """Keep every cell with its control in one process."""
        from celeriac_conformance.scheduling import CellScheduling

        units = {cell.id: "/".join(cell.control_key) for cell in self.cells}
        return CellScheduling(config, log, units)

    # Collection

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each case in every cell that can carry it."""
        described: Case | None = getattr(metafunc.function, CASE_ATTRIBUTE, None)
        if described is None:
            return
        area_cells = [
            cell for cell in self.cells if described.has_control or not cell.worker.is_reference
        ]
        metafunc.parametrize(
            "deployment", area_cells, ids=lambda cell: cell.id, indirect=True, scope="session"
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Name cases, drop those a carrier does not run, mark known failures, put controls first."""
        kept = [item for item in items if self._annotate(item)]
        order = {cell.id: number for number, cell in enumerate(self.cells)}
        kept.sort(key=lambda item: order.get(cell_id_of(item), -1))
        items[:] = kept
        self._check_known(items)

    def _annotate(self, item: pytest.Item) -> bool:
        described, cell = case_of(item), cell_of(item)
        if described is None:
            return True
        if cell is None:
            # A case without control in a run of controls only: pytest makes one skipped item of "no cells".
            return False
        parameters: dict[str, object] = item.callspec.params  # type: ignore[attr-defined]
        case_id = described.id_for(parameters)
        if not cell.runs(case_id) or not self._is_wanted(cell, case_id):
            return False
        item.user_properties += [("case", case_id), ("spec", described.spec), ("cell", cell.id)]
        known = find(self.known, case_id, cell.id)
        if known is not None:
            item.add_marker(pytest.mark.xfail(reason=f"{known.reason} ({known.link})", strict=True))
        return True

    def _is_wanted(self, cell: Cell, case_id: str) -> bool:
        """Say whether a case has to run in a cell: a control runs only what a cell it controls asks about."""
        tested = [other for other in self.cells if not other.is_control]
        return (
            not cell.is_control
            or not tested
            or any(
                other.control_key == cell.control_key and other.runs(case_id) for other in tested
            )
        )

    def _check_known(self, items: list[pytest.Item]) -> None:
        seen: dict[tuple[str, str], str] = {}
        for item in items:
            case_id, cell_id = property_of(item, "case"), cell_id_of(item)
            if case_id is None:
                continue
            other = seen.setdefault((case_id, cell_id), item.nodeid)
            if other != item.nodeid:
                raise pytest.UsageError(
                    f"two cases are called {case_id}: {other} and {item.nodeid}"
                )
        # Only a run that collects everything in every cell can say that an entry matches nothing.
        left_out = [c for c in self.matrix.cells if self.runtime_name not in c.carrier.runtimes]
        whole = len(self.cells) + len(left_out) >= len(self.matrix.cells)
        elsewhere = [entry for entry in self.known if any(entry.covers(c.id) for c in left_out)]
        stale = []
        if whole and self._collects_everything(items):
            stale = [e for e in unmatched(self.known, list(seen)) if e not in elsewhere]
        if stale:
            raise pytest.UsageError(f"known_failures.toml: these entries match no case: {stale}")

    def _collects_everything(self, items: list[pytest.Item]) -> bool:
        files = {item.path for item in items}
        return set(self.root.glob("cases/**/test_*.py")) <= files

    # Running

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Build environments before the first test, where no test's time limit counts."""
        if session.config.option.collectonly:
            return
        cells = {cell.id: cell for item in session.items if (cell := cell_of(item)) is not None}
        for cell in cells.values():
            for implementation in (cell.producer, cell.worker):
                self._prepare(implementation.name, cell)
            self._prepare(cell.carrier.name, cell)

    def _prepare(self, name: str, cell: Cell) -> None:
        if name in self._setup_errors or self.runtime_name not in cell.carrier.runtimes:
            return
        try:
            if name == cell.carrier.name:
                self.runtime.prepare_carrier(cell.carrier)
            else:
                self.runtime.prepare(self.matrix.implementations[name])
        except CannotSetUpError as error:
            self._setup_errors[name] = error

    def check_set_up(self, cell: Cell) -> None:
        """Raise what kept a cell's implementations from being made ready."""
        for name in (cell.producer.name, cell.worker.name, cell.carrier.name):
            error = self._setup_errors.get(name)
            if isinstance(error, NotOfferedError):
                pytest.skip(str(error))
            if error is not None:
                raise error

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip what a cell does not offer; refuse a case whose control failed."""
        described, cell, case_id = case_of(item), cell_of(item), property_of(item, "case")
        if described is None or cell is None or case_id is None:
            return
        if self.runtime_name not in cell.carrier.runtimes:
            runtimes = " or ".join(cell.carrier.runtimes)
            pytest.skip(f"{cell.carrier.name} runs with --runtime {runtimes} only")
        missing = described.needs - cell.carrier.features
        if missing:
            pytest.skip(f"{cell.carrier.name} offers no {', '.join(sorted(missing))}")
        for implementation in (cell.producer, cell.worker):
            if implementation.is_reference and implementation.version:
                reason = described.not_in(implementation.version)
                if reason is not None:
                    pytest.skip(f"{implementation.name} {reason}")
        lacking = cell.worker.lacking(case_id)
        if lacking is not None:
            pytest.skip(f"{cell.worker.name}: {lacking}")
        if not cell.is_control:
            self._check_control(case_id, cell)

    def _check_control(self, case_id: str, cell: Cell) -> None:
        """Let a case run only where Celery with itself passes it, or was not asked."""
        for control in self.cells:
            if not control.is_control or control.control_key != cell.control_key:
                continue
            outcome = self.verdicts.of(case_id, control.id)
            if outcome in (Outcome.FAILED, Outcome.ERROR):
                raise ControlFailedError(
                    f"{case_id} {outcome} in {control.id}: the case proves nothing"
                )
            if outcome in (Outcome.KNOWN, Outcome.UNSUPPORTED):
                pytest.skip(f"{case_id} {outcome} in {control.id}: the case proves nothing")

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self) -> Generator[None, object, object]:
        """Turn what a fixture finds unsupported into a skip."""
        try:
            return (yield)
        except UnsupportedError as error:
            pytest.skip(str(error))

    @pytest.hookimpl(wrapper=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Generator[None, object, object]:
        """Turn what a driver does not support into a skip, and a dead worker into a failure."""
        try:
            result = yield
        except UnsupportedError as error:
            pytest.skip(str(error))
        found = pyfuncitem.funcargs.get("exchange")
        if isinstance(found, Exchange):
            found.worker.check()
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep the outcome, and show the programs' logs where something failed."""
        report = yield
        case_id, cell = property_of(item, "case"), cell_of(item)
        if case_id is None or cell is None:
            return report
        expected = hasattr(report, "wasxfail") or "[XPASS(strict)]" in str(report.longrepr)
        outcome = decide(
            when=report.when or "", report=report.outcome, is_expected_failure=expected
        )
        if outcome is not None:
            self.verdicts.record(case_id, cell.id, outcome)
            # Reports take the properties of the last phase: whatever an earlier one said is replaced.
            item.user_properties[:] = [
                pair for pair in item.user_properties if pair[0] != "outcome"
            ]
            item.user_properties.append(("outcome", str(self.verdicts.of(case_id, cell.id))))
        if report.failed:
            used = getattr(item, "funcargs", {}).get("deployment")
            if isinstance(used, Deployment):
                used.is_suspect = True
            for process in processes_of(item):
                report.sections.append(
                    (f"log of the {process.name} (pid {process.pid})", process.tail())
                )
        return report

    # Reporting

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take outcomes from reports, which also come from other processes under xdist."""
        properties = dict(report.user_properties)
        if report.when == "teardown" and "outcome" in properties:
            outcome = Outcome(str(properties["outcome"]))
            self.reported.record(str(properties["case"]), str(properties["cell"]), outcome)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Count outcomes per cell."""
        table = self.reported.by_cell()
        if not table:
            return
        terminalreporter.section("conformance")
        width = max(len(cell_id) for cell_id in table)
        for cell in self.cells:
            if cell.id in table:
                counts = "  ".join(f"{table[cell.id][word]:4} {word}" for word in Outcome)
                role = "control" if cell.is_control else "tested"
                terminalreporter.write_line(f"{cell.id:<{width}}  {role:7}{counts}")

        if self._failed:
            terminalreporter.write_line(f"journals and logs are kept in {self.runtime.folder}")

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Remember whether anybody will want the logs."""
        self._failed = exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)

    def pytest_unconfigure(self) -> None:
        """Take every program and server away."""
        self.runtime.close(keep_logs=self._failed)
        stop_all()


def _interrupt(number: int, frame: object) -> None:
    """Treat SIGTERM like Ctrl-C, so that clean-up runs."""
    raise KeyboardInterrupt


@pytest.fixture(scope="session")
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """The programs of the cell under test."""
    plugin = ConformancePlugin.of(request.config)
    cell: Cell = request.param
    plugin.check_set_up(cell)
    plugin.progress(f"cell {cell.id}")
    programs = Deployment(cell, plugin.runtime, patience_s=plugin.patience_s)
    try:
        yield programs
    finally:
        programs.stop()


@pytest.fixture
def exchange(deployment: Deployment) -> Iterator[Exchange]:
    """What a case works with."""
    made = Exchange(deployment)
    yield made
    made.close()
