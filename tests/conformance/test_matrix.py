"""The matrix file: cells, their ids, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from celeriac_conformance.matrix import MatrixError, read_matrix
from tests.conformance.helpers import CHECKOUT, matrix_text

OURS = CHECKOUT / "conformance" / "matrix.toml"


def read(tmp_path: Path, text: str) -> object:
    """Read a matrix from a text."""
    path = tmp_path / "matrix.toml"
    path.write_text(text)
    return read_matrix(path)


def test_the_ids_of_our_cells_are_stable() -> None:
    assert [cell.id for cell in read_matrix(OURS).cells] == [
        "celery-5.7.0.to.celeriac-redis",
        "celery-5.7.0.to.celeriac-rabbitmq",
        "celery-5.7.0.to.celeriac-rabbitmq-redis",
        "celery-5.7.0.to.celery-5.7.0-redis",
        "celery-5.7.0.to.celery-5.7.0-rabbitmq",
        "celery-5.7.0.to.celery-5.7.0-rabbitmq-redis",
    ]


def test_every_requirement_is_pinned_exactly() -> None:
    for implementation in read_matrix(OURS).implementations.values():
        assert all("==" in requirement for requirement in implementation.requirements)


def test_controls_come_first_and_along_with_the_cells_they_control() -> None:
    chosen = read_matrix(OURS).select(["*.to.celeriac-redis"])
    assert [cell.id for cell in chosen] == [
        "celery-5.7.0.to.celery-5.7.0-redis",
        "celery-5.7.0.to.celeriac-redis",
    ]


@pytest.mark.parametrize(
    ("control", "controls", "tested"), [("run", 3, 3), ("skip", 0, 3), ("only", 3, 0)]
)
def test_controls_can_be_left_out_or_run_alone(control: str, controls: int, tested: int) -> None:
    chosen = read_matrix(OURS).select(control=control)
    assert sum(cell.is_control for cell in chosen) == controls
    assert sum(not cell.is_control for cell in chosen) == tested


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
