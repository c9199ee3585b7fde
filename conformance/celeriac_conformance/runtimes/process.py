"""Plain processes: virtual environments for implementations, servers of our own on loopback ports."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from celeriac_conformance.broker_taps import (
    AmqpTap,
    BrokerTap,
    RedisTap,
    ResultTap,
    StoredResults,
)
from celeriac_conformance.database_tap import DatabaseTap
from celeriac_conformance.environments import Environments
from celeriac_conformance.matrix import Carrier, Implementation
from celeriac_conformance.processes import ManagedProcess
from celeriac_conformance.runtimes.base import (
    CannotSetUpError,
    Ground,
    Runtime,
    WorkerOptions,
    backend_url,
)
from celeriac_conformance.runtimes.commands import (
    driver_command,
    program_environment,
    worker_command,
)
from celeriac_conformance.servers import MissingServerError, RabbitServer, RedisServer

__all__ = ["ProcessRuntime"]

_KEEP = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "SSL_CERT_FILE")
"""All that a program inherits of our environment: a stray CELERY_* variable would change what is tested."""


class ProcessRuntime(Runtime):
    """Runs everything as child processes of this one.

    Args:
        environments: Where interpreters come from.
        progress: Told one line whenever something slow starts.

    `folder` holds a folder per cell, with journal and logs, until `close`.
    """

    def __init__(self, environments: Environments, progress: Callable[[str], None]) -> None:
        self._environments = environments
        self._progress = progress
        self.folder = Path(tempfile.mkdtemp(prefix="celeriac-conformance-"))
        self._rabbit: RabbitServer | None = None
        self._redis: RedisServer | None = None
        self._grounds: list[Ground] = []
        self._started = 0

    def prepare(self, implementation: Implementation) -> None:
        self._environments.python(implementation)

    def open_ground(self, carrier: Carrier, name: str) -> Ground:
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        number = len(self._grounds)
        try:
            broker_url, tap = self._open_broker(carrier.broker, f"cell{number}")
            if carrier.backend == "redis":
                url = self._open_redis().url(1)
                results: StoredResults | None = ResultTap(url)
            elif carrier.backend == "database":
                url = backend_url(carrier.backend, folder)
                results = DatabaseTap(folder / "results.sqlite")
            else:
                url, results = backend_url(carrier.backend, folder), None
        except (MissingServerError, TimeoutError) as error:
            raise CannotSetUpError(str(error)) from error
        ground = Ground(broker_url, url, tap, results, folder, dict(carrier.settings))
        self._grounds.append(ground)
        return ground

    def _open_broker(self, kind: str, vhost: str) -> tuple[str, BrokerTap]:
        if kind == "redis":
            url = self._open_redis().url(0)
            tap = RedisTap(url)
            # Cells use one server after the other; what an earlier one left behind is none of this one's business.
            tap.client.flushall()
            return url, tap
        if kind == "rabbitmq":
            if self._rabbit is None:
                self._progress("starting RabbitMQ")
                self._rabbit = RabbitServer().start()
            url = self._rabbit.add_vhost(vhost)
            control = self._rabbit.control
            return url, AmqpTap(
                url,
                lambda queue: _held(self._rabbit, vhost, queue),
                switch_tracing_on=lambda: control("trace_on", "-p", vhost),
            )
        raise CannotSetUpError(f"no broker kind {kind!r}: expected redis or rabbitmq")

    def _open_redis(self) -> RedisServer:
        if self._redis is None:
            self._redis = RedisServer().start()
        return self._redis

    def start_worker(
        self, implementation: Implementation, ground: Ground, options: WorkerOptions
    ) -> ManagedProcess:
        self._started += 1
        python = str(self._environments.python(implementation))
        command = worker_command(python, implementation, options, self._started)
        return ManagedProcess(
            f"{implementation.name} worker",
            command,
            log=ground.folder / f"worker-{self._started}.log",
            env={
                **self._child_environment(implementation, ground, options.settings),
                **options.environment,
            },
            cwd=ground.folder,
        )

    def start_driver(
        self, implementation: Implementation, ground: Ground, settings: Mapping[str, object]
    ) -> ManagedProcess:
        self._started += 1
        python = str(self._environments.python(implementation))
        return ManagedProcess(
            f"{implementation.name} producer",
            driver_command(python, implementation),
            log=ground.folder / f"producer-{self._started}.log",
            env=self._child_environment(implementation, ground, settings),
            cwd=ground.folder,
            pipes=True,
        )

    def close(self, *, keep_logs: bool = False) -> None:
        for ground in self._grounds:
            ground.broker.close()
            if ground.results is not None:
                ground.results.close()
        self._grounds.clear()
        for server in (self._redis, self._rabbit):
            if server is not None:
                server.stop()
        self._redis = self._rabbit = None
        if not keep_logs:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _child_environment(
        self, implementation: Implementation, ground: Ground, settings: Mapping[str, object]
    ) -> dict[str, str]:
        return {
            **{name: os.environ[name] for name in _KEEP if name in os.environ},
            **self._environments.variables(implementation),
            **program_environment(implementation, ground, settings),
        }


def _held(server: RabbitServer | None, vhost: str, queue: str) -> int:
    """Ask RabbitMQ how many messages of a queue are unacknowledged."""
    if server is None:
        raise CannotSetUpError("RabbitMQ is not running")
    listing = server.control("list_queues", "-p", vhost, "name", "messages_unacknowledged")
    for line in listing.splitlines():
        name, _, count = line.partition("\t")
        if name == queue:
            return int(count)
    raise CannotSetUpError(f"RabbitMQ has no queue {queue!r}")
