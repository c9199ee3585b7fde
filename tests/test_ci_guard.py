"""The rule that a missing part fails in CI, tried on small test files of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

SKIPS_IN_A_TEST = """
import pytest

def test_with_a_server():
    pytest.skip("missing: redis-server")

def test_on_another_platform():
    pytest.skip("only on Windows")
"""
SKIPS_WHEN_COLLECTED = """
import pytest

pytest.skip("missing: a real Celery", allow_module_level=True)
"""


def run(tmp_path: Path, text: str, **environment: str) -> tuple[int, str]:
    (tmp_path / "test_sample.py").write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    inherited = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.ci_guard",
            "-p",
            "no:cacheprovider",
            str(tmp_path),
        ],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()[-1]


def test_a_missing_part_is_a_skip_at_home(tmp_path: Path) -> None:
    status, closing = run(tmp_path, SKIPS_IN_A_TEST)
    assert status == 0
    assert "2 skipped" in closing


def test_a_missing_part_is_a_failure_in_ci_and_any_other_skip_stays_one(tmp_path: Path) -> None:
    status, closing = run(tmp_path, SKIPS_IN_A_TEST, CI="true")
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 1 skipped" in closing


def test_a_part_missing_at_collection_is_an_error_in_ci(tmp_path: Path) -> None:
    status, closing = run(tmp_path, SKIPS_WHEN_COLLECTED, CI="true")
    assert status == pytest.ExitCode.INTERRUPTED
    assert "1 error" in closing
