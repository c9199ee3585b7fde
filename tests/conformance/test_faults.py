"""The suite can fail: each toy worker has one fault, and exactly the cases about it say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from celeriac_conformance.faults import FAULTS
from tests.conformance.helpers import SuiteRun, matrix_text, run_suite

CASES = {
    "calls/positional-arguments": "test_a_call_with_positional_arguments_returns_its_value",
    "calls/unicode": "test_text_outside_ascii_survives_both_ways",
    "calls/own-task-id": "test_any_text_can_be_a_task_id",
    "calls/request-identity": "test_a_call_from_outside_is_its_own_root_without_parent",
    "failures/builtin-exception": "test_a_builtin_exception_comes_back_with_type_arguments_and_traceback",
    "results/expiry": "test_a_stored_document_lives_a_day",
    "results/ignored-by-the-call": "test_a_call_that_ignores_its_result_stores_none",
}
NOTICED: dict[str, set[str]] = {
    "none": set(),
    "wrong-value": {"calls/positional-arguments", "calls/unicode", "calls/own-task-id"},
    "drops-root-id": {"calls/request-identity"},
    "runs-twice": {"calls/own-task-id"},
    "stores-ignored": {"results/ignored-by-the-call"},
    "stores-for-ever": {"results/expiry"},
    "dies-of-unicode": {"calls/unicode"},
    "swallows-failures": {"failures/builtin-exception"},
}
"""For each fault, the cases that have to fail; the others have to pass."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SuiteRun:
    """One run of the cases over all toy workers."""
    return run_suite(tmp_path_factory.mktemp("faults"), matrix_text(FAULTS), CASES.values())


@pytest.mark.parametrize("fault", FAULTS)
def test_exactly_the_cases_about_a_fault_fail(run: SuiteRun, fault: str) -> None:
    expected = {case: "failed" if case in NOTICED[fault] else "passed" for case in CASES}
    assert run.of(f"celeriac.to.{fault}-redis") == expected, run.output


def test_a_run_with_failures_fails_and_says_where_the_logs_are(run: SuiteRun) -> None:
    assert run.status == 1
    assert "journals and logs are kept in" in run.output


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> SuiteRun:
    """One run with a faulty control, a worker that cannot start, and a case the carrier does not offer."""
    matrix = matrix_text(["none", "broken"], controls=["wrong-value"]).replace(
        'worker = ["celeriac_conformance.faults", "--fault", "broken"]',
        'worker = ["no.such.module"]',
    )
    cases = [CASES["calls/positional-arguments"], CASES["calls/request-identity"]]
    return run_suite(
        tmp_path_factory.mktemp("judged"), matrix, [*cases, "test_a_header_of_one_is_still_a_chord"]
    )


def test_a_case_proves_nothing_where_its_control_fails(judged: SuiteRun) -> None:
    assert judged.of("celeriac.to.wrong-value-redis")["calls/positional-arguments"] == "failed"
    assert judged.of("celeriac.to.none-redis")["calls/positional-arguments"] == "error"
    assert "the case proves nothing" in judged.output


def test_a_case_whose_control_passes_counts(judged: SuiteRun) -> None:
    assert judged.of("celeriac.to.wrong-value-redis")["calls/request-identity"] == "passed"
    assert judged.of("celeriac.to.none-redis")["calls/request-identity"] == "passed"


def test_a_worker_that_cannot_start_is_an_error_not_a_failure(judged: SuiteRun) -> None:
    assert judged.of("celeriac.to.broken-redis")["calls/request-identity"] == "error"


def test_what_a_carrier_does_not_offer_is_unsupported(judged: SuiteRun) -> None:
    assert judged.of("celeriac.to.none-redis")["chords/single-header-task"] == "unsupported"


def _known(case: str, cell: str) -> str:
    return f'[[known]]\ncase = "{case}"\ncell = "{cell}"\nreason = "on purpose"\nlink = "none"\n'


def test_known_failures_are_their_own_outcome_and_a_surprise_pass_is_a_failure(
    tmp_path: Path,
) -> None:
    case = "calls/positional-arguments"
    known = _known(case, "*.wrong-value-redis") + _known(case, "*.none-redis")
    found = run_suite(tmp_path, matrix_text(["none", "wrong-value"]), [CASES[case]], known=known)
    assert found.of("celeriac.to.wrong-value-redis") == {case: "known"}
    assert found.of("celeriac.to.none-redis") == {case: "failed"}
    assert found.status == 1


def test_a_known_failure_that_matches_no_case_fails_the_run(tmp_path: Path) -> None:
    known = _known("calls/no-such-case", "*")
    found = run_suite(tmp_path, matrix_text(["none"]), ["nothing"], known=known)
    assert found.status == pytest.ExitCode.USAGE_ERROR
    assert "match no case" in found.output
