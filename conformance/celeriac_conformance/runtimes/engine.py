"""The Docker engine as one run uses it: a network of its own, labels on everything, and a sweep that always comes.

What a run starts carries its label. Three nets catch it: `Engine.close`, an `atexit` sweep, and a watcher process that
sweeps when this process is gone, however it went.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import time
import uuid
from typing import Any

import docker.errors
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.network import Network

from celeriac_conformance.runtimes.base import CannotSetUpError
from celeriac_conformance.runtimes.commands import CHECKOUT

__all__ = ["LABEL", "LOOPBACK", "Engine", "sweep"]

LABEL = "celeriac.conformance.run"
"""Label of every container and network; its value names the run, and begins with the process id of the suite."""
LOOPBACK = "127.0.0.1"
_SWEEPS = 20
_SWEEP_PAUSE_S = 0.3


class Engine:
    """Starts containers of one run on one network.

    Raises:
        CannotSetUpError: No engine answers.
    """

    def __init__(self) -> None:
        # Its image cannot be had where no registry is reached, and it knows nothing of the watcher.
        testcontainers_config.ryuk_disabled = True
        try:
            self.client: Any = DockerClient().client
            info = self.client.info()
        except (docker.errors.DockerException, OSError) as error:
            raise CannotSetUpError(
                f"no Docker engine answers ({error}); scripts/install_system.sh docker starts one on Debian"
            ) from error
        self.run = f"{os.getpid()}-{uuid.uuid4().hex}"
        self._network: Network | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        rootless = any("rootless" in option for option in info.get("SecurityOptions") or ())
        self.user = "0:0" if rootless else f"{os.getuid()}:{os.getgid()}"
        """Who writes to mounted folders: what a container leaves there belongs to whoever runs the suite."""

    def container(self, image: str, *aliases: str, **options: Any) -> DockerContainer:
        """Describe a container on this run's network; `start` it, and `remove` it afterwards.

        Args:
            image: What to run.
            aliases: Names it has on the network.
            options: Passed to the engine when it is created.
        """
        made = DockerContainer(image, **options, labels={LABEL: self.run}).with_network(
            self._open_network()
        )
        return made.with_network_aliases(*aliases) if aliases else made

    def _open_network(self) -> Network:
        if self._network is None:
            self._watcher = self._watch()
            atexit.register(self.close)
            self._network = Network(docker_network_kw={"labels": {LABEL: self.run}}).create()
        return self._network

    def _watch(self) -> subprocess.Popen[bytes]:
        """Start the process that sweeps when this one is gone: its standard input ends then."""
        return subprocess.Popen(
            [sys.executable, "-m", "celeriac_conformance.runtimes.watcher", self.run],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT / "conformance")},
            start_new_session=True,
        )

    def close(self) -> None:
        """Remove whatever this run still has."""
        atexit.unregister(self.close)
        if self._network is not None:
            sweep(self.client, self.run)
            self._network._docker.client.close()
            self._network = None
        if self._watcher is not None and self._watcher.stdin is not None:
            self._watcher.stdin.close()
            self._watcher.wait()
            self._watcher = None
        self.client.close()


def sweep(client: Any, run: str) -> int:
    """Remove every container and network of a run, also those that are just being made; return how many there were.

    Args:
        client: A client of the engine.
        run: Value of `LABEL`.

    Raises:
        CannotSetUpError: Some could not be removed.
    """
    wanted = {"label": f"{LABEL}={run}"}
    removed = 0
    for _ in range(_SWEEPS):
        containers = client.containers.list(all=True, filters=wanted, ignore_removed=True)
        networks = client.networks.list(filters=wanted)
        if not containers and not networks:
            return removed
        done = sum(_remove(thing) for thing in (*containers, *networks))
        removed += done
        if not done:
            time.sleep(_SWEEP_PAUSE_S)
    raise CannotSetUpError(f"containers or networks with the label {LABEL}={run} are left")


def _remove(thing: Any) -> int:
    options = {"force": True, "v": True} if hasattr(thing, "kill") else {}
    try:
        thing.remove(**options)
    except docker.errors.APIError:
        # Gone meanwhile, or a network that a container is just leaving: the next round looks again, and the last
        # one fails.
        return 0
    return 1
