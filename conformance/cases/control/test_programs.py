"""The command-line programs as clients: `inspect`, `control`, `status`, `call`, `result`, `purge`, `events`.

The producer's own program is run: real Celery's against our worker, ours against real workers.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange, Printed

PATIENCE = ("-t", "10")
CLI = "app-and-cli#13.8"
UNAVAILABLE = 69


def the_worker(exchange: Exchange) -> str:
    """Wait until the cell's worker answers, and return its name."""
    found: list[str] = []

    def answers() -> bool:
        found[:] = exchange.producer.inspect("ping")
        return len(found) == 1

    exchange.eventually(answers, "one worker answers a ping", timeout_s=20)
    return found[0]


def ran(exchange: Exchange, *words: str) -> Printed:
    """Run a program that must succeed."""
    printed = exchange.producer.program(*words)
    assert printed.status == 0, printed
    return printed


def answer(exchange: Exchange, kind: str, *words: str) -> Any:
    """Return what the worker answers to ``inspect`` or ``control``, read from the JSON printed."""
    node = the_worker(exchange)
    printed = ran(exchange, kind, *words, "-j", "-d", node, *PATIENCE)
    found = json.loads(printed.output)
    return (found[0] if kind == "control" else found)[node]


@case("control/program-status", spec=CLI, since="5.1")
def test_status_lists_the_worker(exchange: Exchange) -> None:
    node = the_worker(exchange)
    printed = ran(exchange, "status", "-d", node, *PATIENCE)
    assert printed.output == f"->  {node}: OK\n\n1 node online.\n"


@case("control/program-ping", spec=CLI, since="5.1")
def test_inspect_prints_a_reply_under_the_name_of_the_node(exchange: Exchange) -> None:
    node = the_worker(exchange)
    printed = ran(exchange, "inspect", "ping", "-d", node, *PATIENCE)
    assert printed.output == f"->  {node}: OK\n        pong\n\n1 node online.\n"


@case("control/program-nobody", spec="app-and-cli#13.3", since="5.1")
def test_silence_is_an_exit_status(exchange: Exchange) -> None:
    printed = exchange.producer.program("inspect", "ping", "-d", "nobody@nowhere", "-t", "0.5")
    assert (printed.status, printed.output) == (UNAVAILABLE, "")
    assert "No nodes replied within time constraint" in printed.errors


@case("control/program-unknown", spec=CLI, since="5.1")
def test_an_unknown_command_is_refused_before_anything_is_sent(exchange: Exchange) -> None:
    printed = exchange.producer.program("inspect", "no_such")
    assert printed.status == 2
    assert "no_such" in printed.errors


INSPECT: dict[str, tuple[tuple[str, ...], type]] = {
    "active": ((), list),
    "active_queues": ((), list),
    "clock": ((), dict),
    "conf": ((), dict),
    "query_task": (("no-such-id",), dict),
    "registered": (("rate_limit",), list),
    "report": ((), dict),
    "reserved": ((), list),
    "revoked": ((), list),
    "scheduled": ((), list),
    "stats": ((), dict),
}


@case("control/program-inspect-{command}", spec=CLI, since="5.1", each={"command": list(INSPECT)})
def test_each_question_can_be_asked_from_the_command_line(exchange: Exchange, command: str) -> None:
    words, kind = INSPECT[command]
    assert isinstance(answer(exchange, "inspect", command, *words), kind)


CONTROL: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "cancel_consumer": (("never-consumed",), {"ok": "no longer consuming from never-consumed"}),
    "rate_limit": (("no.such.task", "1/m"), {"error": "unknown task"}),
    "revoke": (("no-such-id",), {"ok": "tasks {'no-such-id'} flagged as revoked"}),
    "terminate": (("KILL", "no-such-id"), {"ok": "terminate: tasks unknown"}),
    "time_limit": (("sleep", "10", "20"), {"ok": "time limits set successfully"}),
}


@case("control/program-control-{command}", spec=CLI, since="5.3", each={"command": list(CONTROL)})
def test_each_command_can_be_given_from_the_command_line(exchange: Exchange, command: str) -> None:
    words, expected = CONTROL[command]
    assert answer(exchange, "control", command, *words) == expected


@case("control/program-call", spec="app-and-cli#13.9", since="5.1")
def test_a_task_is_called_and_its_result_printed(exchange: Exchange) -> None:
    task_id = ran(exchange, "call", "add", "-a", "[20, 22]").output.strip()
    exchange.wait_run(task_id)
    if exchange.results is not None:
        assert ran(exchange, "result", task_id).output == "42\n"


@case("control/program-purge", spec="app-and-cli#13.9", since="5.1")
def test_a_queue_is_emptied(exchange: Exchange) -> None:
    queue = f"purged-{uuid.uuid4().hex[:8]}"
    for number in range(2):
        exchange.producer.send("add", [number, 0], queue=queue)
    printed = ran(exchange, "purge", "-f", "-Q", queue)
    assert printed.output == "Purged 2 messages from 1 known task queue.\n"
    again = ran(exchange, "purge", "-f", "-Q", queue)
    assert again.output == "No messages purged from 1 queue.\n"


@case("events/program-dump", spec="app-and-cli#13.10", since="5.1")
def test_events_are_printed_as_they_come(exchange: Exchange) -> None:
    node = the_worker(exchange)
    printed = exchange.producer.program("events", "--dump", seconds=12.0)
    assert printed.output.startswith("-> evdump: starting capture...\n")
    lines = [line for line in printed.output.splitlines() if line.startswith(f"{node} [")]
    assert any("] heartbeat: active=" in line for line in lines), printed
