"""The matrix file: cells, their ids, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from celeriac_conformance.matrix import MatrixError, find_matrix, read_matrix
from tests.conformance.helpers import CHECKOUT, matrix_text

OURS = CHECKOUT / "conformance" / "matrix.toml"


def read(tmp_path: Path, text: str) -> object:
    """Read a matrix from a text."""
    path = tmp_path / "matrix.toml"
    path.write_text(text)
    return read_matrix(path)


CARRIERS = ("redis", "rabbitmq", "rabbitmq-redis")
VERSIONS = ("4.4.7", "5.0.5", "5.2.7", "5.3.6", "5.4.0", "5.5.3", "5.6.3", "5.7.0")


def test_the_ids_of_our_default_cells_are_stable() -> None:
    expected = [
        cell_id
        for carrier in CARRIERS
        for cell_id in (
            f"celery-5.7.0.to.celery-5.7.0-{carrier}",
            f"celery-5.7.0.to.celeriac-{carrier}",
            f"celeriac.to.celery-5.7.0-{carrier}",
        )
    ]
    found = [cell.id for cell in read_matrix(OURS).select(tier="default")]
    assert set(expected) <= set(found)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_full_matrix_has_every_version_in_both_directions_with_its_control(
    version: str,
) -> None:
    cells = {cell.id: cell for cell in read_matrix(OURS).select()}
    for carrier in CARRIERS:
        control = cells[f"celery-{version}.to.celery-{version}-{carrier}"]
        assert control.is_control
        for tested in (
            cells[f"celery-{version}.to.celeriac-{carrier}"],
            cells[f"celeriac.to.celery-{version}-{carrier}"],
        ):
            assert not tested.is_control
            assert tested.control_key == control.control_key


def test_celeriac_with_itself_is_judged_by_the_celery_it_names() -> None:
    cells = {cell.id: cell for cell in read_matrix(OURS).select()}
    cell, control = cells["celeriac.to.celeriac-redis"], cells["celery-5.7.0.to.celery-5.7.0-redis"]
    assert cell.control_key == control.control_key


def test_every_requirement_is_pinned_exactly() -> None:
    for implementation in read_matrix(OURS).implementations.values():
        assert all("==" in requirement for requirement in implementation.requirements)


def test_controls_come_first_and_along_with_the_cells_they_control() -> None:
    chosen = read_matrix(OURS).select(["celery-5.*.to.celeriac-redis"], tier="default")
    assert [cell.id for cell in chosen] == [
        "celery-5.7.0.to.celery-5.7.0-redis",
        "celery-5.7.0.to.celeriac-redis",
    ]


@pytest.mark.parametrize(
    ("control", "controls", "tested"), [("run", 1, 2), ("skip", 0, 2), ("only", 1, 0)]
)
def test_controls_can_be_left_out_or_run_alone(control: str, controls: int, tested: int) -> None:
    chosen = read_matrix(OURS).select(
        ["celery-5.7.0.to.celeriac-redis", "celeriac.to.celery-5.7.0-redis"], control=control
    )
    assert sum(cell.is_control for cell in chosen) == controls
    assert sum(not cell.is_control for cell in chosen) == tested


def test_the_word_after_matrix_is_a_tier_or_a_file_taken_whole() -> None:
    assert find_matrix(None, OURS) == (OURS, "default")
    assert find_matrix("default", OURS) == (OURS, "default")
    assert find_matrix("full", OURS) == (OURS, "full")
    assert find_matrix("other.toml", OURS) == (Path("other.toml"), "full")


def test_a_pattern_over_a_small_tier_says_that_there_is_more() -> None:
    with pytest.raises(MatrixError, match="and more with --matrix full"):
        read_matrix(OURS).select(["celery-4.4.7.*"], tier="default")


def test_the_default_tier_may_run_fewer_cases_of_a_cell() -> None:
    matrix = read_matrix(OURS)
    cells = {
        tier: next(
            cell for cell in matrix.select(tier=tier) if cell.id == "celeriac.to.celery-5.7.0-redis"
        )
        for tier in ("default", "full")
    }
    assert not cells["default"].runs("shutdown/warm")
    assert cells["full"].runs("shutdown/warm")
    assert cells["default"].runs("calls/plain")


def test_a_pattern_that_matches_no_cell_is_refused() -> None:
    with pytest.raises(MatrixError, match=r"'celery-9' matches no cell; there are celery-5\.7\.0"):
        read_matrix(OURS).select(["celery-9"])


def test_a_carrier_runs_the_cases_it_names() -> None:
    carrier = read_matrix(OURS).carriers["rabbitmq-redis"]
    assert carrier.carries("chords/sum")
    assert not carrier.carries("calls/unicode")


def test_a_carrier_can_leave_cases_out() -> None:
    carrier = read_matrix(OURS).carriers["rabbitmq"]
    assert carrier.carries("calls/unicode")
    assert not carrier.carries("robustness/body-empty")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[[cells]]", "[[cell]]", "unknown tables \\['cell'\\]"),
        ('library = "celeriac"', 'libary = "celeriac"', "unknown keys \\['libary'\\]"),
        ('producers = ["celeriac"]', 'producers = ["nobody"]', "producers: no such name 'nobody'"),
        ('carriers = ["redis"]', "carriers = []", "carriers: expected a list of names"),
        ('role = "tested"', 'role = "best"', "role: expected tested or control, found 'best'"),
        ('role = "tested"', 'tier = "huge"', "tier: expected default or full, found 'huge'"),
        ('role = "tested"', 'control = "nobody"', "control: no such name 'nobody'"),
        ('role = "tested"', 'roll = "tested"', r"\[\[cells\]\]: unknown keys \['roll'\]"),
        (
            'workers = ["none"]',
            'workers = ["none", "none"]',
            "two cells are called celeriac.to.none-redis",
        ),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = matrix_text(["none"])
    assert old in text
    with pytest.raises(MatrixError, match=message):
        read(tmp_path, text.replace(old, new))
