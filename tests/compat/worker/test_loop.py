"""The loop performs what the table says, in the right order, through connection losses and stops."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac.app.outcome import Failed, Ignored, Refused, Rejected, Settled, Succeeded
from celeriac.brokers.base import BrokerAccessError, BrokerLostError
from celeriac.pools.base import Lost, TimedOut
from celeriac.worker.actions import Settlement
from celeriac.worker.connection import ConnectionGivenUpError, Reconnector
from celeriac.worker.delivery import Hooks, Request
from celeriac.worker.ended import LOSSES_AT_MOST
from celeriac.worker.loop import Loop
from celeriac.worker.payload import Payload
from celeriac_protocol.errors import BrokenEnvelopeError, Hint, Reason
from tests.compat.worker.doubles import ScriptedBroker, ScriptedPool, SimulatedClock

OK = Succeeded("5", 0.1)


def task(**options: Any) -> SimpleNamespace:
    attributes: dict[str, Any] = {
        "acks_late": False, "acks_on_failure_or_timeout": True, "acks_on_failure": None, "acks_on_timeout": None,
        "reject_on_worker_lost": None, "time_limit": None, "soft_time_limit": None,
    }  # fmt: skip
    return SimpleNamespace(**{**attributes, **options})


class Told(Hooks):
    def __init__(self) -> None:
        self.events: list[str] = []

    def connected(self, *, first: bool) -> None:
        self.events.append(f"connected first={first}")

    def received(self, request: Request) -> None:
        self.events.append(f"received {request.id}")

    def revoked(self, request: Request, *, expired: bool) -> None:
        self.events.append(f"revoked {request.id} expired={expired}")


class Bench:
    """A loop with everything around it scripted."""

    def __init__(self, **options: Any) -> None:
        self.broker = ScriptedBroker()
        self.pool = ScriptedPool()
        self.clock = SimulatedClock()
        self.told = Told()
        self.loop = Loop(
            broker=self.broker,
            pool=self.pool,
            queues=[],
            tasks={
                "proj.add": task(),
                "proj.late": task(acks_late=True),
                "proj.limited": task(time_limit=9.0),
            },
            prefetch=8,
            clock=self.clock,
            reconnector=Reconnector(),
            hooks=self.told,
            accept=frozenset({"application/json"}),
            **options,
        )

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.loop.turn()


@pytest.fixture
def bench() -> Iterator[Bench]:
    subject = Bench()
    yield subject
    subject.loop.waiter.close()


def start_one(bench: Bench, name: str = "proj.add", **headers: Any) -> int:
    bench.broker.deliver("t", {"task": name, **headers})
    bench.turn(2)
    (number,) = bench.pool.jobs
    bench.pool.accept(number)
    bench.turn()
    return number


def test_a_delivery_is_forwarded_undecoded_to_a_free_slot(bench: Bench) -> None:
    bench.broker.deliver("t", body="not even a task body")
    bench.turn(2)
    (job,) = bench.pool.jobs.values()
    assert isinstance(job.payload, Payload)
    assert job.payload.body == b'"not even a task body"'
    assert bench.broker.acked == []


def test_an_early_ack_goes_out_when_the_pool_accepts(bench: Bench) -> None:
    start_one(bench)
    assert bench.broker.acked == ["t"]


def test_a_late_ack_waits_for_the_outcome(bench: Bench) -> None:
    number = start_one(bench, "proj.late")
    assert bench.broker.acked == []
    bench.pool.finish(number, OK)
    bench.turn()
    assert bench.broker.acked == ["t"]
    assert bench.loop.requests == {}


def test_more_deliveries_than_slots_wait_their_turn_in_order(bench: Bench) -> None:
    for tag in "abcd":
        bench.broker.deliver(tag)
    bench.turn(2)
    assert sorted(bench.pool.jobs) == [0, 1]
    bench.pool.accept(0)
    bench.pool.finish(0, OK)
    bench.turn()
    assert sorted(bench.pool.jobs) == [1, 2]


def test_a_countdown_is_held_without_a_slot_and_widens_the_window(bench: Bench) -> None:
    bench.broker.deliver("t", {"eta": "2026-11-22T12:00:10+00:00"})
    bench.turn(3)
    assert bench.pool.jobs == {}
    assert bench.broker.windows == [8, 9]
    bench.clock.sleep(10)
    bench.turn()
    assert len(bench.pool.jobs) == 1
    bench.turn()
    assert bench.broker.windows[-1] == 8


def test_an_expired_call_is_recorded_as_revoked_then_acked(bench: Bench) -> None:
    bench.broker.deliver("t", {"expires": "2026-11-22T11:00:00+00:00"})
    bench.turn(2)
    (number,) = bench.pool.settling
    assert bench.pool.settling[number].payload.kind is Settlement.REVOKED
    assert bench.broker.acked == []
    bench.pool.finish(number, Settled())
    bench.turn()
    assert bench.broker.acked == ["t"]
    assert "revoked id-t expired=True" in bench.told.events


def test_a_call_that_expires_while_it_waits_for_a_slot_does_not_start(bench: Bench) -> None:
    for tag in "ab":
        bench.broker.deliver(tag)
    bench.broker.deliver("c", {"expires": "2026-11-22T12:00:05+00:00"})
    bench.turn(2)
    bench.clock.sleep(6)
    bench.pool.accept(0)
    bench.pool.finish(0, OK)
    bench.turn()
    assert [job.payload.detail for job in bench.pool.settling.values()] == ["expired"]


def test_an_unknown_task_is_recorded_then_rejected(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.broker.deliver("t", {"task": "nope"})
    bench.turn(2)
    (number,) = bench.pool.settling
    bench.pool.finish(number, Settled())
    bench.turn()
    assert bench.broker.rejected == [("t", False)]
    assert "Received unregistered task of type 'nope'" in caplog.text


def test_a_broken_envelope_is_rejected_with_reason_and_field_and_the_next_is_served(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.broker.deliver(
        "bad", broken=BrokenEnvelopeError("envelope['properties']", "an object", None)
    )
    bench.broker.deliver("good")
    bench.turn(2)
    assert bench.broker.rejected == [("bad", False)]
    assert "broken-envelope" in caplog.text
    assert "envelope['properties']" in caplog.text
    assert len(bench.pool.jobs) == 1


def test_a_broken_header_is_told_to_the_caller_and_rejected(bench: Bench) -> None:
    bench.broker.deliver("t", {"timelimit": [1, 2, 3]})
    bench.turn(2)
    (number,) = bench.pool.settling
    kind, _, (name, task_id, text) = bench.pool.settling[number].payload
    assert (kind, name, task_id) == (Settlement.INVALID, "proj.add", "id-t")
    assert "timelimit" in text
    bench.pool.finish(number, Settled())
    bench.turn()
    assert bench.broker.rejected == [("t", False)]


@pytest.mark.parametrize(
    ("hint", "acked", "rejected"), [(Hint.DROP, ["t"], []), (Hint.REJECT, [], [("t", False)])]
)
def test_a_body_refused_in_the_pool_is_settled_as_the_refusal_says(
    bench: Bench, hint: Hint, acked: list[str], rejected: list[Any]
) -> None:
    bench.broker.deliver("t")
    bench.turn(2)
    bench.pool.finish(
        0, Refused("body[2]", "body[2]: expected a mapping", Reason.INVALID_TASK, hint, stored=True)
    )
    bench.turn()
    assert (bench.broker.acked, bench.broker.rejected) == (acked, rejected)


@pytest.mark.parametrize(
    ("outcome", "acked", "rejected"),
    [
        (Failed("E()", "", 0.1), ["t"], []),
        (Ignored(), ["t"], []),
        (Rejected("no", requeue=False), [], [("t", False)]),
        (Rejected("no", requeue=True), [], [("t", True)]),
    ],
)
def test_late_tasks_are_settled_by_outcome(
    bench: Bench, outcome: Any, acked: list[str], rejected: list[Any]
) -> None:
    number = start_one(bench, "proj.late")
    bench.pool.finish(number, outcome)
    bench.turn()
    assert (bench.broker.acked, bench.broker.rejected) == (acked, rejected)


def test_a_lost_child_is_recorded_and_the_message_acked_afterwards(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    number = start_one(bench, "proj.late")
    bench.pool.report(Lost(number, 4711, -9))
    bench.turn()
    assert bench.pool.settling[number].payload.kind is Settlement.LOST
    assert bench.pool.settling[number].payload.detail == (-9, number)
    assert "signal 9 (SIGKILL)" in caplog.text
    bench.pool.finish(number, Settled())
    bench.turn()
    assert bench.broker.acked == ["t"]


def test_a_soft_limit_only_warns_and_a_hard_one_ends_the_run(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    number = start_one(bench)
    bench.pool.report(TimedOut(number, soft=True, limit_s=1.5))
    bench.turn()
    assert "Soft time limit (1.5s) exceeded for proj.add[id-t]" in caplog.text
    assert bench.pool.settling == {}
    bench.pool.report(TimedOut(number, soft=False, limit_s=2))
    bench.turn()
    assert "Hard time limit (2s) exceeded for proj.add[id-t]" in caplog.text
    assert bench.pool.settling[number].payload.detail == 2


@pytest.mark.parametrize(
    ("name", "timelimit", "expected"),
    [
        ("proj.add", [60, 30], (60, 30)),
        ("proj.add", [None, None], (None, None)),
        ("proj.limited", [None, None], (9.0, None)),
        ("proj.limited", [0, 5], (9.0, 5)),
    ],
)
def test_the_messages_limits_come_before_the_tasks(
    bench: Bench, name: str, timelimit: list[Any], expected: tuple[Any, Any]
) -> None:
    start_one(bench, name, timelimit=timelimit)
    (job,) = bench.pool.jobs.values()
    assert (job.hard_limit_s, job.soft_limit_s) == expected


def test_after_a_lost_connection_running_tasks_go_on_and_waiting_ones_are_forgotten(
    bench: Bench,
) -> None:
    number = start_one(bench, "proj.late")
    for tag in "xyz":
        bench.broker.deliver(tag)
    bench.broker.deliver("later", {"eta": "2026-11-22T13:00:00+00:00"})
    bench.turn()
    bench.broker.fail_next = BrokerLostError("reset by peer")
    bench.turn()
    assert set(bench.loop.requests) >= {number}
    assert bench.loop.connected is False
    bench.turn()
    assert bench.loop.connected is True
    assert bench.broker.connects == 2
    bench.pool.finish(number, OK)
    bench.turn()
    assert bench.broker.acked == []
    assert [request.tag for request in bench.loop.requests.values()] == ["x"]


def test_a_redelivery_of_what_runs_here_is_not_run_again_and_is_acked_in_the_end(
    bench: Bench,
) -> None:
    number = start_one(bench, "proj.late")
    bench.broker.fail_next = BrokerLostError("reset by peer")
    bench.turn(2)
    bench.broker.deliver("again", {"task": "proj.late", "id": "id-t"}, redelivered=True)
    bench.turn(2)
    assert list(bench.pool.jobs) == [number]
    bench.pool.finish(number, OK)
    bench.turn()
    assert bench.broker.acked == ["again"]
    assert bench.loop.requests == {}


def test_a_redelivery_of_what_ended_meanwhile_is_acked_without_a_run(bench: Bench) -> None:
    number = start_one(bench, "proj.late")
    bench.broker.fail_next = BrokerLostError("reset by peer")
    bench.turn()
    bench.pool.finish(number, OK)
    bench.turn()
    bench.broker.deliver("again", {"task": "proj.late", "id": "id-t"}, redelivered=True)
    bench.turn(2)
    assert bench.pool.jobs == {}
    assert bench.broker.acked == ["again"]


def test_another_attempt_of_the_same_task_is_no_redelivery(bench: Bench) -> None:
    start_one(bench, "proj.late")
    bench.broker.fail_next = BrokerLostError("reset by peer")
    bench.turn(2)
    bench.broker.deliver(
        "retry", {"task": "proj.late", "id": "id-t", "retries": 1}, redelivered=True
    )
    bench.turn(2)
    assert len(bench.pool.jobs) == 2


def test_the_loop_waits_between_attempts_and_serves_when_the_broker_is_back(bench: Bench) -> None:
    bench.broker.refuse = BrokerLostError("connection refused")
    bench.turn()
    assert (bench.broker.connects, bench.loop.connected) == (1, False)
    bench.broker.refuse = None
    bench.clock.sleep(60)
    bench.turn()
    assert bench.loop.connected is True
    assert bench.told.events == ["connected first=True"]


def test_a_refusal_at_the_first_connection_ends_the_worker(bench: Bench) -> None:
    bench.broker.refuse = BrokerAccessError("403 ACCESS_REFUSED")
    with pytest.raises(ConnectionGivenUpError):
        bench.turn()


def test_a_warm_stop_gives_back_waiting_tasks_and_waits_for_running_ones(bench: Bench) -> None:
    running = start_one(bench, "proj.late")
    second = {"task": "proj.late"}
    for tag in "abc":
        bench.broker.deliver(tag, second)
    bench.broker.deliver("eta", {"eta": "2026-11-22T13:00:00+00:00"})
    bench.turn(2)
    other = next(number for number in bench.pool.jobs if number != running)
    bench.loop.stop()
    assert bench.broker.cancelled
    assert sorted(bench.broker.rejected) == [("b", True), ("c", True), ("eta", True)]
    for number in (running, other):
        bench.pool.accept(number)
        bench.pool.finish(number, OK)
    bench.loop.run(lambda: True)
    assert sorted(map(str, bench.broker.acked)) == ["a", "t"]


def test_a_cold_stop_gives_back_late_tasks_and_names_the_early_ones_that_are_gone(
    bench: Bench,
) -> None:
    bench.broker.deliver("early")
    bench.broker.deliver("late", {"task": "proj.late"})
    bench.turn(2)
    bench.pool.accept(0)
    bench.pool.accept(1)
    bench.turn()
    gone = bench.loop.abandon()
    assert [request.tag for request in gone] == ["early"]
    assert bench.broker.rejected == [("late", True)]


def test_a_cold_stop_after_a_lost_connection_leaves_late_tasks_to_their_redelivery(
    bench: Bench,
) -> None:
    start_one(bench, "proj.late")
    bench.loop.on_disconnect(BrokerLostError("gone"))
    assert bench.loop.abandon() == []


def test_a_received_line_is_logged_with_name_and_id(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench.broker.deliver("t", {"shadow": "nice name"})
    bench.turn(2)
    assert "Task nice name[id-t] received" in caplog.text


def test_a_revoked_id_never_starts() -> None:
    bench = Bench(revoked={"id-t"})
    bench.broker.deliver("t")
    bench.turn(2)
    assert bench.pool.jobs == {}
    assert "revoked id-t expired=False" in bench.told.events
    bench.loop.waiter.close()


def test_a_task_that_takes_its_process_down_again_and_again_is_given_up() -> None:
    subject = Bench()
    try:
        subject.loop.tasks = {"proj.add": task(acks_late=True, reject_on_worker_lost=True)}
        for delivery in range(LOSSES_AT_MOST):
            subject.broker.deliver(delivery, {"id": "same"}, redelivered=delivery > 0)
            subject.turn(2)
            (number,) = subject.pool.jobs
            subject.pool.accept(number)
            subject.turn()
            subject.pool.jobs.clear()
            subject.pool.events.append(Lost(number, 4711, -9))
            subject.turn()
        assert subject.broker.rejected == [(tag, True) for tag in range(LOSSES_AT_MOST - 1)]
        (job,) = subject.pool.settling.values()
        assert job.payload.kind is Settlement.LOST
    finally:
        subject.loop.waiter.close()
