"""A broker, a pool and a clock that do what a test says, for the loop's tests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from celeriac.brokers.base import Broker, BrokerLostError, Delivery, Tag
from celeriac.clock import Clock
from celeriac.pools.base import Accepted, Finished, Job, Pool, PoolEvent
from celeriac_protocol.message import DeliveryInfo, Message, Properties

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class SimulatedClock(Clock):
    """Moves only when told."""

    def __init__(self) -> None:
        self.elapsed = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        return 1000.0 + self.elapsed

    def sleep(self, seconds: float) -> None:
        self.elapsed += seconds


class ScriptedBroker(Broker):
    """Hands out what `deliver` was given; remembers how everything was settled."""

    def __init__(self) -> None:
        self.url = self.display_url = "scripted://"
        self.poll_interval_s = 0.0
        self.waiting: list[Delivery] = []
        self.acked: list[Tag] = []
        self.rejected: list[tuple[Tag, bool]] = []
        self.windows: list[int] = []
        self.connects = 0
        self.cancelled = False
        self.consumed: list[str] = []
        self.refuse: Exception | None = None
        self.fail_next: Exception | None = None

    def deliver(
        self,
        tag: Tag,
        headers: dict[str, Any] | None = None,
        body: Any = None,
        *,
        redelivered: bool = False,
        **extra: Any,
    ) -> None:
        encoded = json.dumps([[2, 3], {}, {}] if body is None else body).encode()
        message = Message(
            {"task": "proj.add", "id": f"id-{tag}", **(headers or {})},
            Properties(content_type="application/json", content_encoding="utf-8"),
            encoded,
            DeliveryInfo(routing_key="celery", redelivered=redelivered),
        )
        self.waiting.append(Delivery(tag, message, **extra))

    def _check(self) -> None:
        if self.fail_next is not None:
            error, self.fail_next = self.fail_next, None
            raise error

    def connect(self) -> None:
        self.connects += 1
        if self.refuse is not None:
            raise self.refuse

    def disconnect(self) -> None:
        self.waiting = []

    def consume(self, queues: Sequence[Any], prefetch_count: int) -> None:
        self.windows.append(prefetch_count)
        self.consumed = [queue.name for queue in queues]

    def add_queue(self, queue: Any) -> None:
        self._check()
        self.consumed.append(queue.name)

    def remove_queue(self, name: str) -> None:
        self._check()
        self.consumed.remove(name)

    def cancel(self) -> None:
        self.cancelled = True

    def set_prefetch(self, prefetch_count: int) -> None:
        self.windows.append(prefetch_count)

    def filenos(self) -> Iterable[int]:
        return ()

    def fetch(self, limit: int) -> list[Delivery]:
        self._check()
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return taken

    def ack(self, tags: Sequence[Tag]) -> None:
        self._check()
        self.acked += tags

    def reject(self, tags: Sequence[Tag], *, requeue: bool) -> None:
        self._check()
        self.rejected += [(tag, requeue) for tag in tags]

    def renew(self, tags: Sequence[Tag]) -> None:
        raise BrokerLostError("nothing is leased here")

    def after_fork_in_child(self) -> None:
        self.waiting = []

    def heartbeat(self) -> float | None:
        return None


class ScriptedPool(Pool):
    """Takes jobs and reports what the test says."""

    name = "scripted"
    supports_hard_limit = supports_soft_limit = supports_terminate = True

    def __init__(self, size: int = 2) -> None:
        super().__init__(size, lambda payload, accept: None)
        self.jobs: dict[int, Job] = {}
        self.settling: dict[int, Job] = {}
        self.events: list[PoolEvent] = []

    def start(self) -> None:
        self.jobs.clear()

    def free_slots(self) -> int:
        return self.size - len(self.jobs)

    def submit(self, job: Job) -> None:
        assert self.free_slots() > 0
        self.jobs[job.number] = job

    def settle(self, job: Job) -> None:
        self.settling[job.number] = job

    def accept(self, number: int) -> None:
        self.events.append(Accepted(number, 4711, 0.0))

    def finish(self, number: int, outcome: Any) -> None:
        self.jobs.pop(number, None)
        self.settling.pop(number, None)
        self.events.append(Finished(number, outcome))

    def report(self, event: PoolEvent) -> None:
        self.jobs.pop(event.number, None)
        self.events.append(event)

    def filenos(self) -> Iterable[int]:
        return ()

    def poll(self) -> Sequence[PoolEvent]:
        events, self.events = self.events, []
        return events

    def next_deadline(self) -> float | None:
        return 0.0

    def terminate(self, number: int, signum: int) -> bool:
        return number in self.jobs

    def stop(self) -> None:
        self.jobs.clear()

    def kill(self) -> None:
        self.jobs.clear()

    def info(self) -> dict[str, Any]:
        return {"max-concurrency": self.size}
