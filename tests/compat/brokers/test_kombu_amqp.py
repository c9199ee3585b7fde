"""What only AMQP has.

Spec: transports#1
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from kombu import connection as kombu_connection
from kombu import messaging

from celeriac.brokers.base import BrokerAccessError, BrokerLostError
from celeriac.brokers.kombu import KombuBroker, KombuPublisher
from celeriac_protocol.message import Message, Properties
from tests.compat.brokers.conftest import Site
from tests.compat.brokers.driving import (
    Exchange,
    Queue,
    a_message,
    a_queue,
    ids,
    nothing_comes,
    receive,
    send,
    tags,
    wait_for_loss,
)
from tests.compat.brokers.proxy import Proxy

Connection: Any = kombu_connection.Connection
Producer: Any = messaging.Producer


@pytest.fixture
def site(make_site: Callable[[str], Site]) -> Site:
    return make_site("rabbitmq")


@pytest.fixture
def channel(site: Site) -> Iterator[Any]:
    """A channel of somebody else."""
    with Connection(site.url) as connection:
        yield connection.channel()


def exists(queue: Any, channel: Any) -> bool:
    try:
        queue(channel).queue_declare(passive=True)
    except channel.connection.channel_errors:
        return False
    return True


def test_a_wrong_password_is_refused_for_good(site: Site) -> None:
    parts = urlsplit(site.url)
    broker = KombuBroker(site.url.replace(parts.netloc, f"guest:wrong@127.0.0.1:{parts.port}"))
    with pytest.raises(BrokerAccessError, match="403"):
        broker.connect()
    assert "wrong" not in broker.display_url


def test_an_unknown_virtual_host_is_refused_for_good(site: Site) -> None:
    broker = KombuBroker(site.url.rstrip("/") + "/nowhere")
    with pytest.raises(BrokerAccessError, match="530"):
        broker.connect()


def test_a_conflicting_declaration_is_refused_for_good_and_names_the_argument(
    site: Site, channel: Any
) -> None:
    queue = a_queue()
    Queue(queue.name, queue_arguments={"x-max-priority": 3}, channel=channel).declare()
    broker = site.broker()
    broker.connect()
    with pytest.raises(BrokerAccessError, match="x-max-priority"):
        broker.consume([queue], 1)


def test_a_missing_queue_that_must_not_be_declared_is_lost(site: Site) -> None:
    broker = site.broker()
    broker.connect()
    with pytest.raises(BrokerLostError, match="404"):
        broker.consume([a_queue(no_declare=True)], 1)


def test_a_deleted_queue_is_declared_and_consumed_again_and_the_others_go_on(
    site: Site, channel: Any
) -> None:
    kept, deleted = a_queue(), a_queue()
    broker = site.consuming(kept, deleted)
    publisher = site.publisher()
    send(publisher, kept, 1)
    (held,) = receive(broker, 1)
    deleted(channel).delete()
    end = time.monotonic() + 20
    while not exists(deleted, channel):
        assert time.monotonic() < end
        assert broker.fetch(1) == []
        time.sleep(0.02)
    send(publisher, deleted, 2)
    send(publisher, kept, 3)
    got = receive(broker, 2)
    assert sorted(ids(got)) == ["2", "3"]
    broker.ack([held.tag, *tags(got)])


def test_a_window_per_consumer_is_cut_into_parts_for_quorum_queues(site: Site) -> None:
    queues = [a_queue(queue_arguments={"x-queue-type": "quorum"}) for _ in range(2)]
    broker = site.consuming(*queues, prefetch=5)
    publisher = site.publisher()
    for queue in queues:
        send(publisher, queue, *range(6))
    got = receive(broker, 5)
    nothing_comes(broker)
    broker.set_prefetch(8)
    got += receive(broker, 3)
    nothing_comes(broker)
    broker.ack(tags(got))
    got = receive(broker, 4)
    broker.ack(tags(got))


def test_acks_in_any_order_leave_nothing_unsettled(site: Site) -> None:
    queue = a_queue()
    broker = site.consuming(queue, prefetch=30)
    send(site.publisher(), queue, *range(30))
    got = tags(receive(broker, 30))
    broker.ack(got[5:10])
    broker.ack(got[0:5] + got[20:25])
    broker.ack([got[19]])
    broker.reject([got[10]], requeue=False)
    broker.ack(got[11:19])
    broker.ack(got[25:])
    broker.disconnect()
    again = site.consuming(queue)
    nothing_comes(again)


def test_contiguous_acks_are_one_frame_and_an_unsettled_one_is_never_covered(site: Site) -> None:
    proxy = Proxy(site.url)
    queue = a_queue()
    broker = KombuBroker(proxy.url)
    broker.connect()
    broker.consume([queue], 10)
    send(site.publisher(), queue, *range(6))
    got = tags(receive(broker, 6))
    broker.heartbeat()
    proxy.sent.clear()
    broker.ack(got[:3])
    broker.ack([got[4]])
    broker.ack([got[5], got[3]])
    broker.disconnect()
    acks = [
        (int.from_bytes(proxy.sent[at + 4 : at + 12]), proxy.sent[at + 12])
        for at in range(len(proxy.sent) - 12)
        if proxy.sent[at : at + 4] == b"\x00\x3c\x00\x50"
    ]
    assert acks == [(3, 1), (5, 0), (6, 1)]
    proxy.close()


def test_a_rejected_message_reaches_its_dead_letter_exchange(site: Site, channel: Any) -> None:
    dead = Queue("dead", Exchange("dlx", type="fanout"))
    dead(channel).declare()
    queue = a_queue(queue_arguments={"x-dead-letter-exchange": "dlx"})
    broker = site.consuming(queue, dead)
    send(site.publisher(), queue, 1)
    (first,) = receive(broker, 1)
    broker.reject([first.tag], requeue=False)
    (second,) = receive(broker, 1)
    assert second.message.delivery_info.queue == "dead"
    assert "x-death" in second.message.headers
    broker.ack([second.tag])


def test_heartbeats_are_sent_and_a_silent_broker_is_lost(site: Site) -> None:
    proxy = Proxy(site.url)
    broker = KombuBroker(proxy.url, heartbeat_s=1)
    broker.connect()
    assert broker.heartbeat() == pytest.approx(0.25)
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        broker.heartbeat()
        time.sleep(0.1)
    proxy.is_frozen = True
    wait_for_loss(broker.heartbeat)
    broker.disconnect()
    proxy.close()


def test_half_a_message_and_silence_keep_nobody_busy(site: Site) -> None:
    proxy = Proxy(site.url)
    queue = a_queue()
    broker = KombuBroker(proxy.url)
    broker.connect()
    broker.consume([queue], 10)
    message = Message(headers={}, properties=Properties(), body=b"x" * 5_000_000)
    site.publisher().publish(message, routing_key=queue.name, declare=[queue])
    (delivery,) = receive(broker, 1)
    assert len(delivery.message.body) == 5_000_000
    broker.ack([delivery.tag])
    broker.disconnect()
    proxy.close()


def test_a_task_message_has_the_property_flags_of_celery(site: Site) -> None:
    proxy = Proxy(site.url)
    queue = a_queue()
    publisher = KombuPublisher(proxy.url)
    message = a_message()
    publisher.publish(message, routing_key=queue.name, declare=[queue])
    proxy.sent.clear()
    publisher.publish(message, routing_key=queue.name, declare=[queue])
    sent = bytes(proxy.sent)
    assert b"\x00\x32\x00\x0a" not in sent  # declared once
    at = sent.index(b"\x00\x3c\x00\x28")
    assert sent[at + 4 : at + 8] == b"\x00\x00\x00" + bytes([len(queue.name)])
    header = sent.index(b"\x02\x00\x01")
    assert sent[header + 7 + 12 : header + 7 + 14] == b"\xfe\x00"
    proxy.sent.clear()
    publisher.publish(a_message(expiration="60000"), routing_key=queue.name)
    header = bytes(proxy.sent).index(b"\x02\x00\x01")
    assert proxy.sent[header + 7 + 12 : header + 7 + 14] == b"\xff\x00"
    publisher.close()
    proxy.close()


def test_leaked_options_do_not_travel(site: Site) -> None:
    queue = a_queue()
    message = a_message(extra={"origin": "gen1@host", "stamp": {"a": 1}}, message_id="m")
    site.publisher().publish(message, routing_key=queue.name, declare=[queue])
    broker = site.consuming(queue)
    (delivery,) = receive(broker, 1)
    assert dict(delivery.message.properties.extra) == {}
    assert delivery.message.properties.message_id == "m"
    broker.ack([delivery.tag])


def test_a_missing_exchange_is_reported_by_the_publish_itself(site: Site) -> None:
    publisher = site.publisher()
    with pytest.raises(Exception, match="no exchange 'nowhere'"):
        publisher.publish(a_message(), exchange="nowhere", routing_key="x")
    queue = a_queue()
    publisher.publish(a_message(), routing_key=queue.name, declare=[queue])
    broker = site.consuming(queue)
    broker.ack(tags(receive(broker, 1)))


def test_an_auto_deleting_queue_is_declared_on_every_publish(site: Site) -> None:
    queue = a_queue(queue_arguments={"x-expires": 60000})
    proxy = Proxy(site.url)
    publisher = KombuPublisher(proxy.url)
    for _ in range(3):
        publisher.publish(a_message(), routing_key=queue.name, declare=[queue])
    assert bytes(proxy.sent).count(b"\x00\x32\x00\x0a") == 3
    publisher.close()
    proxy.close()


def test_kombu_reads_what_we_publish_and_we_read_what_kombu_publishes(
    site: Site, channel: Any
) -> None:
    queue = a_queue()
    send(site.publisher(), queue, 5)
    message = queue(channel).get()
    assert message.headers["id"] == "5"
    assert message.payload == [[2, 3], {}, {"callbacks": None}]
    message.ack()
    Producer(channel).publish(
        {"a": "ünï"}, routing_key=queue.name, headers={"id": "6", "n": None}, serializer="json"
    )
    broker = site.consuming(queue)
    (delivery,) = receive(broker, 1)
    assert delivery.message.headers == {"id": "6", "n": None}
    assert delivery.message.properties.content_type == "application/json"
    broker.ack([delivery.tag])
