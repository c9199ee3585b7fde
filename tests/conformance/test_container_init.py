"""The first process of a container, tried out as the ordinary program it also is."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conformance.helpers import CHECKOUT

INIT = CHECKOUT / "conformance" / "celeriac_conformance" / "drivers" / "container_init.py"


def start(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    """Start it with a state file and a log in `folder`."""
    arguments = [sys.executable, "-ISE", str(INIT), str(folder / "state"), str(folder / "log")]
    return subprocess.Popen(
        [*arguments, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder
    )


def ends(init: subprocess.Popen[bytes]) -> list[str]:
    """Wait until it ends; return the lines of its state file."""
    with init:
        init.wait(20)
    return (Path(str(init.args[-1])) / "state").read_text().splitlines()  # type: ignore[index]


def python(script: str) -> tuple[str, ...]:
    """Return a command that runs a script, with the folder as its last argument."""
    return (sys.executable, "-c", script)


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("raise SystemExit(3)", 3),
        ("pass", 0),
        ("import os; os.kill(os.getpid(), 9)", -9),
    ],
)
def test_it_writes_down_how_the_program_ended(tmp_path: Path, script: str, status: int) -> None:
    pid, ended = ends(start(tmp_path, *python(script), str(tmp_path)))
    assert pid.split()[0] == "pid"
    assert ended == f"status {status}"


def test_it_passes_signals_on_and_leaves_what_they_mean_to_the_program(tmp_path: Path) -> None:
    script = (
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "print('ready', flush=True)\n"
        "while True: signal.pause()\n"
    )
    init = start(tmp_path, *python(script), str(tmp_path))
    assert init.stdout is not None
    assert init.stdout.readline() == b"ready\n"
    init.send_signal(signal.SIGTERM)
    assert ends(init)[1] == "status 7"


def test_a_signal_without_a_handler_has_its_ordinary_effect(tmp_path: Path) -> None:
    init = start(
        tmp_path, *python("print('ready', flush=True); import time; time.sleep(60)"), str(tmp_path)
    )
    assert init.stdout is not None
    assert init.stdout.readline() == b"ready\n"
    init.send_signal(signal.SIGTERM)
    assert ends(init)[1] == "status -15"


def test_standard_error_goes_to_the_log_and_standard_output_stays(tmp_path: Path) -> None:
    script = "import sys; print(sys.stdin.readline(), end=''); sys.exit('last words')"
    init = start(tmp_path, *python(script), str(tmp_path))
    output, _ = init.communicate(b"question\n", timeout=20)
    assert output == b"question\n"
    assert (tmp_path / "log").read_text() == "last words\n"


def test_a_program_that_cannot_be_started_is_named_in_the_log(tmp_path: Path) -> None:
    assert ends(start(tmp_path, "no-such-program", str(tmp_path)))[1] == "status 127"
    assert "no-such-program: " in (tmp_path / "log").read_text()


def test_the_end_of_the_program_is_written_down_before_its_children_end(tmp_path: Path) -> None:
    # The child keeps running: outside a container it is not this program's to wait for, and not its to kill.
    script = "import subprocess, sys; subprocess.Popen(['sleep', '0.3'], stdout=-3); sys.exit(4)"
    init = start(tmp_path, *python(script), str(tmp_path))
    state = tmp_path / "state"
    deadline = time.monotonic() + 20
    while "status 4" not in (state.read_text() if state.exists() else ""):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert ends(init)[1] == "status 4"
