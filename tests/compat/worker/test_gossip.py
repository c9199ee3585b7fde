"""The worker follows the others: who is there, their clocks, and elections with exactly one winner."""

from __future__ import annotations

import os
from typing import Any

import pytest

from celeriac.brokers.base import Delivery
from celeriac.events.sender import EventSender
from celeriac.worker.gossip import Gossip
from celeriac_protocol.events import Event, encode_event
from celeriac_protocol.lamport import LamportClock
from celeriac_protocol.message import Message, Properties

JSON = frozenset({"application/json"})


class Member:
    """One worker's gossip and what it was made to do."""

    def __init__(self, hostname: str = "own@h", clock: int = 0) -> None:
        self.sender = EventSender(hostname, LamportClock(clock))
        self.done: list[Any] = []
        self.gossip = Gossip(self.sender, accept=JSON, handlers={"task": self.done.append})

    def hear(self, kind: str, host: str, at: float = 0.0, **fields: Any) -> None:
        clock = fields.pop("clock", None)
        pid = fields.pop("pid", 1)
        event = Event(
            type=kind,
            hostname=host,
            clock=clock,
            pid=pid,
            timestamp=0.0,
            utcoffset=0,
            fields=fields,
        )
        self.gossip.hear(Delivery("t", encode_event(event)), at)

    def sent(self) -> list[Message]:
        messages: list[Message] = []
        self.sender.flush(lambda message, key: messages.append(message))
        return messages


def broadcast(members: list[Member], at: float) -> None:
    """Carry everybody's events to everybody until nobody says anything any more."""
    while messages := [message for member in members for message in member.sent()]:
        for message in messages:
            for member in members:
                member.gossip.hear(Delivery("t", message), at)


def test_the_clock_follows_the_others() -> None:
    own = Member()
    own.hear("worker-heartbeat", "a@h", clock=40)
    assert own.sender.clock.value == 41
    own.hear("worker-heartbeat", "a@h", clock=7)
    own.hear("worker-heartbeat", "a@h")
    own.hear("worker-heartbeat", "own@h", clock=1000)
    assert own.sender.clock.value == 44


def test_task_events_are_none_of_its_business() -> None:
    own = Member()
    own.hear("task-started", "a@h", clock=40, uuid="x")
    assert (own.sender.clock.value, own.gossip.members) == (0, {})


def test_members_come_go_and_fall_silent() -> None:
    own = Member()
    own.gossip.tick(0.0)
    own.hear("worker-online", "a@h", 1.0, freq=2.0)
    own.hear("worker-heartbeat", "b@h", 1.0, freq=60.0)
    own.hear("worker-heartbeat", "c@h", 1.0, freq="often")
    own.hear("worker-offline", "c@h", 1.5)
    assert set(own.gossip.members) == {"a@h", "b@h"}
    own.gossip.tick(5.1)
    assert set(own.gossip.members) == {"b@h"}
    assert own.gossip.due_in_s(6.0) == pytest.approx(4.1)


@pytest.mark.parametrize(
    "body",
    [b"[]", b"{}", b"1", b"nothing", b'{"type": "worker-online"}', b'{"type": "worker-elect", "hostname": "x"}'],
)  # fmt: skip
def test_events_that_end_celery_end_nothing_here(body: bytes) -> None:
    own = Member()
    properties = Properties(content_type="application/json", content_encoding="utf-8")
    own.gossip.hear(Delivery("t", Message({}, properties, body)), 0.0)
    assert own.gossip.members == {}


def test_an_election_has_one_winner_with_the_lowest_clock() -> None:
    members = [Member("a@h", 10), Member("b@h", 5), Member("c@h", 20)]
    for member in members:
        member.sender.send("worker-online", freq=2.0)
    broadcast(members, 0.0)
    clocks = [member.sender.clock.value for member in members]
    for member in members:
        member.gossip.stand("e1", "task", {"task": "add"}, 1.0)
    broadcast(members, 1.0)
    for member in members:
        member.gossip.tick(1.2)
    assert [member.done for member in members] == [[], [], []], "others may still stand"
    for member in members:
        member.gossip.tick(1.4)
    lowest = clocks.index(min(clocks))
    assert [len(member.done) for member in members] == [int(i == lowest) for i in range(3)]


def test_equal_clocks_are_told_apart_by_name() -> None:
    own = Member("b@h")
    own.gossip.stand("e1", "task", "mine", 0.0)
    (mine,) = own.sent()
    own.hear(
        "worker-elect", "a@h", 0.0, clock=1, pid=9, id="e1", topic="task", action="mine", cver=1
    )
    own.gossip.hear(Delivery("t", mine), 0.0)
    own.gossip.tick(100.0)
    assert own.done == []


def test_a_worker_alone_elects_itself() -> None:
    own = Member()
    own.gossip.stand("e1", "task", "mine", 0.0)
    broadcast([own], 0.0)
    own.gossip.tick(1.0)
    assert own.done == ["mine"]
    assert f"own@h.{os.getpid()}" == own.gossip._name


def test_who_was_not_asked_acknowledges_and_does_nothing() -> None:
    own = Member()
    own.hear("worker-elect", "a@h", clock=1, id="e1", topic="task", action="x", cver=1)
    (ack,) = own.sent()
    assert b'"worker-elect-ack"' in ack.body
    own.gossip.tick(100.0)
    assert own.done == []


def test_an_acknowledgement_that_never_comes_delays_an_election_and_no_more() -> None:
    own = Member()
    for name in ("a@h", "b@h"):
        own.hear("worker-heartbeat", name, freq=60.0)
    own.gossip.stand("e1", "task", "mine", 0.0)
    broadcast([own], 0.0)
    own.gossip.tick(4.9)
    assert own.done == []
    own.gossip.tick(5.0)
    assert own.done == ["mine"]


def test_an_action_that_fails_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    own = Member()

    def broken(action: Any) -> None:
        raise TypeError(action)

    own.gossip.handlers["task"] = broken
    own.gossip.stand("e1", "task", None, 0.0)
    own.gossip.stand("e2", "unheard-of", None, 0.0)
    broadcast([own], 0.0)
    own.gossip.tick(1.0)
    assert "What the election 'e1' was about failed" in caplog.text
    assert "the topic 'unheard-of'" in caplog.text
