"""What a monitor hears."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange, Monitored
from celeriac_conformance.runtimes.base import Program, WorkerOptions

QUEUE = "monitored"
COMMON = {"type", "hostname", "timestamp", "utcoffset", "pid", "clock"}
WORKER = {"freq", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys"}


@contextmanager
def monitored_worker(exchange: Exchange, *extra: str) -> Iterator[Program]:
    """Run a worker that sends task events, with a monitor that listens from before its start."""
    exchange.producer.events()
    options = WorkerOptions(queues=(QUEUE,), name="monitored", extra=extra or ("-E",))
    with exchange.extra_worker(options) as worker:
        yield worker


def wait_for(exchange: Exchange, task_id: str, kind: str) -> Monitored:
    """Wait until an event of a task has come."""
    exchange.eventually(
        lambda: kind in exchange.producer.events().types_of(task_id), f"{kind} of {task_id}"
    )
    return exchange.producer.events()


@case("events/success", spec="control-and-events#2.4")
def test_a_task_is_received_started_and_succeeds(exchange: Exchange) -> None:
    with monitored_worker(exchange):
        call = exchange.producer.send("add", [1, 2], queue=QUEUE)
        heard = wait_for(exchange, call.id, "task-succeeded")
    assert heard.types_of(call.id) == ["task-received", "task-started", "task-succeeded"]
    received, started, succeeded = heard.of(call.id)
    assert all(set(event) >= COMMON for event in heard.of(call.id))
    assert received["hostname"].startswith("monitored")
    assert (received["name"], received["args"], received["kwargs"]) == ("add", "[1, 2]", "{}") or (
        received["name"], received["args"], received["kwargs"]
    ) == ("add", "(1, 2)", "{}")  # fmt: skip
    assert (received["root_id"], received["parent_id"], received["retries"]) == (call.id, None, 0)
    assert (received["eta"], received["expires"]) == (None, None)
    assert succeeded["result"] == "3"
    assert isinstance(succeeded["runtime"], float)
    assert received["clock"] < started["clock"] < succeeded["clock"]
    assert heard.tasks[call.id] == "SUCCESS"


@case("events/failure", spec="control-and-events#2.4")
def test_a_failure_shows_exception_and_traceback(exchange: Exchange) -> None:
    with monitored_worker(exchange):
        call = exchange.producer.send("fail", ["ValueError", "boom"], queue=QUEUE)
        heard = wait_for(exchange, call.id, "task-failed")
    failed = heard.of(call.id)[-1]
    assert failed["exception"] == "ValueError('boom')"
    assert "ValueError: boom" in failed["traceback"]
    assert heard.tasks[call.id] == "FAILURE"


@case("events/retry", spec="control-and-events#2.4", since="5.2")
def test_a_retry_is_told(exchange: Exchange) -> None:
    with monitored_worker(exchange):
        call = exchange.producer.send("retry_because", [1, "again"], queue=QUEUE)
        heard = wait_for(exchange, call.id, "task-succeeded")
    kinds = heard.types_of(call.id)
    assert kinds.count("task-received") == kinds.count("task-started") == 2
    (retried,) = [event for event in heard.of(call.id) if event["type"] == "task-retried"]
    assert "again" in retried["exception"]


@case("events/unknown-task", spec="control-and-events#2.4")
def test_an_unknown_task_fails_without_having_been_received(exchange: Exchange) -> None:
    with monitored_worker(exchange):
        call = exchange.producer.send("no.such.task", by_name=True, queue=QUEUE)
        heard = wait_for(exchange, call.id, "task-failed")
    assert heard.types_of(call.id) == ["task-failed"]
    assert heard.of(call.id)[0]["exception"] == "NotRegistered('no.such.task')"


@case("events/terminated", spec="control-and-events#2.4", since="5.2")
def test_a_terminated_task_is_told_with_its_signal(exchange: Exchange) -> None:
    gate = exchange.gate()
    with monitored_worker(exchange):
        call = exchange.producer.send("gate", [str(gate.path)], queue=QUEUE)
        exchange.wait_run(call)
        exchange.eventually(
            lambda: any(
                call.id in str(reply)
                for reply in exchange.producer.control(
                    "terminate", signal="KILL", task_id=[call.id]
                ).values()
            ),
            "it is terminated",
        )
        heard = wait_for(exchange, call.id, "task-revoked")
    revoked = heard.of(call.id)[-1]
    assert (revoked["terminated"], revoked["signum"], revoked["expired"]) == (True, 9, False)
    assert heard.tasks[call.id] == "REVOKED"


@case("events/switched", spec="control-and-events#1.8")
def test_task_events_are_switched_on_and_off(exchange: Exchange) -> None:
    with monitored_worker(exchange, "--without-mingle"):
        producer, nodes = exchange.producer, list[str]()

        def answers() -> bool:
            nodes[:] = [node for node in producer.inspect("ping") if node.startswith(QUEUE)]
            return bool(nodes)

        exchange.eventually(answers, "it answers a ping", timeout_s=20)

        def switch(method: str) -> object:
            found = producer.client.request("control", method=method, destination=nodes)
            return found[nodes[0]]

        silent = producer.send("add", [1, 1], queue=QUEUE)
        producer.result(silent)
        assert switch("disable_events") == {"ok": "task events already disabled"}
        assert switch("enable_events") == {"ok": "task events enabled"}
        assert switch("enable_events") == {"ok": "task events already enabled"}
        told = producer.send("add", [1, 2], queue=QUEUE)
        heard = wait_for(exchange, told.id, "task-succeeded")
        assert heard.types_of(silent.id) == []
        assert switch("disable_events") == {"ok": "task events disabled"}


@case("events/worker", spec="control-and-events#2.3")
def test_a_worker_comes_beats_and_leaves(exchange: Exchange) -> None:
    def kinds(node: str) -> list[str]:
        return [e["type"] for e in exchange.producer.events().events if e["hostname"] == node]

    with monitored_worker(exchange) as worker:
        call = exchange.producer.send("add", [1, 2], queue=QUEUE)
        node = wait_for(exchange, call.id, "task-received").of(call.id)[0]["hostname"]
        exchange.eventually(lambda: kinds(node).count("worker-heartbeat") >= 2, "it beats")
        assert kinds(node)[0] == "worker-online"
        assert node in exchange.producer.events().alive
        worker.stop()
        exchange.eventually(lambda: "worker-offline" in kinds(node), "it leaves")
    heard = [e for e in exchange.producer.events().events if e["hostname"] == node]
    for event in heard:
        if event["type"].startswith("worker-"):
            assert set(event) >= COMMON | WORKER, event
            assert event["freq"] == 2.0
    offline = next(event for event in heard if event["type"] == "worker-offline")
    assert (offline["active"], offline["processed"]) == (0, 2)
    assert node not in exchange.producer.events().alive
