"""Commands that change something."""

from __future__ import annotations

import uuid

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange
from celeriac_conformance.runtimes.base import WorkerOptions


def the_worker(exchange: Exchange) -> str:
    """Wait until the cell's worker answers, and return its name."""
    found: list[str] = []

    def answers() -> bool:
        found[:] = exchange.producer.inspect("ping")
        return len(found) == 1

    exchange.eventually(answers, "one worker answers a ping", timeout_s=20)
    return found[0]


@case("control/revoke-waiting", spec="control-and-events#4.8")
def test_a_revoked_task_is_dropped_when_it_is_due(exchange: Exchange) -> None:
    node = the_worker(exchange)
    call = exchange.producer.send("add", [1, 2], countdown=3)
    exchange.eventually(
        lambda: bool(exchange.producer.inspect("scheduled", node=node)[node]), "it waits"
    )
    answer = exchange.producer.control("revoke", task_id=call.id, node=node)[node]
    # Celery 5.3 changed how the ids are written.
    assert answer["ok"].startswith("tasks ")
    assert answer["ok"].endswith(" flagged as revoked")
    assert call.id in answer["ok"]
    assert call.id in exchange.producer.inspect("revoked", node=node)[node]
    exchange.eventually(
        lambda: not exchange.producer.inspect("scheduled", node=node)[node], "it was due"
    )
    assert exchange.journal.runs(call.id) == []
    found = exchange.producer.wait(call)
    assert found.state == "REVOKED"
    assert found.raised is not None
    assert (found.raised.type, found.raised.args) == ("TaskRevokedError", ["revoked"])


@case("control/revoke-unsent", spec="control-and-events#1.8", since="5.7", needs=["stored-results"])
def test_a_revoked_id_is_marked_before_anybody_meets_the_task(exchange: Exchange) -> None:
    the_worker(exchange)
    task_id = str(uuid.uuid4())
    exchange.producer.control("revoke", task_id=[task_id])
    assert exchange.producer.wait(task_id).state == "REVOKED"
    call = exchange.producer.send("add", [1, 2], task_id=task_id)
    after = exchange.producer.send("add", [2, 2])
    assert exchange.producer.result(after) == 4
    assert exchange.journal.runs(call.id) == []


@case("control/revoke-terminate", spec="control-and-events#4.8")
def test_a_running_task_is_terminated(exchange: Exchange) -> None:
    node, gate = the_worker(exchange), exchange.gate()
    call = exchange.producer.send("gate", [str(gate.path)])
    exchange.wait_run(call)
    answer = exchange.producer.control("revoke", task_id=call.id, terminate=True, node=node)[node]
    assert answer == {"ok": f"terminate: {call.id}"}
    found = exchange.producer.wait(call)
    assert found.state == "REVOKED"
    assert found.raised is not None
    assert (found.raised.type, found.raised.args) == ("TaskRevokedError", ["terminated"])
    exchange.eventually(
        lambda: exchange.producer.inspect("active", node=node)[node] == [], "it is gone"
    )


@case("control/terminate-unknown", spec="control-and-events#1.8")
def test_terminating_nothing_says_so(exchange: Exchange) -> None:
    node = the_worker(exchange)
    answer = exchange.producer.control("terminate", node=node, signal="TERM", task_id=["x"])
    assert answer[node] == {"ok": "terminate: tasks unknown"}
    answer = exchange.producer.control("terminate", node=node, signal="kill", task_id=["x"])
    assert answer[node] == {"error": "TypeError('signal name must be uppercase string.')"}


@case("control/time-limit", spec="control-and-events#1.8")
def test_a_time_limit_can_be_set(exchange: Exchange) -> None:
    node = the_worker(exchange)
    for soft, hard in ((10, 20), (None, None)):
        answer = exchange.producer.control(
            "time_limit", node=node, task_name="sleep", soft=soft, hard=hard
        )
        assert answer[node] == {"ok": "time limits set successfully"}
    answer = exchange.producer.control("time_limit", node=node, task_name="nobody", soft=1)
    assert answer[node] == {"error": "unknown task"}


@case("control/pool-size", spec="control-and-events#1.8")
def test_the_pool_grows_and_shrinks(exchange: Exchange) -> None:
    node = the_worker(exchange)

    def size() -> int:
        return len(exchange.producer.inspect("stats", node=node)[node]["pool"]["processes"])

    assert exchange.producer.control("pool_grow", node=node)[node] == {"ok": "pool will grow"}
    exchange.eventually(lambda: size() == 3, "one more")
    assert exchange.producer.control("pool_shrink", node=node)[node] == {"ok": "pool will shrink"}
    exchange.eventually(lambda: size() == 2, "one less")
    assert exchange.producer.result(exchange.producer.send("add", [1, 2])) == 3


@case("control/queues", spec="control-and-events#1.8")
def test_a_queue_is_added_and_cancelled(exchange: Exchange) -> None:
    node, queue = the_worker(exchange), f"added-{uuid.uuid4().hex[:8]}"

    def consumed() -> bool:
        return queue in {
            each["name"] for each in exchange.producer.inspect("active_queues", node=node)[node]
        }

    answer = exchange.producer.control("add_consumer", queue=queue, node=node)[node]
    assert answer == {"ok": f"add consumer {queue}"}
    exchange.eventually(consumed, "it is consumed")
    assert exchange.producer.result(exchange.producer.send("add", [1, 2], queue=queue)) == 3
    answer = exchange.producer.control("cancel_consumer", queue=queue, node=node)[node]
    assert answer == {"ok": f"no longer consuming from {queue}"}
    exchange.eventually(lambda: not consumed(), "it is no longer consumed")


@case("control/shutdown", spec="control-and-events#1.8")
def test_a_worker_is_shut_down_without_a_reply(exchange: Exchange) -> None:
    the_worker(exchange)
    options = WorkerOptions(queues=("brief",), name="brief")
    with exchange.extra_worker(options) as worker:
        nodes: list[str] = []

        def answers() -> bool:
            nodes[:] = [n for n in exchange.producer.inspect("ping") if n.startswith("brief")]
            return len(nodes) == 1

        exchange.eventually(answers, "it answers a ping", timeout_s=20)
        request = exchange.producer.client.request
        assert request("control", method="shutdown", destination=nodes, timeout=1.0) == {}
        exchange.eventually(lambda: worker.status is not None, "it ends", timeout_s=20)
        assert worker.status == 0
