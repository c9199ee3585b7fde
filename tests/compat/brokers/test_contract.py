"""What every broker and publisher promises, run over all of them."""

from __future__ import annotations

import pytest

from celeriac.brokers.base import BrokerLostError, Delivery
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
)


def test_a_message_arrives_as_it_was_published(site: Site) -> None:
    queue = a_queue()
    broker = site.consuming(queue)
    site.publisher().publish(a_message(), routing_key=queue.name, declare=[queue])
    (delivery,) = receive(broker, 1)
    sent, got = a_message(), delivery.message
    assert delivery.broken is None
    assert (got.headers, got.body) == (sent.headers, sent.body)
    assert got.properties == sent.properties
    assert got.delivery_info.routing_key == queue.name
    assert got.delivery_info.exchange == ""
    assert got.delivery_info.queue == queue.name
    assert got.delivery_info.redelivered is False
    broker.ack([delivery.tag])


def test_bodies_are_bytes_whatever_the_content_encoding_says(site: Site) -> None:
    queue = a_queue()
    broker = site.consuming(queue)
    publisher = site.publisher()
    bodies = [b"", "ünïcode".encode(), b"\x80\x00\xff binary", b"x" * 300_000]
    for body in bodies:
        properties = Properties(content_type="application/data", content_encoding="utf-8")
        message = Message(headers={}, properties=properties, body=body)
        publisher.publish(message, routing_key=queue.name, declare=[queue])
    deliveries = receive(broker, len(bodies))
    assert [delivery.message.body for delivery in deliveries] == bodies
    broker.ack(tags(deliveries))


def test_a_window_bounds_what_is_unsettled_and_settling_opens_it(site: Site) -> None:
    queue = a_queue()
    broker = site.consuming(queue, prefetch=3)
    send(site.publisher(), queue, *range(5))
    first = receive(broker, 3)
    nothing_comes(broker)
    broker.ack(tags(first[:2]))
    rest = receive(broker, 2)
    assert sorted(ids(first + rest)) == [str(n) for n in range(5)]
    broker.ack(tags(first[2:] + rest))


def test_the_window_can_be_changed_while_consuming(site: Site) -> None:
    queue = a_queue()
    broker = site.consuming(queue, prefetch=1)
    send(site.publisher(), queue, *range(6))
    got = receive(broker, 1)
    broker.set_prefetch(4)
    got += receive(broker, 3)
    nothing_comes(broker)
    broker.set_prefetch(0)
    got += receive(broker, 2)
    broker.ack(tags(got))


def test_the_window_spans_all_queues(site: Site) -> None:
    queues = [a_queue(), a_queue(), a_queue()]
    broker = site.consuming(*queues, prefetch=4)
    publisher = site.publisher()
    for queue in queues:
        send(publisher, queue, 1, 2, 3)
    got = receive(broker, 4)
    nothing_comes(broker)
    while len(got) < 9:
        broker.ack([got[-1].tag])
        got += receive(broker, 1)
    broker.ack(tags(got))
    assert {d.message.delivery_info.queue for d in got} == {queue.name for queue in queues}


def test_fetch_never_returns_more_than_its_limit(site: Site) -> None:
    queue = a_queue()
    broker = site.consuming(queue, prefetch=10)
    send(site.publisher(), queue, *range(4))
    got: list[Delivery] = []
    while len(got) < 4:
        part = broker.fetch(1)
        assert len(part) <= 1
        got += part
    assert ids(got) == ["0", "1", "2", "3"]
    broker.ack(tags(got))


def test_an_acked_message_never_comes_again(site: Site) -> None:
    queue = a_queue()
    broker = site.consuming(queue)
    send(site.publisher(), queue, 1, 2)
    got = receive(broker, 2)
    broker.ack([got[0].tag])
    broker.disconnect()
    broker.connect()
    broker.consume([queue], 10)
    (again,) = receive(broker, 1)
    assert ids([again]) == [ids(got)[1]]
    assert again.message.delivery_info.redelivered is True
    broker.ack([again.tag])


def test_requeued_messages_come_again_marked_as_redelivered(site: Site) -> None:
    queue = a_queue()
    broker = site.consuming(queue)
    send(site.publisher(), queue, 1)
    (first,) = receive(broker, 1)
    broker.reject([first.tag], requeue=True)
    (second,) = receive(broker, 1)
    assert second.message.delivery_info.redelivered is True
    assert second.message.body == first.message.body
    broker.ack([second.tag])


def test_discarded_messages_are_gone(site: Site) -> None:
    queue = a_queue()
    broker = site.consuming(queue)
    send(site.publisher(), queue, 1)
    (delivery,) = receive(broker, 1)
    broker.reject([delivery.tag], requeue=False)
    broker.disconnect()
    broker.connect()
    broker.consume([queue], 10)
    nothing_comes(broker)


def test_what_was_not_started_goes_back_in_its_order(site: Site) -> None:
    queue = a_queue()
    broker = site.consuming(queue)
    send(site.publisher(), queue, 1, 2, 3, 4)
    got = receive(broker, 4)
    broker.cancel()
    broker.ack([got[0].tag])
    broker.reject(tags(got[1:]), requeue=True)
    broker.disconnect()
    other = site.consuming(queue)
    again = receive(other, 3)
    assert ids(again) == ["2", "3", "4"]
    other.ack(tags(again))


def test_after_cancel_nothing_wakes_a_loop_that_fetches_no_more(site: Site) -> None:
    queue = a_queue()
    broker = site.consuming(queue)
    nothing_comes(broker)
    broker.cancel()
    assert list(broker.filenos()) == []


def test_after_cancel_nothing_is_fetched_and_held_deliveries_can_be_settled(site: Site) -> None:
    queue = a_queue()
    broker = site.consuming(queue, prefetch=1)
    publisher = site.publisher()
    send(publisher, queue, 1)
    (delivery,) = receive(broker, 1)
    broker.cancel()
    send(publisher, queue, 2)
    broker.ack([delivery.tag])
    nothing_comes(broker)
    broker.consume([queue], 1)
    (second,) = receive(broker, 1)
    assert ids([second]) == ["2"]
    broker.ack([second.tag])


def test_tags_of_an_earlier_connection_are_ignored(site: Site) -> None:
    queue = a_queue()
    broker = site.consuming(queue)
    send(site.publisher(), queue, 1)
    stale = tags(receive(broker, 1))
    broker.disconnect()
    broker.ack(stale)
    broker.connect()
    broker.consume([queue], 10)
    (fresh,) = receive(broker, 1)
    broker.ack(stale)
    broker.reject(stale, requeue=True)
    broker.renew(stale)
    broker.ack([fresh.tag])
    nothing_comes(broker)


def test_settling_twice_is_harmless(site: Site) -> None:
    queue = a_queue()
    broker = site.consuming(queue)
    send(site.publisher(), queue, 1)
    delivery = tags(receive(broker, 1))
    broker.ack(delivery)
    broker.ack(delivery)
    broker.reject(delivery, requeue=True)
    nothing_comes(broker)


def test_without_a_connection_every_method_says_lost(site: Site) -> None:
    broker = site.broker()
    for call in (
        lambda: broker.consume([a_queue()], 1),
        broker.cancel,
        lambda: broker.set_prefetch(1),
        lambda: broker.fetch(1),
        broker.heartbeat,
    ):
        with pytest.raises(BrokerLostError):
            call()
    broker.disconnect()


def test_two_consumers_share_a_queue_without_sharing_a_message(site: Site) -> None:
    queue = a_queue()
    one = site.consuming(queue, prefetch=2)
    two = site.consuming(queue, prefetch=2)
    send(site.publisher(), queue, *range(4))
    got = receive(one, 2) + receive(two, 2)
    assert sorted(ids(got)) == ["0", "1", "2", "3"]


def test_publishing_through_an_exchange_follows_its_bindings(site: Site) -> None:
    exchange = Exchange(f"x-{site.kind}", type="direct")
    queue = Queue(f"bound-{site.kind}", exchange, routing_key="key")
    broker = site.consuming(queue)
    publisher = site.publisher()
    publisher.publish(a_message(), exchange=exchange, routing_key="key", declare=[queue])
    publisher.publish(a_message(2), exchange=exchange, routing_key="other", declare=[queue])
    (delivery,) = receive(broker, 1)
    assert delivery.message.delivery_info.exchange == exchange.name
    assert delivery.message.delivery_info.routing_key == "key"
    broker.ack([delivery.tag])
    nothing_comes(broker)


def test_renewing_what_is_held_is_possible(site: Site) -> None:
    queue = a_queue()
    broker = site.consuming(queue)
    send(site.publisher(), queue, 1)
    delivery = tags(receive(broker, 1))
    broker.renew(delivery)
    broker.ack(delivery)
    nothing_comes(broker)
