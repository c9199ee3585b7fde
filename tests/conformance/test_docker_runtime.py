"""The docker runtime: programs in containers, published on the loopback interface only, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac_conformance.matrix import Carrier, Implementation
from celeriac_conformance.processes import ProcessEndedError
from celeriac_conformance.runtimes.base import CannotSetUpError, Ground
from celeriac_conformance.runtimes.containers import ContainerProgram
from celeriac_conformance.runtimes.docker import DockerRuntime
from celeriac_conformance.runtimes.engine import LABEL, Engine
from tests.conformance.helpers import CHECKOUT, matrix_text, run_suite

pytestmark = pytest.mark.xdist_group("docker")

OURS = Implementation(
    name="celeriac", library="celeriac", driver="celeriac_conformance.drivers.celery_driver"
)
REDIS = Carrier(name="redis", broker="redis", backend="redis")
CASE = "test_text_outside_ascii_survives_both_ways"
SUITE_OF_ONE = """
import pathlib, time
from celeriac_conformance.cases import case

@case("waits/for-ever", spec="none")
def test_waits(exchange):
    assert exchange.producer.result(exchange.producer.send("add", [1, 2])) == 3
    pathlib.Path("MARKER").touch()
    time.sleep(120)
"""


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A client of this machine's engine."""
    try:
        engine = Engine()
    except CannotSetUpError as error:
        pytest.skip(f"missing: {error}")
    yield engine.client
    engine.close()


@pytest.fixture(scope="module")
def runtime(client: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRuntime]:
    made = DockerRuntime(tmp_path_factory.mktemp("locks"), lambda line: None)
    yield made
    made.close()


@pytest.fixture(scope="module")
def ground(runtime: DockerRuntime) -> Ground:
    runtime.prepare(OURS)
    return runtime.open_ground(REDIS, "cell")


def left(client: Any, pid: int) -> list[str]:
    """Return the names of containers and networks that a process has made and not taken away."""
    wanted = {"label": LABEL}
    containers = client.containers.list(all=True, filters=wanted, ignore_removed=True)
    labels = [(thing.name, thing.labels[LABEL]) for thing in containers]
    networks = client.networks.list(filters=wanted)
    labels += [(thing.name, thing.attrs["Labels"][LABEL]) for thing in networks]
    return [name for name, label in labels if label.startswith(f"{pid}-")]


def eventually(claim: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    """Wait until a claim holds."""
    deadline = time.monotonic() + timeout_s
    while not claim():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.05)


def python(runtime: DockerRuntime, ground: Ground, script: str) -> ContainerProgram:
    """Run a script in a container, with pipes."""
    return runtime.start_program("producer", ["python", "-c", script], OURS, ground, {})


def test_ports_are_published_on_the_loopback_interface_only(
    runtime: DockerRuntime, ground: Ground, client: Any
) -> None:
    assert ground.broker.ready("celery") == 0
    containers = client.containers.list(filters={"label": f"{LABEL}={runtime.engine.run}"})
    bindings = [
        binding
        for container in containers
        for published in container.ports.values()
        for binding in published or ()
    ]
    assert [binding["HostIp"] for binding in bindings] == ["127.0.0.1"]


def test_a_program_answers_over_its_pipes_and_says_the_pid_the_harness_says(
    runtime: DockerRuntime, ground: Ground
) -> None:
    program = python(runtime, ground, "import os; print(os.getpid(), input(), flush=True); input()")
    program.stdin.write(b"question\n")
    program.stdin.flush()
    assert program.stdout.readline() == f"{program.pid} question\n".encode()
    assert program.status is None
    program.check()
    assert program.stop() in (1, -signal.SIGTERM)


def test_a_long_answer_comes_whole(runtime: DockerRuntime, ground: Ground) -> None:
    program = python(runtime, ground, "print('x' * 3_000_000)")
    read = 0
    while chunk := program.stdout.read(1 << 16):
        read += len(chunk)
    assert read == 3_000_001
    assert program.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1])
def test_a_signal_reaches_the_program(
    runtime: DockerRuntime, ground: Ground, number: signal.Signals
) -> None:
    program = python(runtime, ground, "print('up', flush=True); input()")
    assert program.stdout.readline() == b"up\n"
    program.signal(number)
    eventually(lambda: program.status == -number, "it ended by that signal")
    program.stop()


def test_a_program_that_ended_is_reported_with_its_status_and_last_words(
    runtime: DockerRuntime, ground: Ground
) -> None:
    program = python(runtime, ground, "import sys; sys.exit('last words')")
    eventually(lambda: program.status == 1, "it ended")
    with pytest.raises(ProcessEndedError, match="ended with status 1\nlast words"):
        program.check()
    program.stop()


def test_a_container_that_is_taken_away_is_noticed(runtime: DockerRuntime, ground: Ground) -> None:
    program = python(runtime, ground, "input()")
    program._wrapped.kill()
    eventually(lambda: program.status == -signal.SIGKILL, "its end is noticed")
    program.stop()


def test_what_a_program_writes_belongs_to_whoever_runs_the_suite(
    runtime: DockerRuntime, ground: Ground
) -> None:
    program = python(runtime, ground, "open('made', 'w').close()")
    eventually(lambda: program.status == 0, "it ended")
    program.stop()
    assert (ground.folder / "made").stat().st_uid == os.getuid()


def test_sources_cannot_be_changed_from_inside(runtime: DockerRuntime, ground: Ground) -> None:
    place = CHECKOUT / "conformance" / "written"
    program = python(runtime, ground, f"open({str(place)!r}, 'w')")
    eventually(lambda: program.status == 1, "it failed")
    program.stop()
    assert "Read-only file system" in program.tail()
    assert not place.exists()


def test_a_case_is_green_in_containers(tmp_path: Path, client: Any) -> None:
    run = run_suite(tmp_path, matrix_text(["none"]), [CASE], "--runtime", "docker")
    assert run.status == 0, run.output
    assert set(run.of("celeriac.to.none-redis").values()) == {"passed"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_leaves_nothing_behind(
    tmp_path: Path, client: Any, number: signal.Signals
) -> None:
    (tmp_path / "conftest.py").write_text((CHECKOUT / "conformance" / "conftest.py").read_text())
    marker = tmp_path / "marker"
    (tmp_path / "test_waits.py").write_text(SUITE_OF_ONE.replace("MARKER", str(marker)))
    (tmp_path / "matrix.toml").write_text(matrix_text(["none"]))
    (tmp_path / "known_failures.toml").write_text("")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    command += ["-c", str(CHECKOUT / "pyproject.toml"), "--confcutdir", str(tmp_path)]
    command += ["--runtime", "docker", "--matrix", str(tmp_path / "matrix.toml")]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    log = (tmp_path / "log").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log, env=environment) as run:
        try:
            eventually(
                lambda: marker.exists() or run.poll() is not None, "the case runs", timeout_s=120
            )
            assert marker.exists(), (tmp_path / "log").read_text()
            # A broker, a worker, a producer, a network.
            assert len(left(client, run.pid)) == 4
            run.send_signal(number)
            run.wait(60)
        finally:
            run.kill()
    eventually(lambda: not left(client, run.pid), "everything is gone")


def test_an_engine_that_does_not_answer_is_a_plain_message(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "conformance", "--runtime", "docker"],
        cwd=CHECKOUT,
        env={**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/nobody"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--runtime docker: no Docker engine answers" in run.stderr
    assert "Traceback" not in run.stderr
