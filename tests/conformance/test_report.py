"""Reports: complete, one line for each case and cell, and a page that stands alone."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from celeriac_conformance.__main__ import main
from celeriac_conformance.outcomes import Outcome
from celeriac_conformance.report.findings import frame_text
from celeriac_conformance.report.page import page_html
from celeriac_conformance.report.progress import Progress
from celeriac_conformance.report.records import Record, ReportError, read, write
from celeriac_conformance.report.tables import directions
from tests.conformance.helpers import SuiteRun, matrix_text, run_suite

pytestmark = pytest.mark.xdist_group("report")

CASES = (
    "test_a_call_with_positional_arguments_returns_its_value",
    "test_any_text_can_be_a_task_id",
    "test_a_header_of_one_is_still_a_chord",
)
KNOWN = """
[[known]]
case = "calls/own-task-id"
cell = "*.wrong-value-redis"
reason = "wrong on purpose"
link = "none"
"""


@pytest.fixture(scope="module", params=["alone", "side by side"])
def reported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SuiteRun, Path]:
    """One run of a few cases, and the folder of its report."""
    folder = tmp_path_factory.mktemp("report")
    report = folder / "out"
    options = ["--report", str(report), *(["-n", "2"] if request.param == "side by side" else [])]
    matrix = matrix_text(["none", "wrong-value"])
    return run_suite(folder, matrix, CASES, *options, known=KNOWN), report


def _records(reported: tuple[SuiteRun, Path]) -> dict[tuple[str, str], Record]:
    return {(one.worker, one.case): one for one in read(reported[1])}


def test_there_is_a_line_for_each_case_and_cell(reported: tuple[SuiteRun, Path]) -> None:
    assert {key: str(one.outcome) for key, one in _records(reported).items()} == {
        ("none", "calls/positional-arguments"): "passed",
        ("none", "calls/own-task-id"): "passed",
        ("none", "chords/single-header-task"): "unsupported",
        ("wrong-value", "calls/positional-arguments"): "failed",
        ("wrong-value", "calls/own-task-id"): "known",
        ("wrong-value", "chords/single-header-task"): "unsupported",
    }, reported[0].output


def test_a_line_says_who_with_whom_over_what_and_why(reported: tuple[SuiteRun, Path]) -> None:
    records = _records(reported)
    one = records["wrong-value", "calls/own-task-id"]
    assert (one.cell, one.role) == ("celeriac.to.wrong-value-redis", "tested")
    assert (one.carrier, one.broker, one.backend, one.runtime) == (
        "redis",
        "redis",
        "redis",
        "process",
    )
    assert one.versions["redis"]
    assert one.versions["producer library"]
    assert one.reason == "wrong on purpose (none)"
    assert one.duration_s > 0
    assert records["none", "chords/single-header-task"].reason == "redis offers no chords"
    assert "assert" in records["wrong-value", "calls/positional-arguments"].reason


def test_a_case_that_did_not_pass_has_its_wire_trace_and_logs(
    reported: tuple[SuiteRun, Path],
) -> None:
    records = _records(reported)
    kept = {key for key, one in records.items() if one.trace is not None}
    assert kept == {
        ("wrong-value", "calls/positional-arguments"),
        ("wrong-value", "calls/own-task-id"),
    }
    path = records["wrong-value", "calls/positional-arguments"].trace
    assert path is not None
    trace: dict[str, Any] = json.loads((reported[1] / path).read_text("utf-8"))
    sent = [frame for frame in trace["frames"] if frame["action"] == "LPUSH"]
    assert any('"add"' in frame["parts"][0] for frame in sent)
    stored = [frame["parts"] for frame in trace["frames"] if frame["action"] in ("SET", "SETEX")]
    assert any('"result": [5]' in str(parts) for parts in stored)
    assert [log["name"] for log in trace["logs"]] == [
        "log of the wrong-value worker",
        "log of the celeriac producer",
    ]


def test_junit_is_written_too_with_the_same_outcomes(reported: tuple[SuiteRun, Path]) -> None:
    outcomes = {
        tuple(entry.get("value") for entry in item.iter("property"))
        for item in ElementTree.parse(reported[1] / "junit.xml").iter("testcase")
    }
    assert outcomes == {
        (one.case, one.spec, one.cell, str(one.outcome)) for one in _records(reported).values()
    }


def test_the_page_stands_alone(reported: tuple[SuiteRun, Path]) -> None:
    page = (reported[1] / "index.html").read_text("utf-8")
    assert "<link" not in page
    assert "<script src" not in page
    assert not re.search(r'(src|href)="https?:', page)
    assert 'name="viewport"' in page
    targets = set(re.findall(r'href="#([^"]+)"', page))
    assert targets <= set(re.findall(r'id="([^"]+)"', page))
    assert "calls/own-task-id" in page
    assert "wrong on purpose" in page
    assert "LPUSH" in page


def test_progress_and_the_place_of_the_report_are_shown(reported: tuple[SuiteRun, Path]) -> None:
    lines = [line for line in reported[0].output.splitlines() if line.startswith("conformance")]
    assert re.search(
        r"cell 2/2 done in \d+ s: \S+: \d passed, \d failed, \d known, 1 unsupported, 0 error",
        "\n".join(lines),
    )
    assert f"conformance report: {reported[1] / 'index.html'}" in lines


def _record(**changed: Any) -> Record:
    values: dict[str, Any] = {
        "case": "calls/<plain>",
        "spec": "task-message#1",
        "cell": "celery-5.3.6.to.celeriac-redis",
        "role": "tested",
        "producer": "celery-5.3.6",
        "worker": "celeriac",
        "producer_version": "5.3.6",
        "worker_version": None,
        "carrier": "redis",
        "broker": "redis",
        "backend": "redis",
        "runtime": "process",
        "outcome": Outcome.PASSED,
        "duration_s": 0.1,
    }
    return Record(**{**values, **changed})


def test_versions_of_a_direction_stand_side_by_side_in_their_order() -> None:
    records = [
        _record(producer=f"celery-{version}", producer_version=version)
        for version in ("5.10.0", "4.4.7", "5.3.6")
    ]
    back = _record(
        producer="celeriac", producer_version=None, worker="celery-5.3.6", worker_version="5.3.6"
    )
    control = _record(worker="celery-5.3.6", worker_version="5.3.6", role="control")
    found = directions([*records, back, control])
    assert [(one.title, [pairing.label for pairing in one.pairings]) for one in found] == [
        ("celeriac → celery", ["5.3.6"]),
        ("celery → celeriac", ["4.4.7", "5.3.6", "5.10.0"]),
        ("celery → celery", ["5.3.6"]),
    ]
    assert [one.is_control for one in found] == [False, False, True]


def test_outcomes_are_never_added_up(tmp_path: Path) -> None:
    records = [_record(case=f"calls/c{number}", outcome=one) for number, one in enumerate(Outcome)]
    page = "".join(page_html(tmp_path, records, datetime.datetime.now(datetime.UTC)))
    for letter in "PFKUE":
        assert f'<span class="{letter}">{letter}1</span>' in page


def test_what_a_case_says_cannot_break_the_page(tmp_path: Path) -> None:
    record = _record(outcome=Outcome.FAILED, reason="<script>", message="</pre><b>")
    page = "".join(page_html(tmp_path, [record], datetime.datetime.now(datetime.UTC)))
    assert page.count("<script>") == 1
    assert "</pre><b>" not in page
    assert "calls/&lt;plain&gt;" in page


def test_bodies_of_envelopes_are_shown_decoded() -> None:
    envelope = {"body": "W1sxXSwge31d", "properties": {"body_encoding": "base64"}}
    shown = frame_text([json.dumps(envelope), "plain\x06\x16"])
    assert '"body, decoded": [\n  [\n   1\n  ],' in shown
    assert shown.endswith("plain\\x06\\x16")


def test_reports_of_several_runs_become_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "process", tmp_path / "docker"
    path = "traces/docker/cell/calls.one.json"
    write(first, [_record(case="calls/one"), _record(case="calls/two")])
    failed = _record(case="calls/one", runtime="docker", outcome=Outcome.FAILED, trace=path)
    write(second, [failed, _record(case="calls/two", outcome=Outcome.KNOWN)])
    (second / path).parent.mkdir(parents=True)
    (second / path).write_text(json.dumps({"frames": [], "notes": [], "logs": []}))
    status = main(["report", str(first), str(second), "--out", str(tmp_path / "all")])
    assert status == 1
    merged = {(one.runtime, one.case): one.outcome for one in read(tmp_path / "all")}
    assert merged == {
        ("process", "calls/one"): Outcome.PASSED,
        ("process", "calls/two"): Outcome.KNOWN,
        ("docker", "calls/one"): Outcome.FAILED,
    }
    assert (tmp_path / "all" / path).exists()
    assert "1 passed, 1 failed, 1 known, 0 unsupported, 0 error" in capsys.readouterr().out


def test_a_folder_without_a_report_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "all")]) == 2
    assert "holds no results.jsonl" in capsys.readouterr().out
    (tmp_path / "results.jsonl").write_text('{"case": 1}\n')
    with pytest.raises(ReportError, match=r"results\.jsonl:1"):
        read(tmp_path)


def test_a_cell_is_told_once_when_its_last_case_is_through() -> None:
    lines: list[str] = []
    progress = Progress(lines.append)
    for number, outcome in enumerate((Outcome.PASSED, Outcome.ERROR)):
        assert lines == []
        progress.add("cell", outcome, cases=2, cells=4, seconds=number)
    assert lines == [
        "cell 1/4 done in 1 s: cell: 1 passed, 0 failed, 0 known, 0 unsupported, 1 error"
    ]
