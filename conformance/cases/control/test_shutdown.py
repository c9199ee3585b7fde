"""Signals that end a worker, while it has tasks in hand."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Call, Exchange, Gate
from celeriac_conformance.own_workers import OwnWorker, own_worker

PATIENCE_S = 30.0


@dataclass(frozen=True)
class InHand:
    """What the worker was doing when the signal came: two slots taken, more messages taken than slots."""

    gate: Gate
    early: Call
    """Runs, acknowledged before."""
    late: Call
    """Runs, to be acknowledged afterwards."""
    waiting: tuple[Call, ...]
    """Taken from the broker and not started."""


def fill(exchange: Exchange, worker: OwnWorker) -> InHand:
    """Give a worker with two slots two tasks that go on until the gate opens, and two more to wait behind them."""
    gate = exchange.gate()
    early, late = (worker.send(name, str(gate.path)) for name in ("gate", "gate_late"))
    for call in (early, late):
        exchange.wait_run(call)
    waiting = tuple(worker.send("echo", number) for number in range(2))
    assert exchange.broker.wait_unacked(worker.queue, 3) == 3
    return InHand(gate, early, late, waiting)


def ended(exchange: Exchange, worker: OwnWorker) -> int:
    """Wait for the worker's end and return its exit status."""
    exchange.eventually(lambda: worker.process.status is not None, "it ends", PATIENCE_S)
    status = worker.process.status
    assert status is not None
    return status


def back(exchange: Exchange, worker: OwnWorker, count: int) -> None:
    """Wait until so many messages wait in the queue again."""
    exchange.eventually(
        lambda: exchange.broker.ready(worker.queue) == count, f"{count} are back", PATIENCE_S
    )


def serve_the_rest(exchange: Exchange, worker: OwnWorker, calls: tuple[Call, ...]) -> None:
    """Start another worker on the queue: what was given back runs there."""
    with own_worker(exchange, queue=worker.queue):
        for call in calls:
            exchange.producer.result(call)


def has_ended(exchange: Exchange, call: Call) -> bool:
    return bool(exchange.journal.entries(event="end", id=call.id))


def await_offline(exchange: Exchange, worker: OwnWorker) -> None:
    """Wait until monitors are told that a worker stops: then its signal has had its effect."""

    def told() -> bool:
        return any(
            event["type"] == "worker-offline" and event["hostname"] == worker.node
            for event in exchange.producer.events().events
        )

    exchange.eventually(told, "worker-offline is sent", PATIENCE_S)


def check_warm(exchange: Exchange, stop: Callable[[OwnWorker], None], status: int) -> None:
    """Running tasks end, whatever their acknowledgement; the rest goes back and is served by the next worker."""
    exchange.producer.events()
    with own_worker(exchange) as worker:
        hand = fill(exchange, worker)
        stop(worker)
        await_offline(exchange, worker)
        assert worker.process.status is None
        hand.gate.open()
        assert ended(exchange, worker) == status
        for call in (hand.early, hand.late):
            assert exchange.producer.result(call) == "through"
        back(exchange, worker, 2)
        assert [exchange.journal.runs(call.id) for call in hand.waiting] == [[], []]
        serve_the_rest(exchange, worker, hand.waiting)
        counts = [len(exchange.journal.runs(c.id)) for c in (hand.early, hand.late, *hand.waiting)]
        assert counts == [1, 1, 1, 1]


def check_cold(exchange: Exchange, stop: Callable[[OwnWorker], None], status: int) -> None:
    """Running tasks are cut off; late ones and those not started go back, early ones are lost.

    What the caller of an early one is told differs on purpose and is no part of this: Celery leaves RETRY, which
    nobody will ever retry; FAILURE tells the truth.
    """
    exchange.producer.events()
    with own_worker(exchange) as worker:
        hand = fill(exchange, worker)
        stop(worker)
        assert ended(exchange, worker) == status
        back(exchange, worker, 3)
        assert not has_ended(exchange, hand.early)
        assert not has_ended(exchange, hand.late)
        hand.gate.open()
        serve_the_rest(exchange, worker, (hand.late, *hand.waiting))
        counts = [len(exchange.journal.runs(c.id)) for c in (hand.early, hand.late, *hand.waiting)]
        assert counts == [1, 2, 1, 1]
        assert not has_ended(exchange, hand.early)


def send(*signals: int) -> Callable[[OwnWorker], None]:
    """Return a way to stop: these signals, each sent when the one before has had its effect."""

    def stop(worker: OwnWorker) -> None:
        for number in signals:
            worker.process.signal(number)

    return stop


@case("shutdown/term", spec="control-and-events#5")
def test_term_lets_running_tasks_end(exchange: Exchange) -> None:
    check_warm(exchange, send(signal.SIGTERM), 0)


@case("shutdown/int", spec="control-and-events#5")
def test_int_does_the_same_and_ends_with_status_1(exchange: Exchange) -> None:
    check_warm(exchange, send(signal.SIGINT), 1)


@case("shutdown/command", spec="control-and-events#1.8 control-and-events#5")
def test_the_command_does_what_term_does(exchange: Exchange) -> None:
    def stop(worker: OwnWorker) -> None:
        request = exchange.producer.client.request
        assert request("control", method="shutdown", destination=[worker.node], timeout=1.0) == {}

    check_warm(exchange, stop, 0)


@case("shutdown/quit", spec="control-and-events#5", since="5.6")
def test_quit_cuts_running_tasks_off(exchange: Exchange) -> None:
    check_cold(exchange, send(signal.SIGQUIT), 0)


@case("shutdown/int-twice", spec="control-and-events#5", since="5.6")
def test_a_second_int_cuts_running_tasks_off(exchange: Exchange) -> None:
    def stop(worker: OwnWorker) -> None:
        worker.process.signal(signal.SIGINT)
        await_offline(exchange, worker)
        worker.process.signal(signal.SIGINT)

    check_cold(exchange, stop, 1)


@case("shutdown/term-then-quit", spec="control-and-events#5", since="5.6")
def test_quit_hastens_a_warm_stop(exchange: Exchange) -> None:
    def stop(worker: OwnWorker) -> None:
        worker.process.signal(signal.SIGTERM)
        await_offline(exchange, worker)
        worker.process.signal(signal.SIGQUIT)

    check_cold(exchange, stop, 0)


@case("shutdown/soft", spec="control-and-events#5", since="5.6")
def test_running_tasks_get_some_time_before_a_cold_stop(exchange: Exchange) -> None:
    with own_worker(exchange, settings={"worker_soft_shutdown_timeout": 6}) as worker:
        brief, long = worker.send("sleep", 2), worker.send("late_sleep", 60)
        for call in (brief, long):
            exchange.wait_run(call)
        waiting = worker.send("echo", "waits")
        worker.process.signal(signal.SIGQUIT)
        assert ended(exchange, worker) == 0
        assert exchange.producer.result(brief) == 2
        back(exchange, worker, 2)
        assert not has_ended(exchange, long)
        assert exchange.journal.runs(waiting.id) == []


@case("shutdown/remapped-term", spec="control-and-events#5", since="5.6")
def test_term_can_be_remapped_to_quit(exchange: Exchange) -> None:
    with own_worker(exchange, environment={"REMAP_SIGTERM": "SIGQUIT"}) as worker:
        hand = fill(exchange, worker)
        worker.process.signal(signal.SIGTERM)
        assert ended(exchange, worker) == 0
        back(exchange, worker, 3)
        assert not has_ended(exchange, hand.early)


@case("shutdown/eta", spec="control-and-events#5 control-and-events#4.10")
def test_calls_that_wait_for_their_eta_go_back(exchange: Exchange) -> None:
    with own_worker(exchange) as worker:
        call = worker.send("echo", "later", countdown=2000)
        assert exchange.broker.wait_unacked(worker.queue, 1) == 1
        worker.process.signal(signal.SIGTERM)
        assert ended(exchange, worker) == 0
        back(exchange, worker, 1)
        assert exchange.journal.runs(call.id) == []


@case("shutdown/idle-{name}", spec="control-and-events#5", each={"name": ["SIGTERM", "SIGQUIT"]})
def test_an_idle_worker_ends_with_status_0(exchange: Exchange, name: str) -> None:
    with own_worker(exchange) as worker:
        assert exchange.producer.result(worker.send("add", 1, 2)) == 3
        worker.process.signal(signal.Signals[name])
        assert ended(exchange, worker) == 0


@case("shutdown/offline", spec="control-and-events#2.3 control-and-events#5")
def test_monitors_are_told_when_a_worker_begins_to_stop(exchange: Exchange) -> None:
    exchange.producer.events()
    with own_worker(exchange) as worker:
        hand = fill(exchange, worker)
        worker.process.signal(signal.SIGTERM)

        await_offline(exchange, worker)
        assert worker.process.status is None
        hand.gate.open()
        assert ended(exchange, worker) == 0


@case("shutdown/killed", spec="results-and-workflows#4.4 control-and-events#5")
def test_a_late_call_of_a_killed_worker_runs_again(exchange: Exchange) -> None:
    # The shortest lease that both sides' sweeps keep: on Redis nobody else tells that a worker is dead.
    settings = {"broker_transport_options": {"visibility_timeout": 4}}
    with own_worker(exchange, settings=settings) as worker:
        hand = fill(exchange, worker)
        worker.process.signal(signal.SIGKILL)
        exchange.eventually(lambda: worker.process.status is not None, "it is dead", PATIENCE_S)
        hand.gate.open()
        with own_worker(exchange, queue=worker.queue, settings=settings):
            for call in (hand.late, *hand.waiting):
                exchange.producer.wait(call, timeout_s=200)
        runs = [len(exchange.journal.runs(c.id)) for c in (hand.early, hand.late, *hand.waiting)]
        assert runs == [1, 2, 1, 1]
