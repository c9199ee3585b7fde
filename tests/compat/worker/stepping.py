"""A whole worker that moves only when told: the real loop and executor, a broker in memory, a pool moved by hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from kombu.entity import Queue

from celeriac.app.app import Celery
from celeriac.brokers.memory import MemoryBroker, MemoryPublisher, MemoryServer
from celeriac.pools.base import Accepted, Finished, Job, Lost
from celeriac.worker.connection import Reconnector
from celeriac.worker.delivery import Hooks
from celeriac.worker.execute import Executor
from celeriac.worker.loop import Loop
from celeriac.worker.payload import Payload
from celeriac_protocol import task as wire
from celeriac_protocol.errors import RemoteProtocolError
from celeriac_protocol.message import Message
from tests.compat.worker.doubles import ScriptedPool, SimulatedClock

__all__ = ["ACCEPT", "QUEUE", "Site", "SteppedPool", "Worker"]

ACCEPT = frozenset({"application/json"})
QUEUE = "celery"
_PID = 4711


class SteppedPool(ScriptedPool):
    """Takes jobs at once, begins and ends them when told, runs bookkeeping in place.

    Args:
        size: Slots.
        execute: The worker's executor.
    """

    def __init__(self, size: int, execute: Executor) -> None:
        super().__init__(size)
        self.execute = execute
        self.begun: set[int] = set()

    def waiting(self) -> list[int]:
        """Jobs that have not begun."""
        return [number for number in self.jobs if number not in self.begun]

    def begin(self, number: int) -> str | None:
        """Begin a job; return the task's id, or None when its message cannot be run."""
        payload = self.jobs[number].payload
        try:
            call = wire.decode(payload.message(), accept=ACCEPT)
        except RemoteProtocolError:
            self.finish(number, self.execute(payload, lambda: None))
            return None
        self.begun.add(number)
        self.events.append(Accepted(number, _PID, 0.0))
        return call.headers.id

    def end(self, number: int) -> None:
        """Let a job come to its end."""
        self.begun.discard(number)
        self.finish(number, self.execute(self.jobs[number].payload, lambda: None))

    def lose(self, number: int) -> None:
        """Let the child die that has a job, begun or not."""
        self.begun.discard(number)
        self.report(Lost(number, _PID, -9))

    def settle(self, job: Job) -> None:
        self.events.append(Finished(job.number, self.execute(job.payload, lambda: None)))


class _Told(Hooks):
    def __init__(self, site: Site) -> None:
        self._site = site

    def rejected(self, message: Message, error: Any) -> None:
        self._site.refused.append(message)


class Worker:
    """One worker process of a site."""

    def __init__(self, site: Site) -> None:
        self.pool = SteppedPool(2, Executor(site.app, "celery@here", accept=ACCEPT))
        self.broker = MemoryBroker(site.url, poll_interval_s=0.0)
        self.loop = Loop(
            broker=self.broker,
            pool=self.pool,
            queues=[Queue(QUEUE)],  # type: ignore[no-untyped-call]
            tasks=site.app.tasks,
            prefetch=4,
            clock=site.clock,
            reconnector=Reconnector(),
            hooks=_Told(site),
            accept=ACCEPT,
            revoked=site.revoked,
        )

    def id_of(self, number: int) -> str:
        """Return the task id of a job."""
        return self.loop.requests[number].id


class Site:
    """An app, its broker, and what is left when its worker is gone.

    Args:
        app: With its tasks.
        url: Of a broker in memory of its own.
    """

    def __init__(self, app: Celery, url: str) -> None:
        self.app = app
        self.url = url
        self.server = MemoryServer.of(url)
        self.clock = SimulatedClock()
        self.revoked: set[str] = set()
        self.refused: list[Message] = []
        app.publisher = MemoryPublisher(url)

    def queued(self) -> Iterator[Message]:
        """Yield every message that lies in the queue."""
        waiting: deque[Message] = self.server.queues[QUEUE]
        yield from waiting

    @staticmethod
    def attempt(payload: Payload) -> tuple[str, int]:
        """Return what tells one run from another that is meant: a retry counts as another."""
        headers = wire.decode(payload.message(), accept=ACCEPT).headers
        return headers.id, headers.retries
