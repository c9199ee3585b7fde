"""Running small programs in a process of their own, with `import celery` served by Celeriac."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parents[2]


def run(arguments: list[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the working tree on its path; the caller looks at the outcome."""
    path = os.pathsep.join(str(ROOT / folder) for folder in ("protocol", "compat"))
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run_with_shim(program: str, folder: Path, **environment: str) -> str:
    """Run a program under ``python -m celeriac.shim`` and return what it printed."""
    script = folder / "program.py"
    script.write_text(dedent(program), encoding="utf-8")
    done = run(["-m", "celeriac.shim", script.name], folder, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout
