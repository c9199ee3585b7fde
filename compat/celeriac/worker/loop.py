"""The worker's one loop: it performs what the request table decides and feeds the results back in.

One turn: wait for the broker, the pool, a timer or a signal; take what the pool has to tell; fetch deliveries; wake
due tasks; fill free slots; settle what is to be settled in one go. Nothing here blocks on a task, a child or a result
backend; only `connect` may take as long as the connection time-out.

Decisions live elsewhere and are pure: `worker/intake.py` (run, hold, discard?) and `worker/request.py` (when is what
acked?). This file is the only place where their order meets I/O.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Container, Mapping, Sequence
from itertools import count
from typing import Any

from celeriac.app.outcome import Failed, Refused, Rejected, Settled
from celeriac.brokers.base import Broker, BrokerAccessError, BrokerLostError, Delivery, Tag
from celeriac.clock import Clock
from celeriac.exceptions import NotRegistered, TimeLimitExceeded
from celeriac.pools.base import Accepted, Finished, Job, Lost, Pool, PoolEvent, TimedOut
from celeriac.worker import actions, intake, lines
from celeriac.worker.connection import Reconnector
from celeriac.worker.delivery import Hooks, Request, Unreadable, read_delivery
from celeriac.worker.ended import EndedRuns, Losses, attempt_of
from celeriac.worker.holds import Holds
from celeriac.worker.payload import MarkRevoked, SettlePayload, worker_lost
from celeriac.worker.rates import RateLimiter
from celeriac.worker.request import Input, Phase, step
from celeriac.worker.service import Service
from celeriac.worker.stamps import RevokedStamps
from celeriac.worker.waiter import Waiter
from celeriac_protocol.errors import Hint

__all__ = ["Loop"]

logger = logging.getLogger("celery.worker.consumer")

FETCH_LIMIT = 64
"""Deliveries taken per turn: enough to amortise the turn, small enough to keep acks and starts prompt."""

MAX_PREFETCH = 65535
"""AMQP's prefetch count is an unsigned short."""


class Loop:
    """Consumes, dispatches and settles until told to stop.

    Args:
        broker: Not yet connected.
        pool: Already started.
        queues: `kombu.Queue` values to consume.
        tasks: Registered tasks by name; their attributes give acknowledgement policy and limits.
        prefetch: Unsettled deliveries wanted while none is held for its eta; 0: no limit.
        clock: Wall and monotonic time.
        reconnector: Back-off and give-up rule for the broker connection.
        hooks: What the worker wants to be told (signals are sent there).
        accept: Content types a protocol 1 body may have.
        revoked: Ids that must not run.
        waiter: How to wait; the default watches no signals.

    Attributes:
        observer: Told of every task on its way; None, as long as nobody wants to know, costs nothing.
        services: Whatever else lives in this loop.
        totals: Tasks taken by the pool so far, by name.
        revoked_stamps: Stamps whose tasks must not run.
        limiter: Keeps back tasks of limited types; None while there are none.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        pool: Pool,
        queues: Sequence[Any],
        tasks: Mapping[str, Any],
        prefetch: int,
        clock: Clock,
        reconnector: Reconnector,
        hooks: Hooks,
        accept: frozenset[str],
        revoked: Container[str] = frozenset(),
        waiter: Waiter | None = None,
    ) -> None:
        self.broker = broker
        self.pool = pool
        self.queues = list(queues)
        self.tasks = tasks
        self.prefetch = prefetch
        self.clock = clock
        self.reconnector = reconnector
        self.hooks = hooks
        self.accept = accept
        self.revoked = revoked
        self.waiter = waiter if waiter is not None else Waiter()
        self.connected = False
        self.stopping = False
        self.requests: dict[int, Request] = {}
        self.observer: Hooks | None = None
        self.services: list[Service] = []
        self.totals: Counter[str] = Counter()
        self.limiter: RateLimiter | None = None
        self.revoked_stamps = RevokedStamps()
        self._holds: Holds[Request] = Holds()
        self._ready: deque[Request] = deque()
        self._ended = EndedRuns()
        self._losses = Losses()
        self._acks: list[Tag] = []
        self._rejects: list[tuple[Tag, bool]] = []
        self._numbers = count()
        self._window = -1
        self._heartbeat_at: float | None = None
        self._fetch_again = True
        self._turn_again = False
        self._perform: dict[type, Callable[[Request, Any], None]] = {
            actions.Ack: self._ack,
            actions.Reject: self._reject,
            actions.Queue: self._queue,
            actions.Hold: self._hold,
            actions.Start: self._start,
            actions.Settle: self._settle,
            actions.Forget: self._forget,
            actions.Remember: self._remember,
        }
        pool.on_accepted = self._accepted_in_place

    # -- from outside ---------------------------------------------------------------------------------------------

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Turn until stopped and idle. Raises `BrokerAccessError` when the first connection is refused for good."""
        while True:
            if should_stop() and not self.stopping:
                self.stop()
            if self.stopping and not self.requests:
                break
            self.turn()
        self.flush()

    def stop(self) -> None:
        """Warm shutdown: fetch no more, give back what has not started, let the rest end."""
        self.stopping = True
        for service in self.services:
            service.stop()
        if self.connected:
            self._guarded(self.broker.cancel)
        for request in list(self.requests.values()):
            self.feed(request, Input.STOPPING)
        self.flush()

    def abandon(self) -> list[Request]:
        """After the pool was killed: give back what can be, return the runs whose message is gone."""
        for service in self.services:
            service.stop()
        gone = []
        for request in list(self.requests.values()):
            if not request.state.settled:
                self._rejects.append((request.tag, True))
            elif not request.state.comes_again:
                gone.append(request)
        self.requests.clear()
        self.flush()
        return gone

    def turn(self) -> None:
        """One turn of the loop."""
        if not self.connected and not self.stopping:
            self._connect_when_due()
            if self.connected:
                # Monitors hear of the worker before they hear of its tasks.
                self._serve(set())
        ready = self.waiter.wait(self._readers(), self.pool.writers(), self._timeout_s())
        self._turn_again = False
        for event in self.pool.poll():
            self.on_pool_event(event)
        if self.connected:
            self._guarded(self._service_broker, ready)
        now = self.clock.now()
        for request in self._holds.due(now):
            if request.state.phase is Phase.HELD:
                self._decide(request)
        self._fill_slots()
        self.flush()
        self._serve(ready)

    def _serve(self, ready: set[int]) -> None:
        for service in self.services:
            service.serve(ready, self.clock.monotonic())

    @property
    def window(self) -> int:
        """Unsettled deliveries allowed now; 0: no limit."""
        return self._wanted_window()

    @property
    def has_waiting(self) -> bool:
        """Whether tasks wait for a slot."""
        return bool(self._ready)

    # -- remote control -------------------------------------------------------------------------------------------

    def discard_revoked(self, ids: Container[str]) -> None:
        """Discard what waits for a slot under one of these ids, or under a revoked stamp.

        What waits for its eta is discarded when due.
        """
        for request in list(self.requests.values()):
            if request.state.phase not in (Phase.READY, Phase.LIMITED):
                continue
            stamps = self.revoked_stamps.match(request.headers) if self.revoked_stamps else None
            if stamps or request.id in ids:
                self._discard(request, "revoked", stamps)
        if self.limiter is not None:
            self.limiter.prune()

    def mark_revoked(self, ids: tuple[str, ...]) -> None:
        """Have REVOKED stored for ids that have not begun."""
        self.pool.settle(Job(next(self._numbers), MarkRevoked(ids)))

    def terminate(self, request: Request, signum: int) -> None:
        """Signal the child that runs a request; its end is then reported as REVOKED."""
        request.terminated = signum
        if not self.pool.terminate(request.number, signum):
            request.terminated = None

    def limit_rate(self, name: str, rate: float) -> None:
        """Start tasks of one type no more often than `rate` per second; 0: as they come."""
        if self.limiter is None:
            if not rate:
                return
            self.limiter = RateLimiter({}, self.clock, self.release)
            self.services.append(self.limiter)
        self.limiter.limit(name, rate)

    def add_queue(self, queue: Any) -> None:
        """Consume one more queue, which exists already, now and after every reconnection."""
        if any(known.name == queue.name for known in self.queues):
            return
        self.queues.append(queue)
        if self.connected and not self.stopping:
            self._fetch_again = True
            self._guarded(self.broker.add_queue, queue)

    def remove_queue(self, name: str) -> None:
        """Consume one queue less."""
        self.queues = [queue for queue in self.queues if queue.name != name]
        if self.connected and not self.stopping:
            self._guarded(self.broker.remove_queue, name)

    # -- broker ---------------------------------------------------------------------------------------------------

    def _connect_when_due(self) -> None:
        if not self.reconnector.is_due(self.clock.monotonic()):
            return
        try:
            self.broker.connect()
            self._window = self._wanted_window()
            self.broker.consume(self.queues, self._window)
        except BrokerAccessError as exc:
            self.broker.disconnect()
            self.reconnector.refused(exc, self.broker.display_url, self.clock.monotonic())
        except BrokerLostError as exc:
            self.broker.disconnect()
            self.reconnector.failed(exc, self.broker.display_url, self.clock.monotonic())
        else:
            self.connected = True
            self._fetch_again = True
            self._heartbeat_at = self.clock.monotonic()
            first = self.reconnector.succeeded()
            logger.info("Connected to %s", self.broker.display_url)
            self.hooks.connected(first=first)

    def _service_broker(self, ready: set[int]) -> None:
        now = self.clock.monotonic()
        if self._heartbeat_at is not None and now >= self._heartbeat_at:
            due_in = self.broker.heartbeat()
            self._heartbeat_at = None if due_in is None else now + due_in
        if self.stopping:
            return
        wanted = self._wanted_window()
        if wanted != self._window:
            self.broker.set_prefetch(wanted)
            self._window = wanted
            self._fetch_again = True
        filenos = set(self.broker.filenos())
        if self._fetch_again or not filenos or filenos & ready:
            deliveries = self.broker.fetch(FETCH_LIMIT)
            self._fetch_again = bool(deliveries)
            for delivery in deliveries:
                self.on_delivery(delivery)

    def _guarded(self, function: Callable[..., Any], *args: Any) -> None:
        """Call something that talks to the broker; a lost connection is handled here and nowhere else."""
        try:
            function(*args)
        except BrokerLostError as exc:
            self.on_disconnect(exc)
        except BrokerAccessError as exc:
            self.on_disconnect(exc)

    def on_disconnect(self, exc: Exception) -> None:
        """Forget what the broker will deliver again; running tasks go on."""
        if not self.connected:
            return
        logger.warning(
            "consumer: Connection to broker lost. Trying to re-establish the connection... (%r)",
            exc,
        )
        self.connected = False
        self._acks.clear()
        self._rejects.clear()
        self.broker.disconnect()
        for request in list(self.requests.values()):
            self.feed(request, Input.DISCONNECTED)
        self._holds.clear()
        self._ready.clear()
        if self.limiter is not None:
            self.limiter.prune()
        self.reconnector.lost(self.clock.monotonic())

    def flush(self) -> None:
        """Settle everything decided in this turn."""
        if not self.connected:
            self._acks.clear()
            self._rejects.clear()
            return
        if self._acks:
            tags, self._acks = self._acks, []
            self._fetch_again = True
            self._guarded(self.broker.ack, tags)
        if self._rejects and self.connected:
            rejects, self._rejects = self._rejects, []
            self._fetch_again = True
            for requeue in (False, True):
                tags = [tag for tag, again in rejects if again is requeue]
                if tags and self.connected:
                    self._guarded(
                        lambda tags=tags, requeue=requeue: self.broker.reject(tags, requeue=requeue)
                    )

    def _wanted_window(self) -> int:
        if not self.prefetch:
            return 0
        return min(self.prefetch + len(self._holds), MAX_PREFETCH)

    # -- waiting --------------------------------------------------------------------------------------------------

    def _readers(self) -> list[int]:
        readers = list(self.pool.filenos())
        if self.connected:
            readers += self.broker.filenos()
        for service in self.services:
            readers += service.filenos()
        return readers

    def _timeout_s(self) -> float | None:
        if self._turn_again or (self.connected and self._fetch_again and not self.stopping):
            return 0.0
        monotonic = self.clock.monotonic()
        limits = [
            deadline - monotonic
            for deadline in (self.pool.next_deadline(),)
            if deadline is not None
        ]
        held = self._holds.next_in_s(self.clock.now())
        if held is not None:
            limits.append(held)
        if self.connected:
            if self._heartbeat_at is not None:
                limits.append(self._heartbeat_at - monotonic)
            if self.broker.poll_interval_s is not None and not self.stopping:
                limits.append(self.broker.poll_interval_s)
        elif not self.stopping:
            limits.append(self.reconnector.due_in_s(monotonic))
        for service in self.services:
            due_in = service.due_in_s(monotonic)
            if due_in is not None:
                limits.append(due_in)
        return max(0.0, min(limits)) if limits else None

    # -- deliveries -----------------------------------------------------------------------------------------------

    def on_delivery(self, delivery: Delivery) -> None:
        """Take one delivery in."""
        request = read_delivery(delivery, next(self._numbers), self.tasks, self.accept)
        if delivery.message.delivery_info.redelivered and self._is_known(request):
            return
        self.requests[request.number] = request
        if isinstance(request.broken, Unreadable):
            error = request.broken.error
            lines.broken(error, delivery.message)
            self.hooks.rejected(delivery.message, error)
            if request.broken.has_id:
                request.detail = (request.headers.task, request.headers.id, str(error))
                self.feed(request, Input.INVALID)
            else:
                self.feed(request, Input.DROPPED if error.hint is Hint.DROP else Input.UNREADABLE)
            return
        self._decide(request)

    def _is_known(self, again: Request) -> bool:
        """Take a redelivery of what runs, or ran, here in the place of the lost delivery. Spec: transports#8 R3."""
        key = attempt_of(again)
        for request in self.requests.values():
            if request.state.comes_again and attempt_of(request) == key:
                request.tag = again.tag
                self.feed(request, Input.ADOPTED)
                return True
        settle = self._ended.pop(again)
        if settle is None:
            return False
        self._perform[type(settle)](again, settle)
        return True

    def _decide(self, request: Request) -> None:
        headers = request.headers
        decision = intake.decide(
            headers, known=self.tasks, revoked=self.revoked, now=self.clock.now()
        )
        arrived = request.state.phase is Phase.ARRIVED
        if isinstance(decision, intake.Unknown):
            lines.unknown_task(headers.task, headers.id, request.message)
            self.hooks.unknown(request)
            if self.observer is not None:
                self.observer.failed(request, NotRegistered(headers.task))
            self.feed(request, Input.UNKNOWN)
            return
        if arrived and lines.is_logging_received():
            lines.received(request.name, headers.id, request.log_data())
        if isinstance(decision, intake.Discard):
            self._discard(request, decision.reason)
            return
        if self.revoked_stamps and (hits := self.revoked_stamps.match(headers)):
            self._discard(request, "revoked", hits)
            return
        if arrived:
            self.hooks.received(request)
            if self.observer is not None:
                self.observer.received(request)
        if isinstance(decision, intake.Hold):
            request.until = decision.until
            self.feed(request, Input.HOLD)
        elif self.limiter is None or self.limiter.admits(request):
            self.feed(request, Input.RUN)
        else:
            self.feed(request, Input.LIMIT)

    def release(self, request: Request) -> None:
        """Let a request run whose rate limit allows it now."""
        self.feed(request, Input.RUN)
        self._turn_again = True

    # -- pool -----------------------------------------------------------------------------------------------------

    def _fill_slots(self) -> None:
        if not self._ready:
            return
        now = self.clock.now()
        for _ in range(self.pool.free_slots()):
            while self._ready:
                request = self._ready.popleft()
                if request.state.phase is not Phase.READY:
                    continue
                if request.headers.expires_at is not None and now > request.headers.expires_at:
                    self._discard(request, "expired")
                    continue
                self.feed(request, Input.SLOT)
                break

    def _discard(self, request: Request, reason: str, stamps: Any = None) -> None:
        lines.discarded(request.name, request.headers.id, stamps)
        request.detail = reason
        self.hooks.revoked(request, expired=reason == "expired")
        if self.observer is not None:
            self.observer.revoked(request, expired=reason == "expired")
        self.feed(request, Input.DISCARD)

    def _accepted_in_place(self, event: Accepted) -> None:
        """Called by pools that run tasks in this very thread: an early ack must be out before the task starts."""
        self.on_pool_event(event)
        self.flush()

    def on_pool_event(self, event: PoolEvent) -> None:
        """Take one report of the pool in."""
        request = self.requests.get(event.number)
        if request is None:
            return
        if isinstance(event, Finished):
            self._on_finished(request, event.outcome)
        elif isinstance(event, Accepted):
            if request.state.phase is Phase.SUBMITTED:
                self._on_accepted(request, event)
        elif isinstance(event, Lost):
            self._on_lost(request, event)
        else:
            self._on_timed_out(request, event)

    def _on_accepted(self, request: Request, event: Accepted) -> None:
        request.accepted_at, request.worker_pid = event.at, event.pid
        self.totals[request.headers.task] += 1
        if self.observer is not None:
            self.observer.accepted(request)
        self.feed(request, Input.ACCEPTED)

    def _on_lost(self, request: Request, event: Lost) -> None:
        runs = request.state.phase in (Phase.SUBMITTED, Phase.RUNNING)
        if request.terminated is not None and runs:
            request.detail = "terminated"
            for hooks in (self.hooks, self.observer):
                if hooks is not None:
                    hooks.terminated(request, request.terminated)
            self.feed(request, Input.TERMINATED)
            return
        # A task that exits by itself is told without the job's number. Spec: results-and-workflows#1.4
        request.detail = (event.exitcode, None if event.raised else event.number)
        error = worker_lost(*request.detail)
        lines.lost(error, request.name, request.headers.id)
        gives_up = request.policy.reject_on_worker_lost and self._losses.are_too_many(request)
        self.feed(request, Input.LOST_FOR_GOOD if gives_up else Input.LOST)
        if self.observer is None or not runs:
            return
        if request.state.phase is Phase.ENDED:
            self.observer.given_back(request)
        else:
            self.observer.failed(request, error)

    def _on_timed_out(self, request: Request, event: TimedOut) -> None:
        if event.soft:
            lines.soft_limit(event.limit_s, request.name, request.headers.id)
            return
        lines.hard_limit(event.limit_s, request.name, request.headers.id)
        request.detail = event.limit_s
        if self.observer is not None:
            self.observer.failed(request, TimeLimitExceeded(event.limit_s))
        self.feed(request, Input.TIMED_OUT)

    def _on_finished(self, request: Request, outcome: Any) -> None:
        if isinstance(outcome, Settled):
            if outcome.error:
                logger.error("Bookkeeping of task %s failed: %s", request.name, outcome.error)
            self.feed(request, Input.SETTLED)
        elif isinstance(outcome, Refused):
            lines.refused(outcome.reason, outcome.field, outcome.text, request.message)
            self.hooks.rejected(request.message, outcome)
            self.feed(request, Input.DROPPED if outcome.hint is Hint.DROP else Input.UNREADABLE)
        else:
            if self.observer is not None:
                self.observer.finished(request, outcome)
            if isinstance(outcome, Failed):
                self.feed(request, Input.FAILED)
            elif isinstance(outcome, Rejected):
                self.feed(request, Input.REQUEUED if outcome.requeue else Input.REJECTED)
            else:
                self.feed(request, Input.COMPLETED)

    # -- actions --------------------------------------------------------------------------------------------------

    def feed(self, request: Request, event: Input) -> None:
        """Give the table one input and perform what it answers."""
        request.state, todo = step(request.state, event, request.policy)
        for action in todo:
            self._perform[type(action)](request, action)

    def _ack(self, request: Request, action: actions.Ack) -> None:
        self._acks.append(request.tag)

    def _reject(self, request: Request, action: actions.Reject) -> None:
        self._rejects.append((request.tag, action.requeue))

    def _queue(self, request: Request, action: actions.Queue) -> None:
        self._ready.append(request)

    def _hold(self, request: Request, action: actions.Hold) -> None:
        assert request.until is not None
        self._holds.add(request.until, request)

    def _start(self, request: Request, action: actions.Start) -> None:
        hard, soft = request.limits()
        self._turn_again = self._turn_again or not tuple(self.pool.filenos())
        self.pool.submit(
            Job(request.number, request.payload(), soft_limit_s=soft, hard_limit_s=hard)
        )

    def _settle(self, request: Request, action: actions.Settle) -> None:
        self._turn_again = self._turn_again or not tuple(self.pool.filenos())
        payload = SettlePayload(action.kind, request.payload(), request.detail)
        self.pool.settle(Job(request.number, payload))

    def _remember(self, request: Request, action: actions.Remember) -> None:
        self._ended.remember(request, action.settle)

    def _forget(self, request: Request, action: actions.Forget) -> None:
        self.requests.pop(request.number, None)
