"""Commands that look."""

from __future__ import annotations

from typing import Any

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange

INFO_KEYS = {
    "id", "name", "args", "kwargs", "type", "hostname", "time_start", "acknowledged", "delivery_info", "worker_pid",
}  # fmt: skip
QUEUE_KEYS = {
    "name", "exchange", "routing_key", "queue_arguments", "binding_arguments", "consumer_arguments", "durable",
    "exclusive", "auto_delete", "no_ack", "alias", "bindings", "no_declare", "expires", "message_ttl", "max_length",
    "max_length_bytes", "max_priority",
}  # fmt: skip


def the_worker(exchange: Exchange) -> str:
    """Wait until the cell's worker answers, and return its name."""
    found: list[str] = []

    def answers() -> bool:
        found[:] = exchange.producer.inspect("ping")
        return len(found) == 1

    exchange.eventually(answers, "one worker answers a ping", timeout_s=20)
    return found[0]


def ask(exchange: Exchange, method: str, *args: object) -> Any:
    """Return the worker's answer to an inspect command."""
    node = the_worker(exchange)
    return exchange.producer.inspect(method, *args, node=node)[node]


@case("control/ping", spec="control-and-events#1.7")
def test_a_ping_is_answered(exchange: Exchange) -> None:
    node = the_worker(exchange)
    assert exchange.producer.control("ping") == {node: {"ok": "pong"}}


@case("control/destination", spec="control-and-events#1.3")
def test_a_request_for_another_node_is_not_answered(exchange: Exchange) -> None:
    node = the_worker(exchange)
    ask_for = exchange.producer.client.request
    assert ask_for("control", method="ping", destination=["nobody@nowhere"], timeout=1.0) == {}
    assert set(ask_for("control", method="ping", destination=[node])) == {node}


@case("control/pattern", spec="control-and-events#1.3", since="5.0")
def test_a_pattern_selects_nodes(exchange: Exchange) -> None:
    node = the_worker(exchange)
    ask_for = exchange.producer.client.request
    for pattern, expected in (("conformance*", {node}), ("other*", set())):
        options = {"pattern": pattern, "matcher": "glob"}
        found = ask_for("control", method="ping", options=options, timeout=1.0)
        assert set(found) == expected


@case("control/unknown-command", spec="control-and-events#1.3")
def test_an_unknown_command_is_answered_with_its_name(exchange: Exchange) -> None:
    node = the_worker(exchange)
    assert exchange.producer.control("no_such") == {node: {"error": "KeyError('no_such')"}}


@case("control/alias", spec="control-and-events#1.6")
def test_old_names_of_commands_still_work(exchange: Exchange) -> None:
    node = the_worker(exchange)
    for name in ("dump_active", "dump_reserved", "dump_schedule"):
        assert exchange.producer.control(name, node=node) == {node: []}, name


@case("control/registered", spec="control-and-events#1.7")
def test_the_tasks_of_the_application_are_listed(exchange: Exchange) -> None:
    listed = ask(exchange, "registered")
    assert listed == sorted(listed)
    assert {"add", "retry_n"} <= {line.split()[0] for line in listed}
    assert not any(line.startswith("celery.") for line in listed)


@case("control/active", spec="control-and-events#1.9")
def test_a_running_task_is_shown(exchange: Exchange) -> None:
    node, gate = the_worker(exchange), exchange.gate()
    call = exchange.producer.send("gate", [str(gate.path)])
    run = exchange.wait_run(call)[0]
    (info,) = exchange.producer.inspect("active", node=node)[node]
    assert set(info) == INFO_KEYS
    assert (info["id"], info["name"], info["type"]) == (call.id, "gate", "gate")
    assert (info["args"], info["kwargs"]) == ([str(gate.path)], {})
    assert (info["hostname"], info["worker_pid"], info["acknowledged"]) == (node, run.pid, True)
    assert info["delivery_info"]["routing_key"] == "celery"
    assert isinstance(info["time_start"], float)
    found = exchange.producer.inspect("query_task", call.id, "nobody", node=node)[node]
    assert {key: state for key, (state, _) in found.items()} == {call.id: "active"}
    gate.open()
    exchange.producer.result(call)


@case("control/reserved", spec="control-and-events#1.7")
def test_a_task_without_a_slot_is_reserved(exchange: Exchange) -> None:
    node, gate = the_worker(exchange), exchange.gate()
    calls = [exchange.producer.send("gate", [str(gate.path)]) for _ in range(3)]
    for call in calls[:2]:
        exchange.wait_run(call)
    exchange.eventually(
        lambda: bool(exchange.producer.inspect("reserved", node=node)[node]), "one waits"
    )
    (info,) = exchange.producer.inspect("reserved", node=node)[node]
    assert (info["id"], info["time_start"], info["worker_pid"]) == (calls[2].id, None, None)
    gate.open()
    for call in calls:
        exchange.producer.result(call)


@case("control/scheduled", spec="control-and-events#1.7")
def test_a_waiting_task_is_scheduled(exchange: Exchange) -> None:
    node = the_worker(exchange)
    call = exchange.producer.send("add", [1, 2], countdown=4)
    exchange.eventually(
        lambda: bool(exchange.producer.inspect("scheduled", node=node)[node]), "it waits"
    )
    (entry,) = exchange.producer.inspect("scheduled", node=node)[node]
    assert set(entry) == {"eta", "priority", "request"}
    assert entry["priority"] == 6
    assert set(entry["request"]) == INFO_KEYS
    assert (entry["request"]["id"], entry["request"]["args"]) == (call.id, [1, 2])
    assert exchange.producer.result(call) == 3


@case("control/stats", spec="control-and-events#1.9")
def test_statistics_have_their_shape(exchange: Exchange) -> None:
    node = the_worker(exchange)
    before = ask(exchange, "stats")["total"].get("add", 0)
    exchange.producer.result(exchange.producer.send("add", [1, 2]))
    stats = exchange.producer.inspect("stats", node=node)[node]
    assert stats["total"]["add"] == before + 1
    assert {"pid", "clock", "uptime", "pool", "broker", "prefetch_count", "rusage"} <= set(stats)
    assert isinstance(stats["clock"], str)
    assert stats["prefetch_count"] >= 8
    assert stats["pool"]["max-concurrency"] == 2
    assert len(stats["pool"]["processes"]) == 2
    assert "password" not in stats["broker"]
    assert {"hostname", "port", "transport", "virtual_host", "userid"} <= set(stats["broker"])


@case("control/active-queues", spec="control-and-events#1.9")
def test_queues_have_their_shape(exchange: Exchange) -> None:
    queues = ask(exchange, "active_queues")
    assert {"celery", "other"} <= {queue["name"] for queue in queues}
    assert all(set(queue) >= QUEUE_KEYS for queue in queues)


@case("control/conf", spec="control-and-events#1.9")
def test_the_configuration_is_shown(exchange: Exchange) -> None:
    shown = ask(exchange, "conf")
    assert shown["broker_connection_retry_on_startup"] is True
    assert "broker_url" in shown


@case("control/report", spec="control-and-events#1.9")
def test_the_report_is_text(exchange: Exchange) -> None:
    assert ask(exchange, "report")["ok"].startswith("\nsoftware -> celery:")


@case("control/clock", spec="control-and-events#3.1")
def test_the_clock_moves_on_with_every_request(exchange: Exchange) -> None:
    first = ask(exchange, "clock")["clock"]
    assert ask(exchange, "clock")["clock"] > first


@case("control/hello", spec="control-and-events#3.2", since="5.7")
def test_a_greeting_is_answered_with_clock_and_revoked_ids(exchange: Exchange) -> None:
    node = the_worker(exchange)
    ids = ["learnt-from-a-neighbour"]
    answer = exchange.producer.control("hello", from_node="somebody@else", revoked=ids, node=node)[
        node
    ]
    assert set(answer) == {"revoked", "clock"}
    assert ids[0] in answer["revoked"]
    assert exchange.producer.control("hello", from_node=node) == {node: None}
