"""Redis and RabbitMQ of our own, as plain processes on free loopback ports.

Standard library only, so that any test may borrow these launchers. Readiness is asked of the server itself over its
port (a `PING`, an AMQP protocol header), never read from its log.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from celeriac_conformance.processes import ManagedProcess

__all__ = [
    "MissingServerError",
    "RabbitServer",
    "RedisServer",
    "Server",
    "answers",
    "free_port",
]

_POLL_S = 0.05
_DEBIAN_RABBIT = Path("/usr/lib/rabbitmq/bin")
"""Debian's `rabbitmq-server` on PATH is a wrapper that changes user and folder; the script behind it does not."""


class MissingServerError(RuntimeError):
    """The server program is not installed on this machine."""


def free_port() -> int:
    """Return a TCP port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _program(name: str, *folders: Path) -> str:
    """Find a server program, in `folders` first."""
    for folder in folders:
        if (folder / name).exists():
            return str(folder / name)
    found = shutil.which(name) or shutil.which(
        name, path="/usr/sbin:/usr/local/sbin:/usr/local/bin"
    )
    if found is None:
        raise MissingServerError(f"{name} is not installed (Debian: apt-get install {name})")
    return found


def answers(port: int, question: bytes, expected: bytes) -> bool:
    """Say whether the server on `port` answers `question` with something that starts with `expected`."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(question)
            return connection.recv(16).startswith(expected)
    except OSError:
        return False


class Server:
    """One server process with a folder of its own; a context manager. Subclasses say how to start and probe it."""

    name = "server"
    ready_within_s = 60.0

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"celeriac-{self.name}-"))
        self.processes: list[ManagedProcess] = []

    def start(self) -> Self:
        """Start the server and wait until it answers.

        Raises:
            MissingServerError: Its program is not installed.
            TimeoutError: It did not answer in time; the message ends with its log.
        """
        try:
            self._launch()
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop it and remove its folder."""
        for process in reversed(self.processes):
            process.stop()
        self.processes.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _launch(self) -> None:
        raise NotImplementedError

    def _is_ready(self) -> bool:
        raise NotImplementedError

    def _wait(self) -> None:
        deadline = time.monotonic() + self.ready_within_s
        while not self._is_ready():
            for process in self.processes:
                process.check()
            if time.monotonic() > deadline:
                tails = "\n".join(process.tail() for process in self.processes)
                raise TimeoutError(
                    f"{self.name} is not ready after {self.ready_within_s} s\n{tails}"
                )
            time.sleep(_POLL_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class RedisServer(Server):
    """A `redis-server` that keeps nothing on disk."""

    name = "redis"

    def url(self, database: int = 0) -> str:
        """Return the URL of one of its 16 numbered databases."""
        return f"redis://127.0.0.1:{self.port}/{database}"

    def _launch(self) -> None:
        command = [_program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        self.processes.append(
            ManagedProcess(
                "redis-server", command, log=self.folder / "redis.log", env=dict(os.environ)
            )
        )

    def _is_ready(self) -> bool:
        return answers(self.port, b"PING\r\n", b"+PONG")


class RabbitServer(Server):
    """A `rabbitmq-server` node with a port mapper (epmd) of its own.

    Args:
        with_management: Switch its management plugin on; `management_url` tells where it listens.
    """

    name = "rabbitmq-server"

    def __init__(self, *, with_management: bool = False) -> None:
        super().__init__()
        self._management_port = free_port() if with_management else None
        self._distribution_port = free_port()
        self._mapper_port = free_port()
        self._node = f"celeriac{self.port}@localhost"

    def url(self, vhost: str = "/") -> str:
        """Return the AMQP URL of one virtual host."""
        path = "/" if vhost == "/" else f"/{vhost}"
        return f"amqp://guest:guest@127.0.0.1:{self.port}{path}"

    @property
    def management_url(self) -> str:
        """The URL of its management plugin."""
        return f"http://guest:guest@127.0.0.1:{self._management_port}"

    def add_vhost(self, vhost: str) -> str:
        """Create a virtual host for `guest` and return its URL."""
        self.control("add_vhost", vhost)
        self.control("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")
        return self.url(vhost)

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` against this node and return what it prints (takes a second or two).

        Raises:
            subprocess.CalledProcessError: The command failed.
        """
        done = subprocess.run(
            [_program("rabbitmqctl", _DEBIAN_RABBIT), "--quiet", *arguments],
            env=self._environment(),
            cwd=self.folder,
            capture_output=True,
            check=True,
            text=True,
            timeout=60,
        )
        return done.stdout

    def _environment(self) -> dict[str, str]:
        folder = self.folder
        return {
            **os.environ,
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._mapper_port),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_PID_FILE": str(folder / "rabbitmq.pid"),
        }

    def _launch(self) -> None:
        server, mapper = _program("rabbitmq-server", _DEBIAN_RABBIT), _program("epmd")
        plugins = "[]." if self._management_port is None else "[rabbitmq_management]."
        (self.folder / "enabled_plugins").write_text(f"{plugins}\n")
        if self._management_port is not None:
            (self.folder / "rabbitmq.conf").write_text(
                f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self._management_port}\n"
            )
        environment = self._environment()
        # Started by us, in the foreground: the one RabbitMQ would start is a daemon that outlives the node.
        self.processes.append(
            ManagedProcess(
                "epmd",
                [mapper, "-port", str(self._mapper_port), "-address", "127.0.0.1"],
                log=self.folder / "epmd.log",
                env=environment,
            )
        )
        self.processes.append(
            ManagedProcess(
                self.name,
                [server],
                log=self.folder / "rabbitmq.log",
                env=environment,
                cwd=self.folder,
            )
        )

    def _is_ready(self) -> bool:
        return answers(self.port, b"AMQP\x00\x00\x09\x01", b"\x01\x00\x00")
