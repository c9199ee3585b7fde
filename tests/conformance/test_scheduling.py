"""Cells side by side: a cell and its control are one unit of work."""

from __future__ import annotations

import pytest

from celeriac_conformance.scheduling import PARTS, unit_of

CELLS = {
    "a.to.b-rabbitmq": "a/rabbitmq",
    "a.to.a-rabbitmq": "a/rabbitmq",
    "a.to.b-rabbitmq-redis": "a/rabbitmq-redis",
}


@pytest.mark.parametrize(
    ("nodeid", "unit"),
    [
        ("conformance/cases/x/test_y.py::test_z[a.to.b-rabbitmq]", "a/rabbitmq"),
        ("conformance/cases/x/test_y.py::test_z[a.to.a-rabbitmq-gzip]", "a/rabbitmq"),
        ("conformance/cases/x/test_y.py::test_z[a.to.b-rabbitmq-redis-gzip]", "a/rabbitmq-redis"),
        ("tests/compat/test_app.py::test_z[redis]", "tests/compat/test_app.py"),
        ("tests/compat/test_app.py::TestCase::test_z", "tests/compat/test_app.py"),
    ],
)
def test_a_case_goes_with_its_cell_and_anything_else_with_its_file(nodeid: str, unit: str) -> None:
    assert unit_of(nodeid, CELLS).removesuffix("/0").removesuffix("/1").removesuffix("/2") == unit


def test_a_case_and_its_control_are_in_one_unit_and_files_are_dealt_into_parts() -> None:
    files = [f"conformance/cases/area/test_{number}.py" for number in range(50)]
    tested = [unit_of(f"{file}::test_z[a.to.b-rabbitmq]", CELLS) for file in files]
    control = [unit_of(f"{file}::test_z[a.to.a-rabbitmq]", CELLS) for file in files]
    assert tested == control
    assert set(tested) == {f"a/rabbitmq/{part}" for part in range(PARTS)}
