"""The switches of the in-process server."""

from __future__ import annotations

import uuid

import pytest
from kombu.exceptions import OperationalError

from celeriac.brokers.base import BrokerAccessError, BrokerLostError
from celeriac.brokers.memory import MemoryBroker, MemoryPublisher, MemoryServer
from tests.compat.brokers.driving import a_message, a_queue, ids, receive, send, tags


@pytest.fixture
def url() -> str:
    return f"memory://{uuid.uuid4().hex}"


def test_a_cut_connection_is_lost_and_its_deliveries_come_again(url: str) -> None:
    queue, broker = a_queue(), MemoryBroker(url)
    broker.connect()
    broker.consume([queue], 10)
    send(MemoryPublisher(url), queue, 1, 2)
    stale = receive(broker, 2)
    MemoryServer.of(url).cut()
    with pytest.raises(BrokerLostError):
        broker.ack(tags(stale))
    broker.connect()
    broker.consume([queue], 10)
    again = receive(broker, 2)
    assert ids(again) == ["1", "2"]
    assert all(d.message.delivery_info.redelivered for d in again)


def test_a_server_that_is_down_takes_nobody(url: str) -> None:
    server = MemoryServer.of(url)
    server.is_down = True
    with pytest.raises(BrokerLostError):
        MemoryBroker(url).connect()
    with pytest.raises(OperationalError):
        MemoryPublisher(url).publish(a_message(), routing_key="q")
    server.is_down, server.refuses_access = False, True
    with pytest.raises(BrokerAccessError):
        MemoryBroker(url).connect()


def test_refused_messages_are_retried_within_the_policy(url: str) -> None:
    server, publisher = MemoryServer.of(url), MemoryPublisher(url)
    server.refuses_messages = 2
    publisher.publish(a_message(), routing_key="q", retry_policy={"max_retries": 2})
    server.refuses_messages = 1
    with pytest.raises(OperationalError):
        publisher.publish(a_message(), routing_key="q", retry=False)
    assert len(server.queues["q"]) == 1


def test_what_was_discarded_and_acknowledged_can_be_seen(url: str) -> None:
    queue, broker, server = a_queue(), MemoryBroker(url), MemoryServer.of(url)
    broker.connect()
    broker.consume([queue], 0)
    send(MemoryPublisher(url), queue, 1, 2)
    one, two = receive(broker, 2)
    broker.ack([one.tag])
    broker.reject([two.tag], requeue=False)
    assert server.acknowledged == 1
    assert [message.headers["id"] for message in server.discarded] == ["2"]
