"""What only Redis has.

Spec: transports#2
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from kombu import connection as kombu_connection

from celeriac.brokers.kombu import KombuBroker
from celeriac.brokers.kombu_redis_waiting import PopWait
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

Connection: Any = kombu_connection.Connection


@pytest.fixture
def site(make_site: Callable[[str], Site]) -> Site:
    return make_site("redis")


@pytest.fixture
def client(site: Site) -> Iterator[Any]:
    client = redis.Redis.from_url(site.url)
    yield client
    client.close()


def consumer_of(broker: Any) -> Any:
    return broker._consumer


def test_the_envelope_is_celerys_byte_for_byte(site: Site, client: Any) -> None:
    message = Message(
        headers={"lang": "py", "task": "proj.add", "id": "b62c", "timelimit": [None, None]},
        properties=Properties(
            content_type="application/json",
            content_encoding="utf-8",
            correlation_id="b62c",
            reply_to="d1c2",
            delivery_mode=2,
            priority=0,
        ),
        body=b'[[2, 3], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]',
    )
    queue = a_queue("celery")
    site.publisher().publish(message, routing_key="celery", declare=[queue])
    (item,) = client.lrange("celery", 0, -1)
    head, tag = re.fullmatch(r'(.*"delivery_tag": ")([0-9a-f-]{36})"}}', item.decode()).groups()  # type: ignore[union-attr]
    assert str(uuid.UUID(tag)) == tag
    assert head == (
        '{"body": "W1syLCAzXSwge30sIHsiY2FsbGJhY2tzIjogbnVsbCwgImVycmJhY2tzIjogbnVsbCwgImNoYWluIjogbnVsbCwg'
        'ImNob3JkIjogbnVsbH1d", "content-encoding": "utf-8", "content-type": "application/json", '
        '"headers": {"lang": "py", "task": "proj.add", "id": "b62c", "timelimit": [null, null]}, '
        '"properties": {"correlation_id": "b62c", "reply_to": "d1c2", "delivery_mode": 2, '
        '"delivery_info": {"exchange": "", "routing_key": "celery"}, "priority": 0, '
        '"body_encoding": "base64", "delivery_tag": "'
    )


def test_leaks_expiration_and_priority_stand_where_celery_puts_them(
    site: Site, client: Any
) -> None:
    queue = a_queue()
    message = a_message(extra={"origin": "gen1@h"}, expiration="60000", priority=5)
    site.publisher().publish(message, routing_key=queue.name, declare=[queue])
    (item,) = client.lrange(queue.name + "\x06\x163", 0, -1)
    assert list(json.loads(item)["properties"]) == [
        "correlation_id",
        "reply_to",
        "origin",
        "delivery_mode",
        "expiration",
        "delivery_info",
        "priority",
        "body_encoding",
        "delivery_tag",
    ]


def test_bindings_are_kombus(site: Site, client: Any) -> None:
    queue = a_queue()
    send(site.publisher(), queue, 1)
    members = client.smembers(f"_kombu.binding.{queue.name}")
    assert members == {f"{queue.name}\x06\x16\x06\x16{queue.name}".encode()}


def test_priorities_are_consumed_lowest_first(site: Site) -> None:
    queue = a_queue()
    publisher = site.publisher()
    order = [9, 3, 0, 6, 5, 0, 8]
    for number, priority in enumerate(order):
        send(publisher, queue, number, priority=priority)
    broker = site.consuming(queue)
    got = receive(broker, len(order))
    assert [order[int(i)] for i in ids(got)] == [0, 0, 3, 5, 6, 8, 9]
    broker.ack(tags(got))


def test_busy_queues_are_served_in_turn(site: Site) -> None:
    queues = [a_queue(), a_queue()]
    publisher = site.publisher()
    for queue in queues:
        send(publisher, queue, *range(10))
    broker = site.consuming(*queues, prefetch=4)
    got = receive(broker, 4)
    names = [delivery.message.delivery_info.queue for delivery in got]
    assert {names.count(queue.name) for queue in queues} == {2}


def test_what_is_held_stands_in_unacked_as_kombu_keeps_it(site: Site, client: Any) -> None:
    queue = a_queue()
    broker = site.consuming(queue)
    send(site.publisher(), queue, 1)
    before = client.lrange(queue.name, 0, -1)[0]
    (delivery,) = receive(broker, 1)
    ((tag, entry),) = client.hgetall("unacked").items()
    assert json.loads(entry) == [json.loads(before), "", queue.name]
    ((indexed, score),) = client.zrange("unacked_index", 0, -1, withscores=True)
    assert indexed == tag
    assert abs(score - time.time()) < 60
    broker.ack([delivery.tag])
    assert client.exists("unacked", "unacked_index") == 0


def test_a_kombu_sweep_restores_what_we_hold(site: Site, client: Any) -> None:
    queue = a_queue()
    broker = site.consuming(queue)
    send(site.publisher(), queue, 1)
    client.lpush(queue.name, b"not JSON {")
    receive(broker, 2)
    broker.cancel()
    for tag in client.zrange("unacked_index", 0, -1):
        client.zadd("unacked_index", {tag: 1})
    with Connection(site.url) as connection:
        connection.channel().qos.restore_visible(num=None, interval=1)
        assert client.llen(queue.name) == 2
        assert client.exists("unacked") == 0
    broker.disconnect()
    other = site.consuming(queue)
    got = receive(other, 2)
    assert sorted(d.message.body for d in got)[1] == b"not JSON {"
    other.ack(tags(got))


def test_our_sweep_restores_what_a_dead_kombu_consumer_held(site: Site, client: Any) -> None:
    queue = a_queue()
    send(site.publisher(), queue, 1)
    broker = site.consuming(queue, more={"visibility_timeout": 1})
    (delivery,) = receive(broker, 1)
    item = client.hgetall("unacked").popitem()[1]
    broker.ack([delivery.tag])
    client.hset("unacked", "somebodys-tag", item)
    client.zadd("unacked_index", {"somebodys-tag": time.time() - 5})
    assert consumer_of(broker).sweep() == 1
    (again,) = receive(broker, 1)
    assert again.message.delivery_info.redelivered
    broker.ack([again.tag])


def test_a_held_delivery_is_not_swept_as_long_as_it_is_renewed(site: Site, client: Any) -> None:
    queue = a_queue()
    holder = site.consuming(queue, more={"visibility_timeout": 1})
    other = site.consuming(queue, more={"visibility_timeout": 1})
    send(site.publisher(), queue, 1)
    (delivery,) = receive(holder, 1)
    holder.cancel()
    (tag,) = client.zrange("unacked_index", 0, -1)
    client.zadd("unacked_index", {tag: time.time() - 5})
    holder.renew([delivery.tag])
    assert consumer_of(other).sweep() == 0
    client.zadd("unacked_index", {tag: time.time() - 5})
    assert consumer_of(other).sweep() == 1
    (copy,) = receive(other, 1)
    holder.ack([delivery.tag])
    assert client.hlen("unacked") == 1, "the ack of the first copy must not touch the second"
    other.ack([copy.tag])


def test_deliveries_of_a_killed_worker_are_given_back_by_another(site: Site, client: Any) -> None:
    queue = a_queue()
    send(site.publisher(), queue, 1, 2)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            broker = KombuBroker(site.url)
            broker.connect()
            broker.consume([queue], 10)
            receive(broker, 2)
            os.write(writer, b"x")
            signal.pause()
        finally:
            os._exit(1)
    os.read(reader, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    other = site.consuming(queue)
    end = time.monotonic() + 20
    while client.llen(queue.name) < 2 and time.monotonic() < end:
        consumer_of(other).sweep()
        time.sleep(0.05)
    got = receive(other, 2)
    assert sorted(ids(got)) == ["1", "2"]
    other.ack(tags(got))


def test_deliveries_of_a_living_worker_are_left_alone(site: Site) -> None:
    queue = a_queue()
    holder, other = site.consuming(queue), site.consuming(queue)
    send(site.publisher(), queue, 1)
    got = receive(holder, 1)
    for _ in range(4):
        assert consumer_of(other).sweep() == 0
    holder.ack(tags(got))


def test_what_comes_while_an_idle_worker_is_not_looking_stays_in_its_list(
    site: Site, client: Any
) -> None:
    queue = a_queue()
    broker = site.consuming(queue)
    nothing_comes(broker)
    send(site.publisher(), queue, 1)
    assert client.llen(queue.name) == 1, "whoever is killed now loses nothing"
    broker.ack(tags(receive(broker, 1)))


def test_an_item_in_a_list_of_another_priority_ends_the_wait(site: Site) -> None:
    queues = [a_queue(), a_queue()]
    broker = site.consuming(*queues)
    publisher = site.publisher()
    for number, priority in enumerate((9, 0, 3, 9)):
        nothing_comes(broker)
        send(publisher, queues[number % 2], number, priority=priority)
        broker.ack(tags(receive(broker, 1)))


def test_the_wait_goes_on_when_the_command_connection_was_replaced(site: Site) -> None:
    queue = a_queue()
    broker = site.consuming(queue)
    nothing_comes(broker)
    consumer_of(
        broker
    )._client.connection.disconnect()  # as `retry_on_timeout` does, without a word
    send(site.publisher(), queue, 1)
    broker.heartbeat()
    broker.ack(tags(receive(broker, 1)))


@pytest.fixture
def refusing(site: Site, client: Any) -> Iterator[Site]:
    """The same server, for a user who is not told about changes."""
    client.execute_command(
        *("ACL", "SETUSER", "plain", "on", ">secret", "~*", "&*", "+@all", "-client|tracking")
    )
    plain = Site("redis", site.url.replace("redis://", "redis://plain:secret@"))
    yield plain
    plain.close()
    client.acl_deluser("plain")


def test_without_notices_a_brpop_waits(refusing: Site) -> None:
    queue = a_queue()
    broker = refusing.consuming(queue)
    assert isinstance(consumer_of(broker)._wait, PopWait)
    nothing_comes(broker)
    send(refusing.publisher(), queue, 1, 2)
    broker.ack(tags(receive(broker, 2)))


@pytest.mark.parametrize("way", ["site", "refusing"])
def test_closing_takes_back_the_wait_without_losing_what_comes_meanwhile(
    way: str, client: Any, request: pytest.FixtureRequest
) -> None:
    site: Site = request.getfixturevalue(way)
    publisher = site.publisher()
    for number in range(20):
        queue = a_queue()
        broker = site.consuming(queue)
        assert broker.fetch(10) == []
        send(publisher, queue, number)
        broker.disconnect()
        assert client.llen(queue.name) == 1
    assert client.exists("unacked", "unacked_index") == 0


def test_every_key_has_the_global_prefix(site: Site, client: Any) -> None:
    queue = a_queue()
    prefixed = Site("redis", site.url, {"global_keyprefix": "pre:"})
    broker = prefixed.consuming(queue)
    send(prefixed.publisher(), queue, 1, 2)
    got = receive(broker, 2)
    assert all(key.startswith(b"pre:") for key in client.keys("*"))
    broker.ack([got[0].tag])
    broker.reject([got[1].tag], requeue=True)
    broker.ack(tags(receive(broker, 1)))
    prefixed.close()


def test_without_ack_emulation_nothing_is_recorded(site: Site, client: Any) -> None:
    queue = a_queue()
    plain = Site("redis", site.url, {"ack_emulation": False})
    broker = plain.consuming(queue)
    send(plain.publisher(), queue, 1, 2)
    got = receive(broker, 2)
    assert client.exists("unacked", "unacked_index") == 0
    broker.ack([got[0].tag])
    broker.reject([got[1].tag], requeue=True)
    assert ids(receive(broker, 1)) == ids(got[1:])
    plain.close()


def test_broadcast_queues_are_heard(site: Site) -> None:
    exchange = Exchange("news", type="fanout")
    queues = [Queue(f"bcast.{n}", exchange, auto_delete=True) for n in range(2)]
    brokers = [site.consuming(queue) for queue in queues]
    for broker in brokers:
        nothing_comes(broker, turns=2)
    site.publisher().publish(a_message(7), exchange=exchange, routing_key="", declare=[exchange])
    for broker, queue in zip(brokers, queues, strict=True):
        (delivery,) = receive(broker, 1)
        assert ids([delivery]) == ["7"]
        assert delivery.message.delivery_info.queue == queue.name
        broker.ack([delivery.tag])


def test_a_full_server_still_takes_acks(site: Site, client: Any) -> None:
    queue = a_queue()
    broker = site.consuming(queue)
    send(site.publisher(), queue, 1)
    got = receive(broker, 1)
    client.config_set("maxmemory", 1)
    try:
        broker.ack(tags(got))
    finally:
        client.config_set("maxmemory", 0)
    assert client.exists("unacked", "unacked_index") == 0


def test_one_round_trip_takes_many_and_one_acks_them(site: Site, client: Any) -> None:
    queue = a_queue()
    broker = site.consuming(queue, prefetch=100)
    send(site.publisher(), queue, *range(50))
    receive(broker, 0)
    before = client.info("commandstats")
    got = receive(broker, 50)
    broker.ack(tags(got))
    after = client.info("commandstats")

    def calls(name: str) -> int:
        key = f"cmdstat_{name}"
        return int(after.get(key, {"calls": 0})["calls"] - before.get(key, {"calls": 0})["calls"])

    assert calls("evalsha") + calls("eval") <= 3
    assert calls("hdel") == calls("zrem") == 1
