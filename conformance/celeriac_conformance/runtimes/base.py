"""The port every way of running programs implements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from celeriac_conformance.broker_taps import BrokerTap, StoredResults
from celeriac_conformance.matrix import Carrier, Implementation

__all__ = [
    "CannotSetUpError",
    "Ground",
    "NotOfferedError",
    "Program",
    "Runtime",
    "WorkerOptions",
    "backend_url",
]


class CannotSetUpError(RuntimeError):
    """An implementation, server or program could not be made ready: the outcome is *error*, not *failed*."""


class NotOfferedError(CannotSetUpError):
    """This machine or runtime has no way to run it, and that is no fault: the outcome is *unsupported*."""


class Program(Protocol):
    """A running worker or driver, wherever it runs."""

    name: str
    """What to call it in messages."""

    @property
    def pid(self) -> int:
        """Process id, as the program itself sees it."""

    @property
    def stdin(self) -> IO[bytes]:
        """Its standard input; only drivers have one."""

    @property
    def stdout(self) -> IO[bytes]:
        """Its standard output; only drivers have one."""

    @property
    def status(self) -> int | None:
        """Exit status (negative: killed by that signal), or None while it runs."""

    def check(self) -> None:
        """Raise `ProcessEndedError`, with the end of its log, when the program has ended."""

    def tail(self) -> str:
        """Return the end of its log, for humans."""

    def signal(self, number: int) -> None:
        """Send one signal to the program alone."""

    def stop(self, grace_s: float = 10.0) -> int:
        """Terminate the program and everything it started; return its exit status."""


@dataclass(frozen=True)
class Ground:
    """Broker and result store of one cell: fresh, and nobody else's."""

    broker_url: str
    backend_url: str
    broker: BrokerTap
    results: StoredResults | None
    """Raw access to stored results, where they are stored."""
    folder: Path
    """Where this cell's journal, logs and marker files go."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Settings of every app of this cell, from its carrier."""

    @property
    def journal(self) -> Path:
        """File the tasks of this cell write to."""
        return self.folder / "journal.jsonl"


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """How to start a worker."""

    queues: Sequence[str] = ("celery",)
    pool: str = "prefork"
    concurrency: int = 2
    name: str = "conformance"
    loglevel: str = "INFO"
    settings: Mapping[str, object] = field(default_factory=dict)
    extra: Sequence[str] = ()
    """More command-line arguments."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """More variables of its environment."""


def backend_url(kind: str, folder: Path) -> str:
    """Return the URL of a result backend that needs no server of its own.

    Args:
        kind: ``rpc``, or ``database``: a file in the cell's folder.
        folder: The cell's.
    """
    return f"db+sqlite:///{folder / 'results.sqlite'}" if kind == "database" else f"{kind}://"


class Runtime(ABC):
    """Starts servers, workers and drivers, and takes them away again."""

    folder: Path
    """Where the folders of the cells are."""

    @abstractmethod
    def prepare(self, implementation: Implementation) -> None:
        """Make an implementation ready to run, e.g. build its environment. Slow the first time.

        Raises:
            CannotSetUpError: It cannot be made ready.
        """

    def prepare_carrier(self, carrier: Carrier) -> None:
        """Make the servers of a carrier ready to start.

        Raises:
            CannotSetUpError: They cannot be made ready.
        """

    @abstractmethod
    def open_ground(self, carrier: Carrier, name: str) -> Ground:
        """Give a cell its own broker and result store.

        Raises:
            CannotSetUpError: A server cannot be started.
        """

    @abstractmethod
    def start_worker(
        self, implementation: Implementation, ground: Ground, options: WorkerOptions
    ) -> Program:
        """Start a worker the way a user would. It may not be ready yet when this returns."""

    @abstractmethod
    def start_driver(
        self, implementation: Implementation, ground: Ground, settings: Mapping[str, object]
    ) -> Program:
        """Start the producer driver, with pipes."""

    @abstractmethod
    def close(self, *, keep_logs: bool = False) -> None:
        """Stop every server; remove journals and logs, unless they are to be kept."""
