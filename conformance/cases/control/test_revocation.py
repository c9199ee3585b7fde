"""Revoking: by id, several at once, by stamps, with an end to what runs; what callers and monitors are told of it."""

from __future__ import annotations

import uuid
from typing import Any

from celeriac_conformance import forms
from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Answer, Call, Exchange
from celeriac_conformance.own_workers import OwnWorker, own_worker, the_worker


def revoked(answer: Answer, reason: str) -> None:
    """Check what a caller sees of a revoked task."""
    assert answer.state == "REVOKED"
    assert answer.raised is not None
    assert (answer.raised.type, answer.raised.args) == ("TaskRevokedError", [reason])


def occupied(exchange: Exchange, worker: OwnWorker) -> None:
    """Keep both slots of a worker busy until the case ends."""
    gate = exchange.gate()
    for _ in range(2):
        exchange.wait_run(worker.send("gate", str(gate.path)))


def stamped(task: str, *args: object, worker: OwnWorker, **stamps: object) -> forms.Form:
    """Describe a stamped call to a worker's queue."""
    return forms.call(task, *args).with_options(queue=worker.queue).stamped(**stamps)


@case("revoke/several", spec="control-and-events#1.8 control-and-events#4.8")
def test_several_ids_are_revoked_at_once(exchange: Exchange) -> None:
    worker = the_worker(exchange)
    occupied(exchange, worker)
    calls = [worker.send("echo", number) for number in range(3)]
    ids = [call.id for call in calls[:2]]
    answer = worker.control("revoke", task_id=ids)
    assert isinstance(answer, dict)
    assert all(task_id in answer["ok"] for task_id in ids)
    known = worker.inspect("revoked")
    assert isinstance(known, list)
    assert set(ids) <= set(known)


@case("revoke/reserved", spec="control-and-events#4.8")
def test_a_call_that_waits_for_a_slot_is_dropped(exchange: Exchange) -> None:
    worker = the_worker(exchange)
    gate = exchange.gate()
    for _ in range(2):
        exchange.wait_run(worker.send("gate", str(gate.path)))
    dropped, kept = worker.send("echo", "dropped"), worker.send("echo", "kept")
    assert exchange.broker.wait_unacked(worker.queue, 2) == 2
    worker.control("revoke", task_id=dropped.id)
    gate.open()
    assert exchange.producer.result(kept) == "kept"
    revoked(exchange.producer.wait(dropped), "revoked")
    assert exchange.journal.runs(dropped.id) == []
    assert exchange.broker.wait_unacked(worker.queue, 0) == 0


@case("revoke/running", spec="control-and-events#4.8")
def test_a_running_call_that_is_only_revoked_runs_to_its_end(exchange: Exchange) -> None:
    worker = the_worker(exchange)
    gate = exchange.gate()
    call = worker.send("gate", str(gate.path))
    exchange.wait_run(call)
    worker.control("revoke", task_id=call.id)
    gate.open()
    exchange.journal.wait(event="end", id=call.id)
    assert exchange.producer.wait(call).state == "SUCCESS"


@case(
    "revoke/terminate-{signal}",
    spec="control-and-events#1.8 control-and-events#4.8",
    each={"signal": ["KILL", "SIGTERM", 9]},
)
def test_a_running_call_is_ended_by_the_signal_asked_for(exchange: Exchange, signal: Any) -> None:
    worker = the_worker(exchange)
    gate = exchange.gate()
    call = worker.send("gate", str(gate.path))
    exchange.wait_run(call)
    answer = worker.control("revoke", task_id=call.id, terminate=True, signal=signal)
    assert answer == {"ok": f"terminate: {call.id}"}
    revoked(exchange.producer.wait(call), "terminated")
    assert exchange.producer.result(worker.send("add", 1, 2)) == 3
    assert exchange.journal.entries(event="end", id=call.id) == []


@case("revoke/terminate-late", spec="control-and-events#4.8")
def test_a_terminated_late_call_is_acknowledged(exchange: Exchange) -> None:
    worker = the_worker(exchange)
    gate = exchange.gate()
    call = worker.send("gate_late", str(gate.path))
    exchange.wait_run(call)
    assert exchange.broker.wait_unacked(worker.queue, 1) == 1
    worker.control("revoke", task_id=call.id, terminate=True, signal="KILL")
    revoked(exchange.producer.wait(call), "terminated")
    assert exchange.broker.wait_unacked(worker.queue, 0) == 0
    assert exchange.broker.ready(worker.queue) == 0


@case("revoke/expired", spec="control-and-events#4.8")
def test_an_expired_call_counts_as_revoked(exchange: Exchange) -> None:
    worker = the_worker(exchange)
    call = worker.send("echo", "late", expires=-5)
    revoked(exchange.producer.wait(call), "expired")
    assert exchange.journal.runs(call.id) == []


@case("revoke/events", spec="control-and-events#2.4 control-and-events#4.8")
def test_monitors_are_told_of_revoked_and_terminated_calls(exchange: Exchange) -> None:
    exchange.producer.events()
    with own_worker(exchange, extra=("-E",)) as worker:
        gate = exchange.gate()
        running = worker.send("gate", str(gate.path))
        exchange.wait_run(running)
        dropped = str(uuid.uuid4())
        worker.control("revoke", task_id=dropped)
        worker.send("echo", "dropped", task_id=dropped)
        worker.control("revoke", task_id=running.id, terminate=True, signal="KILL")

        def told(task_id: str) -> list[dict[str, Any]]:
            events = exchange.producer.events().of(task_id)
            return [event for event in events if event["type"] == "task-revoked"]

        exchange.eventually(lambda: bool(told(dropped) and told(running.id)), "both are told", 20)
        keys = ("terminated", "signum", "expired")
        assert [told(dropped)[0][key] for key in keys] == [False, None, False]
        assert [told(running.id)[0][key] for key in keys] == [True, 9, False]


@case("revoke/document", spec="results-and-workflows#1.1", needs=["stored-results"])
def test_the_document_of_a_revoked_call_is_complete(exchange: Exchange) -> None:
    worker = the_worker(exchange)
    task_id = str(uuid.uuid4())
    worker.control("revoke", task_id=task_id)
    worker.send("echo", "dropped", task_id=task_id)
    document = exchange.stored().wait(task_id)
    assert document["status"] == "REVOKED"
    assert document["task_id"] == task_id
    result = document["result"]
    assert (result["exc_type"], result["exc_message"]) == ("TaskRevokedError", ["revoked"])
    assert document["traceback"] is None
    assert document["date_done"]


@case("revoke/stamps", spec="control-and-events#1.8 control-and-events#4.8", since="5.3")
def test_calls_are_revoked_by_their_stamps(exchange: Exchange) -> None:
    worker = the_worker(exchange)
    answer = worker.control("revoke_by_stamped_headers", headers={"batch": ["a", "b"]})
    assert answer == {"ok": "headers {'batch': ['a', 'b']} flagged as revoked, but not terminated"}
    dropped = [
        exchange.producer.run(stamped("echo", value, worker=worker, batch=value))
        for value in ("a", "b")
    ]
    kept = exchange.producer.run(stamped("echo", "kept", worker=worker, batch="c"))
    plain = worker.send("echo", "plain")
    assert exchange.producer.result(kept) == "kept"
    assert exchange.producer.result(plain) == "plain"
    for call in dropped:
        revoked(exchange.producer.wait(call), "revoked")
        assert exchange.journal.runs(call.id) == []


@case("revoke/stamps-terminate", spec="control-and-events#1.8", since="5.3")
def test_running_calls_are_terminated_by_their_stamps(exchange: Exchange) -> None:
    worker = the_worker(exchange)
    gate = exchange.gate()
    calls: list[Call] = [
        exchange.producer.run(stamped("gate", str(gate.path), worker=worker, job=value))
        for value in ("ends", "stays")
    ]
    for call in calls:
        exchange.wait_run(call)
    answer = worker.control(
        "revoke_by_stamped_headers", headers={"job": ["ends"]}, terminate=True, signal="KILL"
    )
    assert answer == {"ok": "headers defaultdict(<class 'set'>, {'job': {'ends'}}) revoked"}
    revoked(exchange.producer.wait(calls[0]), "terminated")
    gate.open()
    assert exchange.producer.result(calls[1]) == "through"
    answer = worker.control("revoke_by_stamped_headers", headers={"job": ["none"]}, terminate=True)
    assert answer == {"ok": "headers {'job': ['none']} were not terminated"}


@case("revoke/statedb", spec="control-and-events#4.8")
def test_revoked_ids_outlive_the_worker_in_its_state_file(exchange: Exchange) -> None:
    path = exchange.marker()
    task_id = str(uuid.uuid4())
    with own_worker(exchange, extra=("--statedb", str(path))) as worker:
        worker.control("revoke", task_id=task_id)
        assert worker.process.stop() == 0
        # Nobody who is still there may tell it of the id.
        with own_worker(exchange, queue=worker.queue, extra=("--statedb", str(path))) as again:
            known = again.inspect("revoked")
            assert isinstance(known, list)
            assert task_id in known
            call = again.send("echo", "never", task_id=task_id)
            assert exchange.producer.result(again.send("echo", "after")) == "after"
            assert exchange.journal.runs(call.id) == []
