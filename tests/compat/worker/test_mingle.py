"""What neighbours answer to a hello is taken over; silence and nonsense cost nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from celeriac.brokers.base import BrokerLostError, Delivery
from celeriac.worker.gossip import Gossip
from celeriac.worker.mingle import Mingle
from celeriac.worker.side import SideService
from celeriac_protocol.control import Reply, decode_command, encode_reply
from celeriac_protocol.events import Event, encode_event
from celeriac_protocol.lamport import LamportClock
from celeriac_protocol.message import DeliveryInfo, Message, Properties
from tests.compat.worker.remote.bench import JSON, NODE, Bench, ScriptedSide


class AskingSide(ScriptedSide):
    event_queue = "events"

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Message] = []

    def ask(self, message: Message, oid: str) -> bool:
        self._check()
        self.asked.append(message)
        self.reply_queue = f"{oid}.replies"
        return True

    def end_replies(self) -> None:
        self.reply_queue = None

    def arrive(self, queue: str | None, message: Message) -> None:
        info = DeliveryInfo(queue=queue)
        self.requests.append(
            Delivery("t", Message(message.headers, message.properties, message.body, info))
        )


class Mingling(Bench):
    def __init__(self) -> None:
        super().__init__()
        self.side: AskingSide = AskingSide()
        self.clock_of_app = LamportClock(5)
        self.learnt: list[tuple[str, ...]] = []
        assert self.sender is not None
        self.gossip = Gossip(self.sender, accept=JSON, handlers={})
        self.mingle = Mingle(
            NODE,
            self.clock_of_app,
            revoked=lambda: ["mine"],
            learn=self.learnt.append,
            accept=JSON,
        )
        self.service = SideService(
            self.side,
            lambda: self.loop.connected,
            dispatcher=self.dispatcher,
            sender=self.sender,
            heart=None,
            mingle=self.mingle,
            gossip=self.gossip,
        )
        self.loop.services.append(self.service)
        self.loop.turn()

    def answer(self, value: Any, *, node: str = "other@h", ticket: str | None = None) -> None:
        asked = decode_command(self.side.asked[-1], accept=JSON)
        reply = Reply(node=node, value=value, ticket=asked.ticket if ticket is None else ticket)
        self.side.arrive(self.side.reply_queue, encode_reply(reply))
        self.loop.turn()


@pytest.fixture
def bench() -> Iterator[Mingling]:
    subject = Mingling()
    yield subject
    subject.close()


def test_everybody_is_asked_with_what_is_known_here(bench: Mingling) -> None:
    asked = decode_command(bench.side.asked[0], accept=JSON)
    assert (asked.method, asked.destination) == ("hello", None)
    assert asked.arguments == {"from_node": NODE, "revoked": ["mine"]}
    assert asked.reply_to is not None
    assert asked.reply_to.exchange == "reply.celery.pidbox"
    assert f"{asked.reply_to.routing_key}.replies" == bench.side.reply_queue


def test_ids_and_clock_are_taken_over_in_either_form(bench: Mingling) -> None:
    bench.answer({"revoked": ["a", "b"], "clock": 40})
    bench.answer({"revoked": {"c": [1631.26, "c"]}, "clock": 3})
    assert bench.learnt == [("a", "b"), ("c",)]
    assert bench.clock_of_app.value == 42


@pytest.mark.parametrize(
    "value", [None, {"error": "KeyError('hello')"}, "text", {"revoked": 5, "clock": 1}]
)
def test_an_answer_that_is_none_changes_nothing(bench: Mingling, value: Any) -> None:
    bench.answer(value)
    assert (bench.learnt, bench.clock_of_app.value) == ([], 5)


def test_answers_to_others_and_its_own_do_not_count(bench: Mingling) -> None:
    bench.answer({"revoked": ["a"], "clock": 40}, ticket="another")
    bench.answer({"revoked": ["a"], "clock": 40}, node=NODE)
    assert (bench.learnt, bench.clock_of_app.value) == ([], 5)


def test_tasks_run_while_answers_are_awaited(bench: Mingling) -> None:
    bench.deliver(1)
    assert len(bench.pool.jobs) == 1
    assert bench.mingle.ends_at is not None


def test_after_a_second_nobody_is_heard_any_more(bench: Mingling) -> None:
    bench.clock.sleep(1.1)
    bench.loop.turn()
    assert bench.side.reply_queue is None
    assert bench.mingle.ends_at is None


def test_each_connection_asks_again(bench: Mingling) -> None:
    bench.side.fail_next = BrokerLostError("gone")
    bench.loop.turn()
    assert not bench.service.connected
    bench.clock.sleep(2)
    bench.loop.turn()
    assert len(bench.side.asked) == 2


def test_a_connection_lost_while_asking_is_made_again(bench: Mingling) -> None:
    bench.side.fail_next = BrokerLostError("gone")
    bench.loop.turn()
    bench.clock.sleep(2)
    bench.side.fail_next = BrokerLostError("gone again")
    bench.loop.turn()
    assert not bench.service.connected
    bench.clock.sleep(5)
    bench.loop.turn()
    assert bench.service.connected


def test_events_and_requests_are_told_apart_by_their_queue(bench: Mingling) -> None:
    event = Event(type="worker-online", hostname="other@h", clock=1, pid=2, timestamp=0.0)
    bench.side.arrive("events", encode_event(event))
    body = b'{"method": "ping", "ticket": "t", "reply_to": {"exchange": "x", "routing_key": "k"}}'
    properties = Properties(content_type="application/json", content_encoding="utf-8")
    bench.side.arrive("w@h.celery.pidbox", Message({}, properties, body))
    bench.loop.turn()
    assert set(bench.gossip.members) == {"other@h"}
    assert bench.side.replies == [("x", "k", {NODE: {"ok": "pong"}})]
