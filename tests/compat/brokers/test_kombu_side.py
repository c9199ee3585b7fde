"""The side channel over real transports: requests come in, replies and events go out."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import kombu
import pytest

from celeriac.brokers.base import Delivery, Mailbox, PublishError, SideChannelUnsupportedError
from celeriac.brokers.kombu_side import KombuSideChannel
from celeriac_protocol.control import Reply, encode_reply
from celeriac_protocol.events import Event, encode_event

_kombu: Any = kombu
PIDBOX = _kombu.Exchange("celery.pidbox", "fanout", durable=False)
REPLIES = _kombu.Exchange("reply.celery.pidbox", "direct", durable=False)


@pytest.fixture(params=["memory", "redis", "rabbitmq"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "memory://"
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def node() -> str:
    return f"w-{uuid.uuid4().hex[:8]}@h"


@pytest.fixture
def side(url: str, node: str) -> Iterator[KombuSideChannel]:
    channel = KombuSideChannel(url, Mailbox(node=node))
    channel.connect()
    yield channel
    channel.disconnect()


def eventually(fetch: Callable[[], Any]) -> Any:
    """Ask until there is something."""
    deadline = time.monotonic() + 10
    while not (found := fetch()):
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.01)
    return found


def heard(side: KombuSideChannel) -> Delivery:
    (delivery,) = eventually(lambda: side.fetch(10))
    assert isinstance(delivery, Delivery)
    return delivery


def test_a_broadcast_is_heard(side: KombuSideChannel, url: str) -> None:
    with _kombu.Connection(url) as client:
        client.Producer().publish({"method": "ping"}, exchange=PIDBOX, declare=[PIDBOX])
        delivery = heard(side)
    assert delivery.broken is None
    assert json.loads(delivery.message.body) == {"method": "ping"}
    assert side.fetch(10) == []


def test_a_reply_reaches_the_queue_that_waits_for_it(side: KombuSideChannel, url: str) -> None:
    key = uuid.uuid4().hex
    with _kombu.Connection(url) as client:
        queue = _kombu.Queue(
            f"{key}.reply", REPLIES, routing_key=key, auto_delete=True, durable=False
        )
        bound = queue(client.default_channel)
        bound.declare()
        message = encode_reply(Reply(node="w@h", value={"ok": 1}, ticket="t", clock=3))
        side.reply(message, exchange=REPLIES.name, routing_key=key)
        reply = eventually(bound.get)
    assert reply.decode() == {"w@h": {"ok": 1}}
    assert (reply.headers["ticket"], reply.headers["clock"]) == ("t", 3)


def test_an_event_is_published(side: KombuSideChannel) -> None:
    event = Event(type="worker-online", hostname="w@h", timestamp=1.0)
    side.publish_event(encode_event(event), routing_key="worker.online")
    assert side.fetch(10) == []


def test_a_second_worker_of_the_same_name_gets_a_mailbox_of_its_own(
    rabbitmq_url: str, node: str, caplog: pytest.LogCaptureFixture
) -> None:
    both = [KombuSideChannel(rabbitmq_url, Mailbox(node=node)) for _ in range(2)]
    for side in both:
        side.connect()
    assert "already using this process mailbox" in caplog.text
    with _kombu.Connection(rabbitmq_url) as client:
        client.Producer().publish({"method": "ping"}, exchange=PIDBOX)
        for side in both:
            assert heard(side).broken is None
    for side in both:
        side.disconnect()


def test_a_refused_reply_leaves_the_connection_alive(rabbitmq_url: str, node: str) -> None:
    side = KombuSideChannel(rabbitmq_url, Mailbox(node=node))
    side.connect()
    message = encode_reply(Reply(node="w@h", value=None))
    with pytest.raises(PublishError):
        side.reply(message, exchange="celery.pidbox", routing_key="x")
    side.reply(message, exchange=REPLIES.name, routing_key="nobody")
    side.disconnect()


def test_a_transport_that_cannot_broadcast_says_so() -> None:
    side = KombuSideChannel("sqla+sqlite:///:memory:", Mailbox(node="w@h"))
    with pytest.raises(SideChannelUnsupportedError):
        side.connect()
    side.disconnect()
