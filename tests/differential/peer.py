"""The real Celery worker on the other side of a pipe. Nothing here knows how it works inside."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from celeriac_conformance.driver_client import DriverClient
from celeriac_conformance.environments import Environments, cache_folder
from celeriac_conformance.matrix import read_matrix
from celeriac_conformance.processes import ManagedProcess
from celeriac_protocol.message import Message, Properties

__all__ = ["Peer", "peer_python"]

CONFORMANCE = Path(__file__).resolve().parents[2] / "conformance"
IMPLEMENTATION = "celery-5.7.0"
ANSWER_TIMEOUT_S = 60.0
_ENVELOPE = frozenset({"content_type", "content_encoding", "extra"})
_PROPERTIES = tuple(each.name for each in fields(Properties) if each.name not in _ENVELOPE)


def peer_python() -> Path:
    """Return the interpreter with the pinned Celery, building its environment when there is none.

    Raises:
        CannotSetUpError: There is none, and it cannot be built.
    """
    implementation = read_matrix(CONFORMANCE / "matrix.toml").implementations[IMPLEMENTATION]
    return Environments(cache_folder(), lambda line: None).python(implementation)


class Peer:
    """One real worker that is handed messages.

    Args:
        python: Interpreter that has Celery.
        log: Where the worker's own output goes.
    """

    def __init__(self, python: Path, log: Path) -> None:
        self.process = ManagedProcess(
            "the fuzz driver",
            [str(python), "-m", "celeriac_conformance.drivers.fuzz_driver"],
            log=log,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CONFORMANCE), "TZ": "UTC"},
            pipes=True,
        )
        self._client = DriverClient(self.process)
        self.versions: Mapping[str, str] = self.ask("start")["versions"]
        self.delivered = 0

    def ask(self, command: str, **arguments: object) -> Any:
        """Perform one command of the driver."""
        return self._client.request(command, timeout_s=ANSWER_TIMEOUT_S, **arguments)

    def deliver(self, message: Message) -> dict[str, Any]:
        """Hand over one message; return what was seen of it."""
        self.delivered += 1
        properties = message.properties
        values = {
            name: value for name in _PROPERTIES if (value := getattr(properties, name)) is not None
        }
        seen: dict[str, Any] = self.ask(
            "deliver",
            message={
                "headers": None if message.headers is None else dict(message.headers),
                "body": message.body,
                "content_type": properties.content_type,
                "content_encoding": properties.content_encoding,
                "properties": {**values, **properties.extra},
            },
        )
        return seen

    def stop(self) -> None:
        """End the driver."""
        self.process.stop()
