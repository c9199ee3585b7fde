"""The suite can fail: our own worker with exactly one thing wrong, and the cases that say which."""

from __future__ import annotations

import os

import pytest

from celeriac_conformance.drivers.fault_worker import FAULTS
from celeriac_conformance.environments import REAL_CELERY_PYTHON
from celeriac_conformance.matrix import read_matrix
from tests.conformance.helpers import CHECKOUT, SuiteRun, run_suite

pytestmark = pytest.mark.xdist_group("fault-workers")  # they share one run of the suite

NAMED_BY = {
    "drops-parent-id": {"chains/ids"},
    "drops-root-id": {"calls/request-identity"},
    "loses-group-id": {"groups/headers", "chords/sum"},
    "loses-group-index": {"chords/sum"},
    "miscounts-retries": {"retries/keeps-task-id"},
    "drops-headers": {"calls/user-headers"},
    "drops-stamps": {"calls/stamps"},
    "stores-ignored": {"results/ignored-by-the-call"},
    "ignores-link": {"links/callback"},
    "ignores-link-error": {"links/new-errback", "links/old-errback"},
    "drops-rest-of-chain": {"chains/three-steps"},
    "never-completes-chords": {"chords/sum"},
    "ignores-immutable": {"chains/immutable-step", "links/immutable-callback"},
    "ignores-eta": {"eta/countdown"},
    "loses-expires": {"expires/while-waiting"},
    "acks-early": {"acks/requeue-when-lost"},
    "swaps-limits": {"failures/soft-time-limit", "failures/hard-time-limit"},
    "never-acks": {"acks/early"},
    "discards-requeued": {"acks/requeue"},
    "runs-twice": {"calls/own-task-id"},
    "dies-of-unicode": {"calls/unicode"},
    "wrong-value": {"calls/positional-arguments"},
    "swallows-failures": {"failures/builtin-exception"},
    "stores-for-ever": {"results/expiry"},
    "forgets-publish": {"eta/countdown"},
}
"""For each fault, the cases that name it: all of them have to fail."""

NAMED_BY_MONITORS = {
    "misshapes-ping": {"control/ping"},
    "no-heartbeats": {"events/worker"},
    "ignores-revokes": {"control/revoke-waiting"},
}
"""The same for faults that only a client of remote control and events meets: real Celery's."""

UNHARMED = {
    "forgets-publish": "results/of-a-finished-call",
    "wrong-value": "results/ignored-by-the-task",
}
"""A case that has to pass all the same, where the fault shows in any result: it is one fault, no broken worker."""


def unharmed(fault: str) -> str:
    """Return a case that a fault must leave alone."""
    return UNHARMED.get(fault, "calls/keyword-arguments")


def matrix(producer: str, implementation: str, named_by: dict[str, set[str]]) -> str:
    """Write a matrix with a cell for each fault, and one without fault that runs all their cases."""
    selected = {fault: {*cases, unharmed(fault)} for fault, cases in named_by.items()}
    selected["none"] = set().union(*selected.values())
    blocks = [implementation]
    for fault, cases in selected.items():
        patterns = ", ".join(f'"{case}"' for case in sorted(cases))
        blocks += [
            f'[[implementations]]\nname = "{fault}"\nlibrary = "celeriac"\n'
            'driver = "celeriac_conformance.drivers.celery_driver"\n'
            f'worker = ["celeriac_conformance.drivers.fault_worker", "{fault}"]',
            f'[[carriers]]\nname = "cases-{fault}"\nbroker = "redis"\nbackend = "redis"\ncases = [{patterns}]\n'
            'features = ["chords", "stored-results", "redis-results", "group-results"]',
            f'[[cells]]\nproducers = ["{producer}"]\nworkers = ["{fault}"]\ncarriers = ["cases-{fault}"]',
        ]
    return "\n\n".join(blocks)


def check(run: SuiteRun, producer: str, fault: str, named_by: set[str]) -> None:
    """Compare the outcomes of a fault's cell with what they have to be."""
    expected = {**dict.fromkeys(named_by, "failed"), unharmed(fault): "passed"}
    assert run.of(f"{producer}.to.{fault}-cases-{fault}") == expected, run.output


def check_right(run: SuiteRun, producer: str, named_by: dict[str, set[str]]) -> None:
    """Check that every case passes where nothing is wrong."""
    everything = set().union(*named_by.values(), map(unharmed, named_by))
    found = run.of(f"{producer}.to.none-cases-none")
    assert found == dict.fromkeys(everything, "passed"), run.output


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SuiteRun:
    """One run of the suite with our own client as the producer."""
    implementation = (
        '[[implementations]]\nname = "celeriac"\nlibrary = "celeriac"\n'
        'driver = "celeriac_conformance.drivers.celery_driver"'
    )
    text = matrix("celeriac", implementation, NAMED_BY)
    return run_suite(tmp_path_factory.mktemp("faults"), text, [], "--patience", "5")


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> SuiteRun:
    """One run of the suite with real Celery as the producer."""
    if REAL_CELERY_PYTHON not in os.environ:
        pytest.skip(f"{REAL_CELERY_PYTHON} names no interpreter with real Celery")
    real = read_matrix(CHECKOUT / "conformance" / "matrix.toml").implementations["celery-5.7.0"]
    implementation = (
        f'[[implementations]]\nname = "{real.name}"\nlibrary = "{real.library}"\n'
        f'driver = "{real.driver}"\nversion = "{real.version}"\n'
        f"requirements = {list(real.requirements)}"
    )
    text = matrix(real.name, implementation, NAMED_BY_MONITORS)
    return run_suite(tmp_path_factory.mktemp("faults"), text, [], "--patience", "5")


def test_every_fault_has_cases_that_name_it() -> None:
    assert {*NAMED_BY, *NAMED_BY_MONITORS} == set(FAULTS) - {"none"}


@pytest.mark.parametrize("fault", NAMED_BY)
def test_the_suite_names_the_fault(run: SuiteRun, fault: str) -> None:
    check(run, "celeriac", fault, NAMED_BY[fault])


def test_the_same_cases_pass_without_a_fault(run: SuiteRun) -> None:
    check_right(run, "celeriac", NAMED_BY)


@pytest.mark.parametrize("fault", NAMED_BY_MONITORS)
def test_a_monitor_names_the_fault(monitored: SuiteRun, fault: str) -> None:
    check(monitored, "celery-5.7.0", fault, NAMED_BY_MONITORS[fault])


def test_the_same_cases_pass_for_a_monitor_without_a_fault(monitored: SuiteRun) -> None:
    check_right(monitored, "celery-5.7.0", NAMED_BY_MONITORS)
