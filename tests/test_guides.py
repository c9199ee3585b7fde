"""Every Python block of the guide to fuzzing runs as it stands, in a project like the one it speaks of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.test_readme import ROOT, blocks

GUIDE = ROOT / "docs/guides/fuzz-your-tasks.md"
TASKS = """
def add(x, y):
    return x + y
"""
CONFTEST = """
from hypothesis import HealthCheck, settings
settings.register_profile("q", deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
settings.load_profile("q")
"""
TENANTS = """
def tenant_of(headers):
    return headers.get("x-tenant") or "nobody"
"""


def test_what_the_fuzzing_guide_shows_runs(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "__init__.py").touch()
    (shop / "tasks.py").write_text(TASKS)
    (shop / "tenants.py").write_text(TENANTS)
    shown = blocks(GUIDE.read_text(encoding="utf-8"), "python")
    assert len(shown) >= 3
    for number, body in enumerate(shown):
        (tmp_path / f"test_block_{number}.py").write_text(body)
    # A project of its own, without the settings of this repository, on a machine that may be slow.
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-p", "no:xdist", "--rootdir", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert f"{sum(body.count('def test_') for body in shown)} passed" in done.stdout
