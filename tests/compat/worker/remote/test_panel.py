"""A request is run when it is meant for us, answered when an answer is wanted, and never does harm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from celeriac.brokers.base import Delivery
from celeriac.worker.remote import control_command, inspect_command
from celeriac.worker.remote.registry import Panel
from celeriac_protocol.message import Message, Properties
from tests.compat.worker.remote.bench import Bench, request


@pytest.fixture
def bench() -> Iterator[Bench]:
    subject = Bench()
    yield subject
    subject.close()


def test_an_answer_goes_where_it_is_wanted_with_ticket_and_clock(bench: Bench) -> None:
    answer = bench.dispatcher.handle(request("ping"))
    assert answer is not None
    assert (answer.exchange, answer.routing_key) == ("reply.x", "k")
    assert answer.message.body == b'{"w@h": {"ok": "pong"}}'
    assert answer.message.headers == {"ticket": "t1", "clock": 102}
    assert bench.app.clock.value == 1


def test_nobody_is_answered_who_did_not_ask(bench: Bench) -> None:
    assert bench.dispatcher.handle(request("ping", reply=False)) is None
    assert bench.dispatcher.handle(request("shutdown")) is None


@pytest.mark.parametrize(
    ("body", "is_meant"),
    [
        ({"destination": ["w@h", "x"]}, True),
        ({"destination": ["x"]}, False),
        ({"destination": []}, True),
        ({"pattern": "w@*", "matcher": "glob"}, True),
        ({"pattern": "x@*", "matcher": "glob"}, False),
        ({"pattern": "w@*", "matcher": "nosuch"}, False),
    ],
)
def test_only_requests_for_this_node_are_run(
    bench: Bench, body: dict[str, Any], is_meant: bool
) -> None:
    assert (bench.dispatcher.handle(request("ping", **body)) is not None) is is_meant


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"method": 3}', b"{}"])
def test_what_is_no_request_is_dropped(
    bench: Bench, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    properties = Properties(content_type="application/json", content_encoding="utf-8")
    assert bench.dispatcher.handle(Delivery("x", Message({}, properties, body))) is None
    assert caplog.records


def test_a_refused_content_type_is_dropped(bench: Bench) -> None:
    properties = Properties(content_type="application/x-python-serialize")
    assert bench.dispatcher.handle(Delivery("x", Message({}, properties, b"\x80"))) is None


def test_what_a_command_raises_is_its_answer(bench: Bench) -> None:
    answer = bench.dispatcher.handle(request("revoke"))
    assert answer is not None
    assert b"TypeError" in answer.message.body


def test_an_answer_that_cannot_be_written_is_an_error(bench: Bench) -> None:
    @inspect_command(name="bench_object")
    def give_object(state: Any) -> object:
        return object()

    try:
        answer = bench.dispatcher.handle(request("bench_object"))
    finally:
        del Panel.data["bench_object"], Panel.meta["bench_object"]
    assert answer is not None
    assert b'"error"' in answer.message.body


def test_an_application_adds_commands(bench: Bench) -> None:
    @control_command(args=[("n", int)], signature="[N=1]", alias="bench_more")
    def bench_increase(state: Any, n: int = 1) -> dict[str, int]:
        """Raise the prefetch count."""
        state.consumer.qos.increment_eventually(n)
        return {"ok": state.consumer.qos.value}

    try:
        assert bench.run("bench_increase", n=3) == {"ok": 11}
        assert bench.run("bench_more") == {"ok": 12}
        assert Panel.meta["bench_increase"].help == "Raise the prefetch count."
    finally:
        del Panel.data["bench_increase"], Panel.data["bench_more"], Panel.meta["bench_increase"]
