"""Programs the harness starts never outlive it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from celeriac_conformance.processes import ManagedProcess, ProcessEndedError

FAMILY = (
    "import subprocess, sys\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(child.pid, flush=True)\n"
    "child.wait()\n"
)


def start(tmp_path: Path, script: str, *, pipes: bool = True) -> ManagedProcess:
    """Start a small program."""
    return ManagedProcess(
        "program",
        [sys.executable, "-c", script],
        log=tmp_path / "log",
        env=dict(os.environ),
        pipes=pipes,
    )


def ends(pid: int, within_s: float = 5.0) -> bool:
    """Say whether a process is gone, or a zombie, before long."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        os.sched_yield()
    return False


def test_stopping_a_program_stops_its_children(tmp_path: Path) -> None:
    process = start(tmp_path, FAMILY)
    child = int(process.stdout.readline())
    assert process.stop() == -signal.SIGTERM
    assert ends(child)


def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    script = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(1, flush=True)\n"
        "time.sleep(60)\n"
    )
    process = start(tmp_path, script)
    process.stdout.readline()
    assert process.stop(grace_s=0.1) == -signal.SIGKILL


def test_a_program_that_ended_is_reported_with_its_status_and_last_words(tmp_path: Path) -> None:
    process = start(tmp_path, "import sys; sys.exit('last words')", pipes=False)
    assert ends(process.pid)
    with pytest.raises(ProcessEndedError, match="ended with status 1\nlast words"):
        process.check()


def test_programs_end_with_a_harness_that_is_killed(tmp_path: Path) -> None:
    harness = (
        "import os, sys, pathlib\n"
        "from celeriac_conformance.processes import ManagedProcess\n"
        "process = ManagedProcess('child', [sys.executable, '-c', 'import time; time.sleep(60)'],\n"
        f"    log=pathlib.Path({str(tmp_path / 'log')!r}), env=dict(os.environ))\n"
        "print(process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    environment = {**os.environ, "PYTHONPATH": "conformance"}
    done = subprocess.run(
        [sys.executable, "-c", harness], env=environment, capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL
    child = int(done.stdout)
    assert ends(child)
