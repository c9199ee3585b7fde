"""Two side channels on one broker hear each other: events always, answers while they were asked for."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from celeriac.brokers.base import Delivery, EventQueue, Mailbox
from celeriac.brokers.kombu_side import KombuSideChannel
from celeriac_protocol.control import Command, Reply, ReplyTo, encode_command, encode_reply
from celeriac_protocol.events import Event, encode_event


@pytest.fixture(params=["redis", "rabbitmq"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def both(url: str) -> Iterator[list[KombuSideChannel]]:
    names = [f"w-{uuid.uuid4().hex[:8]}@h" for _ in range(2)]
    sides = [KombuSideChannel(url, Mailbox(node=name), events=EventQueue()) for name in names]
    for side in sides:
        side.connect()
    yield sides
    for side in sides:
        side.disconnect()


def next_of(side: KombuSideChannel, is_wanted: Callable[[Delivery], bool]) -> Delivery:
    deadline = time.monotonic() + 10
    while True:
        for delivery in side.fetch(10):
            if is_wanted(delivery):
                return delivery
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.01)


def hello(oid: str) -> Any:
    return encode_command(
        Command(
            method="hello",
            arguments={"from_node": "a", "revoked": []},
            ticket="t",
            reply_to=ReplyTo("reply.celery.pidbox", oid),
        )
    )


def test_worker_events_reach_everybody_and_task_events_nobody(both: list[KombuSideChannel]) -> None:
    one, other = both
    for kind in ("task-started", "worker-online"):
        event = Event(type=kind, hostname="a@h", timestamp=1.0, fields={"uuid": "u"})
        one.publish_event(encode_event(event), routing_key=kind.replace("-", "."))
    for side in both:
        delivery = next_of(side, lambda each: True)
        assert delivery.message.delivery_info.queue == side.event_queue
        assert json.loads(delivery.message.body)["type"] == "worker-online"
    assert one.event_queue != other.event_queue


def test_a_question_is_answered_until_it_is_withdrawn(both: list[KombuSideChannel]) -> None:
    one, other = both
    oid = str(uuid.uuid4())
    assert one.ask(hello(oid), oid)
    request = next_of(other, lambda each: each.message.delivery_info.queue != other.event_queue)
    assert json.loads(request.message.body)["method"] == "hello"
    for number in range(3):
        answer = encode_reply(Reply(node="b", value={"n": number}, ticket="t"))
        other.reply(answer, exchange="reply.celery.pidbox", routing_key=oid)
    answers: list[Any] = []

    def is_third(delivery: Delivery) -> bool:
        if delivery.message.delivery_info.queue == one.reply_queue:
            answers.append(json.loads(delivery.message.body))
        return len(answers) == 3

    next_of(one, is_third)
    assert answers == [{"b": {"n": number}} for number in range(3)]
    one.end_replies()
    assert one.reply_queue is None
    assert one.poll_interval_s is None
    # Asking works again, on a new queue.
    oid = str(uuid.uuid4())
    assert one.ask(hello(oid), oid)
    one.end_replies()


def test_without_a_mailbox_nothing_can_be_asked(url: str) -> None:
    side = KombuSideChannel(url, None, events=EventQueue())
    side.connect()
    assert not side.ask(hello("x"), "x")
    side.end_replies()
    side.disconnect()


def test_over_a_transport_without_neighbours_nothing_is_asked() -> None:
    side = KombuSideChannel("memory://", Mailbox(node="w@h"), events=EventQueue())
    side.connect()
    assert side.event_queue is None
    assert not side.ask(hello("x"), "x")
    side.disconnect()
