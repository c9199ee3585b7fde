"""What the distribution carries: two import packages and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import HeaderParser
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("hatchling") is None:
        pytest.skip("missing: hatchling")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    (metadata,) = (top for top in tops if top.endswith(".dist-info"))
    assert tops == {"celeriac", "celeriac_protocol", metadata}


def test_both_packages_in_the_wheel_say_that_they_are_typed(wheel: zipfile.ZipFile) -> None:
    assert {"celeriac/py.typed", "celeriac_protocol/py.typed"} <= set(wheel.namelist())


def test_every_module_of_both_packages_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    modules = {
        path.relative_to(ROOT / root).as_posix()
        for root in ("protocol", "compat")
        for path in (ROOT / root).rglob("*.py")
    }
    assert modules <= set(wheel.namelist())


def test_the_wheel_installs_the_command_and_says_what_it_needs(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "celeriac = celeriac.__main__:main" in wheel.read(entry_points).decode()
    (metadata,) = (name for name in wheel.namelist() if name.endswith("METADATA"))
    needs = HeaderParser().parsestr(wheel.read(metadata).decode()).get_all("Requires-Dist", [])
    names = {
        need.split(";")[0].rstrip(" 0123456789.<>=,") for need in needs if "extra ==" not in need
    }
    assert {"amqp", "click", "kombu"} <= names
    assert not names & {"celery", "billiard", "vine", "pytest"}


def test_the_source_distribution_can_run_its_own_tests(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "pyproject.toml", "tox.ini", "conftest.py", "LICENSE", "tests/test_packaging.py",
        "conformance/celeriac_conformance/__init__.py", "examples/demo/run.py", "Makefile",
    } <= inside  # fmt: skip


def test_every_extra_is_part_of_all_but_the_ones_for_tests() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"]) - {"all", "hypothesis"}
    (everything,) = project["optional-dependencies"]["all"]
    assert set(everything.partition("[")[2].rstrip("]").split(",")) == extras
