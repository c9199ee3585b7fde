"""Callbacks: what runs after a success."""

from __future__ import annotations

from typing import Any

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange
from celeriac_conformance.forms import call, chain, group


@case("links/callback", spec="results-and-workflows#4.6 task-message#7.3")
def test_a_callback_gets_the_result_and_the_ids_of_the_finished_task(exchange: Exchange) -> None:
    sent = exchange.producer.send("add", [2, 3], link=[call("collect", "own")])
    answer = exchange.producer.wait(sent)
    assert answer.value == 5
    (child,) = answer.children
    run = exchange.wait_run(child)[0]
    assert run.extra["args"] == [5, "own"]
    request = run.request
    assert (request["parent_id"], request["root_id"]) == (sent.id, sent.id)
    assert request["group"] is None


@case("links/callback-with-keywords", spec="task-message#8.1")
def test_a_callback_keeps_its_keyword_arguments(exchange: Exchange) -> None:
    sent = exchange.producer.send("add", [2, 3], link=[call("collect", extra=10)])
    (child,) = exchange.producer.wait(sent).children
    run = exchange.wait_run(child)[0]
    assert run.extra == {"args": [5], "kwargs": {"extra": 10}}


@case("links/immutable-callback", spec="task-message#8.1")
def test_an_immutable_callback_gets_only_its_own_arguments(exchange: Exchange) -> None:
    sent = exchange.producer.send("add", [2, 3], link=[call("collect", "own", immutable=True)])
    (child,) = exchange.producer.wait(sent).children
    assert exchange.wait_run(child)[0].extra["args"] == ["own"]


@case("links/two-callbacks", spec="task-message#7.3")
def test_several_callbacks_are_sent_as_one_group(exchange: Exchange) -> None:
    sent = exchange.producer.send("add", [2, 3], link=[call("collect", "a"), call("collect", "b")])
    (child,) = exchange.producer.wait(sent).children
    assert (child.kind, len(child.members)) == ("group", 2)
    for member, own in zip(child.members, ["a", "b"], strict=True):
        run = exchange.wait_run(member)[0]
        assert run.extra["args"] == [5, own]
        assert (run.request["group"], run.request["parent_id"]) == (child.id, sent.id)


@case("links/callback-of-a-callback", spec="task-message#8.2")
def test_a_callback_can_have_a_callback(exchange: Exchange) -> None:
    sent = exchange.producer.send("add", [1, 1], link=[call("add", 10).link(call("collect"))])
    (first,) = exchange.producer.wait(sent).children
    request = exchange.wait_run(first)[0].request
    assert (list(request["args"]), request["parent_id"]) == ([2, 10], sent.id)
    second = exchange.journal.wait(event="run", task="collect", parent_id=first.id)[0]
    assert second.extra["args"] == [12]
    assert second.request["root_id"] == sent.id


@case("links/callback-that-is-a-chain", spec="results-and-workflows#4.6")
def test_a_chain_can_be_a_callback(exchange: Exchange) -> None:
    marker = exchange.marker().name
    sent = exchange.producer.send(
        "add", [1, 1], link=[chain(call("add", 1), call("collect", marker))]
    )
    exchange.producer.result(sent)
    (run,) = [entry for entry in _collected(exchange, marker) if entry["args"] == [3, marker]]
    assert run["kwargs"] == {}


@case("links/callback-that-is-a-group", spec="results-and-workflows#4.6")
def test_a_group_can_be_a_callback(exchange: Exchange) -> None:
    marker = exchange.marker().name
    link = group(call("collect", marker, 1), call("collect", marker, 2))
    exchange.producer.result(exchange.producer.send("add", [1, 1], link=[link]))
    found = _collected(exchange, marker, count=2)
    assert sorted(entry["args"] for entry in found) == [[2, marker, 1], [2, marker, 2]]


@case("links/not-after-failure", spec="results-and-workflows#4.6")
def test_a_failed_task_calls_no_callback(exchange: Exchange) -> None:
    marker = exchange.marker().name
    sent = exchange.producer.send("fail", ["ValueError"], link=[call("collect", marker)])
    assert exchange.producer.wait(sent).state == "FAILURE"
    exchange.producer.result(exchange.producer.send("add", [1, 1]))
    assert [
        entry for entry in exchange.journal.entries(task="collect") if marker in entry.extra["args"]
    ] == []


@case("links/after-retries", spec="task-message#7.2")
def test_a_retried_task_calls_its_callback_once(exchange: Exchange) -> None:
    marker = exchange.marker().name
    sent = exchange.producer.send("retry_n", [2], link=[call("collect", marker)])
    assert exchange.producer.result(sent) == 2
    assert [entry["args"] for entry in _collected(exchange, marker)] == [[2, marker]]


def _collected(exchange: Exchange, marker: str, count: int = 1) -> list[dict[str, Any]]:
    """Wait for `collect` runs that were given a marker, and return their arguments."""

    def found() -> list[dict[str, Any]]:
        runs = exchange.journal.entries(event="run", task="collect")
        return [run.extra for run in runs if marker in run.extra["args"]]

    exchange.eventually(
        lambda: len(found()) >= count, f"{count} callbacks with {marker}", timeout_s=20
    )
    return found()
