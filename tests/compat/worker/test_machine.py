"""App, broker and worker under any order of events: what is published ends in exactly one way, and nothing is lost.

Hypothesis publishes, delivers, begins and ends tasks, kills children and workers, cuts connections, revokes, lets time
pass, stops and starts workers. Then a last worker serves what is left, and every id must have exactly one fate:

========= ==================================================================================
done      SUCCESS is stored
failed    the task raised, or was lost with its child: FAILURE is stored
set aside refused, unknown, revoked, expired or rejected: it did not run to an end, and says so
queued    it lies in the queue, or is held for its eta
========= ==================================================================================

Two things are allowed, and only where the semantics say so. A task acknowledged early that runs in a worker which is
killed is gone. A run is repeated when its message was not acknowledged and nobody is left who knows that it ran.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from celeriac.app.app import Celery
from celeriac.brokers.memory import MemoryServer
from celeriac.exceptions import Reject
from celeriac.worker.delivery import Request
from celeriac.worker.loop import Loop
from celeriac_protocol.message import Message
from celeriac_protocol.strategies import broken_messages
from celeriac_protocol.task import read_headers
from tests.compat.worker.stepping import QUEUE, Site, Worker

KINDS = ("early", "late", "stubborn")
"""Acknowledged before the run; after it; after it, and given back when the child dies."""
ENDS = ("return", "raise", "reject", "retry")
_MARK = "x-number"
_numbers = count()


def make_app() -> Celery:
    app = Celery("machine", broker="memory://", backend="cache+memory://", set_as_current=False)
    options: dict[str, dict[str, Any]] = {
        "early": {},
        "late": {"acks_late": True},
        "stubborn": {"acks_late": True, "reject_on_worker_lost": True},
    }

    def body(self: Any, end: str) -> str:
        if end == "raise":
            raise ValueError(end)
        if end == "reject":
            raise Reject(end, requeue=False)
        if end == "retry" and not self.request.retries:
            raise self.retry(countdown=0)
        return end

    for kind in KINDS:
        app.task(body, name=f"machine.{kind}", bind=True, shared=False, **options[kind])
    app.finalize()
    return app


APP = make_app()


class WorkerMachine(RuleBasedStateMachine):
    """The rules."""

    published = Bundle("published")

    @initialize()
    def open(self) -> None:
        self.site = Site(APP, f"memory://machine-{next(_numbers)}")
        self.kinds: dict[str, str] = {}
        self.broken: set[str] = set()
        self.begun: Counter[tuple[str, int]] = Counter()
        self.repeats: Counter[tuple[str, int]] = Counter()
        self.gone: set[str] = set()
        self.worker: Worker | None = Worker(self.site)

    # -- producers ----------------------------------------------------------------------------

    @rule(
        target=published,
        kind=st.sampled_from([*KINDS, "unknown"]),
        end=st.sampled_from(ENDS),
        eta_s=st.none() | st.integers(-60, 60),
        expires_s=st.none() | st.integers(-60, 60),
    )
    def publish(self, kind: str, end: str, eta_s: int | None, expires_s: int | None) -> str:
        task_id = f"call-{next(_numbers)}"
        now = self.site.clock.now()
        times: dict[str, Any] = {
            name: now + timedelta(seconds=seconds)
            for name, seconds in (("eta", eta_s), ("expires", expires_s))
            if seconds is not None
        }
        APP.send_task(
            f"machine.{kind}",
            [end],
            task_id=task_id,
            queue=QUEUE,
            headers={_MARK: task_id},
            **times,
        )
        self.kinds[task_id] = kind
        return task_id

    @rule(broken=broken_messages(protocol=2, names=st.just("machine.early")))
    def publish_broken(self, broken: Any) -> None:
        mark = f"broken-{next(_numbers)}"
        message: Message = broken.message
        headers = {**message.headers, _MARK: mark}
        # The times that the strategy draws say nothing about the fault, but would hide it.
        for name in ("eta", "expires"):
            if f"'{name}'" not in broken.field:
                headers[name] = None
        if "'id'" not in broken.field:
            headers["id"] = mark
        APP.publisher.publish(Message(headers, message.properties, message.body), routing_key=QUEUE)
        self.broken.add(mark)

    # -- the worker ---------------------------------------------------------------------------

    @precondition(lambda self: self.worker is not None)
    @rule()
    def turn(self) -> None:
        assert self.worker is not None
        self.worker.loop.turn()

    @precondition(lambda self: self.worker is not None and self.worker.pool.waiting())
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        assert self.worker is not None
        self._begin(data.draw(st.sampled_from(self.worker.pool.waiting())))

    def _begin(self, number: int) -> None:
        assert self.worker is not None
        attempt = None
        payload = self.worker.pool.jobs[number].payload
        if self.worker.pool.begin(number) is not None:
            attempt = self.site.attempt(payload)
            self.begun[attempt] += 1

    @precondition(lambda self: self.worker is not None and self.worker.pool.begun)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        assert self.worker is not None
        self.worker.pool.end(data.draw(st.sampled_from(sorted(self.worker.pool.begun))))

    @precondition(lambda self: self.worker is not None and self.worker.pool.jobs)
    @rule(data=st.data())
    def kill_child(self, data: st.DataObject) -> None:
        assert self.worker is not None
        pool = self.worker.pool
        number = data.draw(st.sampled_from(sorted(pool.jobs)))
        # A broken message that is lost with its child before anybody has read it is a lost call like any other.
        self.broken.discard(str(pool.jobs[number].payload.message().headers[_MARK]))
        if number in pool.begun and self.kinds[self.worker.id_of(number)] == "stubborn":
            self.repeats[self.site.attempt(pool.jobs[number].payload)] += 1
        pool.lose(number)

    @rule(task_id=published)
    def revoke(self, task_id: str) -> None:
        self.site.revoked.add(task_id)
        if self.worker is not None:
            self.worker.loop.discard_revoked({task_id})

    @rule(seconds=st.integers(1, 60))
    def let_time_pass(self, seconds: int) -> None:
        self.site.clock.sleep(seconds)

    # -- what goes wrong ----------------------------------------------------------------------

    @rule()
    def cut_connections(self) -> None:
        self.site.server.cut()

    @precondition(lambda self: self.worker is not None)
    @rule()
    def kill_worker(self) -> None:
        assert self.worker is not None
        self.worker.broker.disconnect()
        self._nobody_knows()

    def _nobody_knows(self) -> None:
        """A worker is gone: whatever it had begun is repeated if its message is still there, else it is lost."""
        still_there = {
            _attempt(message)
            for message in self.site.queued()
            if message.headers[_MARK] not in self.broken
        }
        for attempt, times in self.begun.items():
            task_id, _ = attempt
            if attempt in still_there:
                # Early ones too: the acknowledgement itself may have been lost with a connection.
                self.repeats[attempt] = max(self.repeats[attempt], times)
            elif self._state(task_id) not in ("SUCCESS", "FAILURE", "REVOKED"):
                self.gone.add(task_id)
        self.worker = None

    @precondition(lambda self: self.worker is None)
    @rule()
    def start_worker(self) -> None:
        self.worker = Worker(self.site)

    @precondition(lambda self: self.worker is not None)
    @rule()
    def stop_worker(self) -> None:
        """Warm: what runs ends, everything else goes back."""
        assert self.worker is not None
        self.worker.loop.stop()
        self._let_running_tasks_end()
        self.worker.broker.disconnect()
        gone = set(self.gone)
        self._nobody_knows()
        assert self.gone == gone

    # -- what must hold -----------------------------------------------------------------------

    @invariant()
    def a_run_is_repeated_only_where_it_may_be(self) -> None:
        for attempt, times in getattr(self, "begun", {}).items():
            assert times <= 1 + self.repeats[attempt], attempt

    def teardown(self) -> None:
        if not hasattr(self, "site"):
            return
        self._serve_what_is_left()
        for task_id, kind in self.kinds.items():
            fates = self._fates(task_id, kind)
            assert len(fates) == 1 or (task_id in self.gone and not fates), (task_id, kind, fates)
        refused = Counter(message.headers[_MARK] for message in self.site.refused)
        left = {message.headers[_MARK] for message in self.site.queued()}
        assert not self.broken & left
        assert self.broken <= set(refused)
        MemoryServer.forget(self.site.url)

    def _serve_what_is_left(self) -> None:
        if self.worker is None:
            self.worker = Worker(self.site)
        quiet = 0
        for _ in range(200):
            if quiet == 3:
                break
            self.site.clock.sleep(10)
            before = self.site.server.acknowledged, len(self.site.server.discarded)
            self.worker.loop.turn()
            self._let_running_tasks_end()
            after = self.site.server.acknowledged, len(self.site.server.discarded)
            quiet = quiet + 1 if before == after and not self.worker.loop.requests else 0
            self.a_run_is_repeated_only_where_it_may_be()
        assert quiet == 3, "the worker never comes to rest"

    def _let_running_tasks_end(self) -> None:
        assert self.worker is not None
        pool = self.worker.pool
        while pool.jobs or pool.events:
            for number in pool.waiting():
                self._begin(number)
            for number in sorted(pool.begun):
                pool.end(number)
            self.worker.loop.turn()

    def _state(self, task_id: str) -> str:
        return str(APP.backend.fetch(task_id).status)

    def _fates(self, task_id: str, kind: str) -> set[str]:
        state = self._state(task_id)
        fates = set()
        if task_id in {message.headers.get(_MARK) for message in self.site.queued()}:
            fates.add("queued")
        rejected = {message.headers.get(_MARK) for message in self.site.server.discarded}
        if state == "REVOKED" or (
            task_id in rejected and (kind == "unknown" or state != "FAILURE")
        ):
            fates.add("set aside")
        elif state == "FAILURE":
            fates.add("failed")
        if state == "SUCCESS":
            fates.add("done")
        return fates


def _attempt(message: Message) -> tuple[str, int]:
    headers = read_headers(message)
    assert headers is not None
    return headers.id, headers.retries


EXAMPLES = max(50, settings().max_examples // 2)
TestWorkerMachine = WorkerMachine.TestCase
TestWorkerMachine.settings = settings(max_examples=EXAMPLES, stateful_step_count=30)


def _runs_again(loop: Loop, again: Request) -> bool:
    return False


def _acks_what_is_lost(loop: Loop, request: Request, action: Any) -> None:
    loop._acks.append(request.tag)


FAULTS: dict[str, tuple[str, Any]] = {
    "runs again what it runs already": ("_is_known", _runs_again),
    "acknowledges what it has to give back": ("_reject", _acks_what_is_lost),
    "never starts anything": ("_fill_slots", lambda loop: None),
}


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    # Thousands of refused and failed tasks: writing them down takes longer than serving them.
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_machine_notices_a_worker_that(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, wrong = FAULTS[fault]
    monkeypatch.setattr(Loop, name, wrong)
    quick = settings(
        max_examples=500,
        stateful_step_count=25,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(WorkerMachine, settings=quick)
