"""Containers: every broker, worker and producer in one of its own, through testcontainers."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import docker.errors
from testcontainers.core.container import DockerContainer

from celeriac_conformance.broker_taps import AmqpTap, BrokerTap, RedisTap, ResultTap
from celeriac_conformance.matrix import Carrier, Implementation
from celeriac_conformance.runtimes.base import (
    CannotSetUpError,
    Ground,
    Runtime,
    WorkerOptions,
    backend_url,
)
from celeriac_conformance.runtimes.commands import (
    CHECKOUT,
    driver_command,
    program_environment,
    worker_command,
)
from celeriac_conformance.runtimes.containers import ContainerProgram
from celeriac_conformance.runtimes.engine import LOOPBACK, Engine
from celeriac_conformance.runtimes.images import SERVERS, Images
from celeriac_conformance.servers import answers

__all__ = ["DockerRuntime"]

_SOURCES = ("protocol", "compat", "conformance")
_INIT = CHECKOUT / "conformance" / "celeriac_conformance" / "drivers" / "container_init.py"
_REDIS_PORT, _AMQP_PORT = 6379, 5672
_REDIS_LIKE = ("redis", "valkey")
_READY_S = 90.0
_POLL_S = 0.05
_OPEN_FILES = 4096
"""RabbitMQ reserves memory for every file it may open, and an engine's default is a million."""


class DockerRuntime(Runtime):
    """Runs everything in containers on a network of their own.

    Sources are mounted read-only, a cell's folder read-write, both under the paths they have here: what a case hands
    to a task as a path means the same file on either side.

    Args:
        cache: Folder for locks.
        progress: Told one line whenever something slow starts.

    Raises:
        CannotSetUpError: No engine answers.
    """

    def __init__(self, cache: Path, progress: Callable[[str], None]) -> None:
        self._progress = progress
        self.engine = Engine()
        self._images = Images(self.engine.client, progress, cache / "images")
        self.folder = Path(tempfile.mkdtemp(prefix="celeriac-conformance-"))
        self._servers: dict[str, _Server] = {}
        self._grounds: list[Ground] = []
        self._started = 0

    def prepare(self, implementation: Implementation) -> None:
        self._images.python(implementation)

    def prepare_carrier(self, carrier: Carrier) -> None:
        for kind in {carrier.broker, carrier.backend} & set(SERVERS):
            self._images.server(kind)

    def open_ground(self, carrier: Carrier, name: str) -> Ground:
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        broker_url, tap = self._open_broker(carrier.broker, f"cell{len(self._grounds)}")
        if carrier.backend in _REDIS_LIKE:
            server = self._server(carrier.backend)
            url, results = server.redis_url(1), ResultTap(server.redis_url(1, LOOPBACK))
        else:
            url, results = backend_url(carrier.backend, folder), None
        ground = Ground(broker_url, url, tap, results, folder, dict(carrier.settings))
        self._grounds.append(ground)
        return ground

    def _open_broker(self, kind: str, vhost: str) -> tuple[str, BrokerTap]:
        server = self._server(kind)
        if kind in _REDIS_LIKE:
            tap = RedisTap(server.redis_url(0, LOOPBACK))
            # Cells use one server after the other; what an earlier one left behind is none of this one's business.
            tap.client.flushall()
            return server.redis_url(0), tap
        server.add_vhost(vhost)
        return server.amqp_url(vhost), AmqpTap(
            server.amqp_url(vhost, LOOPBACK),
            lambda queue: server.held(vhost, queue),
            switch_tracing_on=lambda: server.control("trace_on", "-p", vhost),
        )

    def _server(self, kind: str) -> _Server:
        if kind not in self._servers:
            self._progress(f"starting {kind}")
            self._servers[kind] = _Server(self.engine, self._images.server(kind), kind)
        return self._servers[kind]

    def start_worker(
        self, implementation: Implementation, ground: Ground, options: WorkerOptions
    ) -> ContainerProgram:
        command = worker_command("python", implementation, options, self._started + 1)
        return self.start_program(
            "worker", command, implementation, ground, options.settings, options.environment
        )

    def start_driver(
        self, implementation: Implementation, ground: Ground, settings: Mapping[str, object]
    ) -> ContainerProgram:
        command = driver_command("python", implementation)
        return self.start_program("producer", command, implementation, ground, settings)

    def start_program(
        self,
        role: str,
        command: Sequence[str],
        implementation: Implementation,
        ground: Ground,
        settings: Mapping[str, object],
        variables: Mapping[str, str] | None = None,
    ) -> ContainerProgram:
        """Run any command in a container that has an implementation.

        Args:
            role: ``worker`` or ``producer``; a producer has piped standard input and output.
            command: Program and arguments.
            implementation: Whose image.
            ground: Whose folder, and what the environment says.
            settings: Laid over the app's settings.
            variables: More of its environment.

        Raises:
            CannotSetUpError: It did not start.
        """
        self._started += 1
        state = ground.folder / f"{role}-{self._started}.state"
        log = ground.folder / f"{role}-{self._started}.log"
        pipes = role == "producer"
        container = self.engine.container(
            self._images.python(implementation),
            user=self.engine.user,
            working_dir=str(ground.folder),
            stdin_open=pipes,
        )
        container.with_command(["python", "-ISE", str(_INIT), str(state), str(log), *command])
        container.with_volume_mapping(str(ground.folder), str(ground.folder), "rw")
        for source in _SOURCES:
            container.with_volume_mapping(str(CHECKOUT / source), str(CHECKOUT / source))
        common = program_environment(implementation, ground, settings)
        container.env.update({"HOME": str(ground.folder), **common, **(variables or {})})
        name = f"{implementation.name} {role}"
        try:
            return ContainerProgram(name, container, state=state, log=log, pipes=pipes)
        except docker.errors.APIError as error:
            raise CannotSetUpError(f"{name}: {error}") from error

    def close(self, *, keep_logs: bool = False) -> None:
        for ground in self._grounds:
            ground.broker.close()
            if ground.results is not None:
                ground.results.close()
        self._grounds.clear()
        self._servers.clear()
        self.engine.close()
        if not keep_logs:
            shutil.rmtree(self.folder, ignore_errors=True)


class _Server:
    """One broker or result store, published on the loopback interface for the harness."""

    def __init__(self, engine: Engine, image: str, kind: str) -> None:
        self.kind = kind
        self._port = _REDIS_PORT if kind in _REDIS_LIKE else _AMQP_PORT
        limits = [{"Name": "nofile", "Soft": _OPEN_FILES, "Hard": _OPEN_FILES}]
        container = engine.container(image, kind, ulimits=limits)
        ports: dict[str, Any] = container.ports
        ports[str(self._port)] = (LOOPBACK, None)
        try:
            self._container: DockerContainer = container.start()
            self.published = int(container.get_exposed_port(self._port))
        except docker.errors.APIError as error:
            raise CannotSetUpError(f"{kind}: {error}") from error
        self._await_ready()

    def _await_ready(self) -> None:
        question, expected = b"PING\r\n", b"+PONG"
        if self._port == _AMQP_PORT:
            question, expected = b"AMQP\x00\x00\x09\x01", b"\x01\x00\x00"
        deadline = time.monotonic() + _READY_S
        while not answers(self.published, question, expected):
            self._container.reload()
            if self._container.status == "exited" or time.monotonic() > deadline:
                said = b"".join(self._container.get_logs()).decode("utf-8", "replace")
                raise CannotSetUpError(f"{self.kind} does not answer\n{said[-4000:]}")
            time.sleep(_POLL_S)

    def _address(self, host: str) -> str:
        return f"{LOOPBACK}:{self.published}" if host == LOOPBACK else f"{self.kind}:{self._port}"

    def redis_url(self, database: int, host: str = "") -> str:
        """Return the URL of a numbered database, on the containers' network or on the loopback interface."""
        return f"redis://{self._address(host)}/{database}"

    def amqp_url(self, vhost: str, host: str = "") -> str:
        """Return the URL of a virtual host, on the containers' network or on the loopback interface."""
        return f"amqp://guest:guest@{self._address(host)}/{vhost}"

    def add_vhost(self, vhost: str) -> None:
        """Create a virtual host for `guest`."""
        self.control("add_vhost", vhost)
        self.control("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")

    def held(self, vhost: str, queue: str) -> int:
        """Count the unacknowledged messages of a queue."""
        listing = self.control("list_queues", "-p", vhost, "name", "messages_unacknowledged")
        for line in listing.splitlines():
            name, _, count = line.partition("\t")
            if name == queue:
                return int(count)
        raise CannotSetUpError(f"RabbitMQ has no queue {queue!r}")

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` in the container and return what it prints (takes a second or two)."""
        done = self._container.exec(["rabbitmqctl", "--quiet", *arguments])
        text = done.output.decode("utf-8", "replace")
        if done.exit_code != 0:
            raise CannotSetUpError(f"rabbitmqctl {' '.join(arguments)} failed:\n{text}")
        return text
