"""Five outcomes, never merged; known failures; case ids."""

from __future__ import annotations

from pathlib import Path

import pytest

from celeriac_conformance.cases import CASE_ATTRIBUTE, case, version_tuple
from celeriac_conformance.known_failures import KnownFailure, find, read_known_failures, unmatched
from celeriac_conformance.outcomes import Outcome, Verdicts, decide
from tests.conformance.helpers import matrix_text, run_suite


@pytest.mark.parametrize(
    ("when", "report", "is_expected_failure", "outcome"),
    [
        ("setup", "passed", False, None),
        ("call", "passed", False, Outcome.PASSED),
        ("teardown", "passed", False, None),
        ("call", "failed", False, Outcome.FAILED),
        ("setup", "failed", False, Outcome.ERROR),
        ("teardown", "failed", False, Outcome.ERROR),
        ("setup", "skipped", False, Outcome.UNSUPPORTED),
        ("call", "skipped", False, Outcome.UNSUPPORTED),
        ("call", "skipped", True, Outcome.KNOWN),
        ("call", "failed", True, Outcome.FAILED),
    ],
)
def test_each_phase_decides_its_outcome(
    when: str, report: str, is_expected_failure: bool, outcome: Outcome | None
) -> None:
    assert decide(when=when, report=report, is_expected_failure=is_expected_failure) == outcome


def test_an_error_after_a_pass_counts_but_a_pass_never_hides_a_failure() -> None:
    verdicts = Verdicts()
    verdicts.record("a/b", "cell", Outcome.PASSED)
    verdicts.record("a/b", "cell", Outcome.ERROR)
    verdicts.record("a/c", "cell", Outcome.FAILED)
    verdicts.record("a/c", "cell", Outcome.PASSED)
    assert verdicts.of("a/b", "cell") is Outcome.ERROR
    assert verdicts.of("a/c", "cell") is Outcome.FAILED
    assert verdicts.of("a/d", "cell") is None
    assert verdicts.by_cell() == {"cell": {Outcome.ERROR: 1, Outcome.FAILED: 1}}


def test_known_failures_are_found_by_pattern_and_stale_ones_reported() -> None:
    covering = KnownFailure(case="chords/*", cell="*-redis", reason="r", link="l")
    stale = KnownFailure(case="gone/*", cell="*", reason="r", link="l")
    assert find([stale, covering], "chords/sum", "x.to.y-redis") is covering
    assert find([stale, covering], "chords/sum", "x.to.y-rabbitmq") is None
    assert unmatched([stale, covering], [("chords/sum", "x.to.y-redis")]) == [stale]


def test_an_entry_without_a_reason_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "known.toml"
    path.write_text('[[known]]\ncase = "a/b"\ncell = "*"\nlink = "x"\n')
    with pytest.raises(ValueError, match="expected the keys"):
        read_known_failures(path)


@pytest.mark.parametrize(
    "wrong", ["Calls/x", "calls", "calls/Two-Words", "calls/two_words/three", "calls/-x"]
)
def test_a_case_id_is_area_and_kebab_name(wrong: str) -> None:
    with pytest.raises(ValueError, match="expected area/kebab-name"):
        case(wrong, spec="task-message#1")


def test_versions_compare_as_numbers() -> None:
    assert version_tuple("5.10.0rc1") > version_tuple("5.9")


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("5.0.5", "is older than 5.2"),
        ("5.2.0", None),
        ("5.5.3", None),
        ("5.6.0", "is newer than 5.5"),
    ],
)
def test_a_case_holds_from_one_version_to_another_with_its_patch_releases(
    version: str, reason: str | None
) -> None:
    @case("area/of-some-versions", spec="document#1", since="5.2", until="5.5")
    def judged() -> None: ...

    assert getattr(judged, CASE_ATTRIBUTE).not_in(version) == reason


def test_a_carrier_of_another_runtime_is_left_out_unless_it_is_asked_for(tmp_path: Path) -> None:
    only_docker = matrix_text(["none"]).replace(
        'broker = "redis"', 'broker = "redis"\nruntimes = ["docker"]'
    )
    name = "test_text_outside_ascii_survives_both_ways"
    assert run_suite(tmp_path, only_docker, [name]).outcomes == {}
    asked = run_suite(tmp_path, only_docker, [name], "--cells", "*")
    assert asked.of("celeriac.to.none-redis") == {"calls/unicode": "unsupported"}
    assert "redis runs with --runtime docker only" in asked.output
