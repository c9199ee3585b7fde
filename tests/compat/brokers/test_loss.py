"""Losing the broker and finding it again.

Spec: transports#6, pains B, pains C
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import redis
from kombu.exceptions import OperationalError

from celeriac.brokers.base import Broker, BrokerLostError, Delivery
from tests.compat.brokers.conftest import Site
from tests.compat.brokers.driving import (
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


@pytest.fixture(params=["redis", "rabbitmq"])
def direct(request: pytest.FixtureRequest, make_site: Callable[[str], Site]) -> Site:
    """A server reached directly."""
    return make_site(request.param)


@pytest.fixture
def proxy(direct: Site) -> Iterator[Proxy]:
    proxy = Proxy(direct.url)
    yield proxy
    proxy.close()


@pytest.fixture
def site(direct: Site, proxy: Proxy) -> Iterator[Site]:
    """The same server through the proxy."""
    site = Site(direct.kind, proxy.url)
    yield site
    with contextlib.suppress(BrokerLostError):
        site.close()


def lose(broker: Broker) -> None:
    """Turn until the broker notices."""
    wait_for_loss(lambda: broker.fetch(1))


def reconnect(broker: Broker, *queues: object) -> None:
    broker.disconnect()
    broker.connect()
    broker.consume(list(queues), 10)


def receive_again(broker: Broker, count: int) -> list[Delivery]:
    got = receive(broker, count)
    assert all(delivery.message.delivery_info.redelivered for delivery in got)
    return got


def test_an_idle_consumer_notices_the_cut_and_consumes_again(
    direct: Site, site: Site, proxy: Proxy
) -> None:
    queue = a_queue()
    broker = site.consuming(queue)
    nothing_comes(broker)
    assert proxy.cut() > 0
    lose(broker)
    reconnect(broker, queue)
    send(direct.publisher(), queue, 1)
    got = receive(broker, 1)
    broker.ack(tags(got))


def test_held_deliveries_come_again_after_the_loss_and_old_tags_are_ignored(
    direct: Site, site: Site, proxy: Proxy
) -> None:
    queue = a_queue()
    broker = site.consuming(queue)
    send(direct.publisher(), queue, 1, 2, 3)
    held = receive(broker, 3)
    proxy.cut()
    lose(broker)
    reconnect(broker, queue)
    again = receive_again(broker, 3)
    assert ids(again) == ["1", "2", "3"]
    broker.ack(tags(held))
    broker.ack(tags(again[:1]))
    reconnect(broker, queue)
    rest = receive_again(broker, 2)
    assert ids(rest) == ["2", "3"]
    broker.ack(tags(rest))


def test_settling_on_a_dead_connection_says_lost(direct: Site, site: Site, proxy: Proxy) -> None:
    queue = a_queue()
    broker = site.consuming(queue)
    send(direct.publisher(), queue, *range(3))
    held = receive(broker, 3)
    proxy.cut()
    wait_for_loss(lambda: broker.ack([held.pop().tag]) if held else broker.fetch(1))


def test_connecting_to_nobody_says_lost_and_may_be_tried_again(site: Site, proxy: Proxy) -> None:
    proxy.refuses = True
    broker = site.broker(connect_timeout_s=2)
    for _ in range(2):
        with pytest.raises(BrokerLostError):
            broker.connect()
    proxy.refuses = False
    broker.connect()
    broker.consume([a_queue()], 1)
    nothing_comes(broker, turns=2)


def test_the_next_url_is_tried_when_one_is_dead(direct: Site, proxy: Proxy) -> None:
    proxy.refuses = True
    queue = a_queue()
    site = Site(direct.kind, f"{proxy.url};{direct.url}")
    broker = site.consuming(queue)
    publisher = site.publisher()
    for number in range(3):
        send(publisher, queue, number)
    broker.ack(tags(receive(broker, 3)))
    site.close()


def test_publishing_survives_a_cut_between_messages(direct: Site, site: Site, proxy: Proxy) -> None:
    queue = a_queue()
    publisher = site.publisher()
    send(publisher, queue, 1)
    proxy.cut()
    send(publisher, queue, 2)
    proxy.cut()
    publisher.publish(a_message(3), routing_key=queue.name, declare=[queue], retry=False)
    broker = direct.consuming(queue)
    got = receive(broker, 3)
    assert ids(got) == ["1", "2", "3"]
    broker.ack(tags(got))


def test_publishing_to_nobody_fails_within_the_policy(site: Site, proxy: Proxy) -> None:
    proxy.refuses = True
    publisher = site.publisher(connect_timeout=1)
    queue = a_queue()
    policy = {"max_retries": 2, "interval_start": 0, "interval_step": 0.01, "interval_max": 0.02}
    with pytest.raises(OperationalError):
        publisher.publish(a_message(), routing_key=queue.name, retry_policy=policy)
    with pytest.raises(OperationalError):
        publisher.publish(a_message(), routing_key=queue.name, retry=False)
    proxy.refuses = False
    publisher.publish(a_message(), routing_key=queue.name, declare=[queue])


def test_what_was_acked_without_a_connection_is_settled_by_the_next_one_on_redis(
    make_site: Callable[[str], Site],
) -> None:
    direct = make_site("redis")
    proxy = Proxy(direct.url)
    queue = a_queue()
    broker = Site("redis", proxy.url).consuming(queue)
    send(direct.publisher(), queue, 1, 2)
    done, open_ = receive(broker, 2)
    proxy.cut()
    lose(broker)
    broker.disconnect()
    broker.ack([done.tag])
    broker.connect()
    broker.consume([queue], 10)
    (again,) = receive_again(broker, 1)
    assert ids([again]) == ids([open_])
    broker.ack([again.tag])
    nothing_comes(broker)
    client = redis.Redis.from_url(direct.url)
    assert client.exists("unacked", "unacked_index", queue.name) == 0
    client.close()
    broker.disconnect()
    proxy.close()


def handle_of(delivery: Delivery) -> Any:
    _, handle = cast("tuple[int, Any]", delivery.tag)
    return handle


def test_an_ack_that_meets_the_loss_is_made_by_the_next_connection_on_redis(
    make_site: Callable[[str], Site],
) -> None:
    direct = make_site("redis")
    proxy = Proxy(direct.url)
    queue = a_queue()
    broker = Site("redis", proxy.url).consuming(queue)
    send(direct.publisher(), queue, 1, 2)
    open_, done = receive(broker, 2)
    proxy.refuses = True
    proxy.cut()
    with pytest.raises(BrokerLostError):
        broker.ack([done.tag])
    proxy.refuses = False
    broker.connect()
    broker.consume([queue], 10)
    (again,) = receive_again(broker, 1)
    assert ids([again]) == ids([open_])
    assert handle_of(again) != handle_of(open_), "or it would overwrite what the first one left"
    broker.ack([again.tag])
    client = redis.Redis.from_url(direct.url)
    assert client.exists("unacked", "unacked_index", queue.name) == 0
    client.close()
    broker.disconnect()
    proxy.close()
