"""Whatever lies in a queue: it is delivered, broken or not, and the next message is served by the same connection.

Spec: pains A
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celeriac.brokers.base import Broker, Delivery
from tests.compat.brokers.conftest import Site
from tests.compat.brokers.driving import a_queue, nothing_comes, receive, send


def envelope(**changes: Any) -> dict[str, Any]:
    """A good envelope with changed keys; `...` removes one."""
    whole: dict[str, Any] = {
        "body": "W1syLCAzXSwge30sIHt9XQ==",
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": "t.add", "id": "1"},
        "properties": {
            "correlation_id": "1",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "q"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }
    whole.update(changes)
    return {key: value for key, value in whole.items() if value is not ...}


def properties(**changes: Any) -> dict[str, Any]:
    """A good envelope with changed properties."""
    inner: dict[str, Any] = {**envelope()["properties"], **changes}
    return envelope(properties={k: v for k, v in inner.items() if v is not ...})


BROKEN: dict[str, Any] = {
    "not JSON": b"{{{",
    "nothing": b"",
    "not UTF-8": b'{"body": "\xff\xfe"}',
    "half": json.dumps(envelope())[:-20].encode(),
    "null": None,
    "a list": [1, 2],
    "a number": 7,
    "a string": "text",
    "an empty object": {},
    "no properties": envelope(properties=...),
    "null properties": envelope(properties=None),
    "a list of properties": envelope(properties=[]),
    "a list of headers": envelope(headers=[]),
    "a number for headers": envelope(headers=3),
    "unknown body encoding": properties(body_encoding="rot13"),
    "a number for body encoding": properties(body_encoding=5),
    "bad base64": envelope(body="@@@@"),
    "a null body": envelope(body=None),
    "a list for body": envelope(body=[]),
    "a list for delivery info": properties(delivery_info=[]),
    "a number for exchange": properties(delivery_info={"exchange": 1, "routing_key": "q"}),
    "a list for content type": envelope(**{"content-type": []}),
    "nested too deeply": b'{"properties": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "a bad typed header": envelope(headers={"x": {"__type__": "nonsense", "__value__": 1}}),
    "a bad date in a header": envelope(headers={"x": {"__type__": "datetime", "__value__": 1}}),
}

ODD_BUT_GOOD: dict[str, Any] = {
    "null headers": envelope(headers=None),
    "no headers": envelope(headers=...),
    "no delivery info": properties(delivery_info=...),
    "null delivery info": properties(delivery_info=None),
    "no delivery tag": properties(delivery_tag=...),
    "null delivery tag": properties(delivery_tag=None),
    "an object for delivery tag": properties(delivery_tag={"a": 1}),
    "no priority": properties(priority=...),
    "a word for priority": properties(priority="high"),
    "no body encoding": envelope(
        body="plain", properties=properties(body_encoding=...)["properties"]
    ),
    "no content type": envelope(**{"content-type": ...}),
    "unknown keys": envelope(more=1),
}


def raw_of(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def drop_file(site: Site, queue: str, raw: bytes) -> None:
    folder = Path(site.options["data_folder_in"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{time.monotonic_ns() // 1000000}_{uuid.uuid4()}.{queue}.msg"
    path.write_bytes(raw)
    long_ago = time.time() - 60
    import os

    os.utime(path, (long_ago, long_ago))


def push(site: Site, queue: str, raw: bytes) -> None:
    client = redis.Redis.from_url(site.url)
    client.lpush(queue, raw)
    client.close()


def insert_row(site: Site, queue: str, raw: bytes) -> None:
    import sqlite3

    with sqlite3.connect(site.url.removeprefix("sqla+sqlite:///")) as database:
        (number,) = database.execute(
            "select id from kombu_queue where name = ?", (queue,)
        ).fetchone()
        database.execute(
            "insert into kombu_message (visible, payload, version, queue_id) values (1, ?, 1, ?)",
            (raw.decode("utf-8", "surrogateescape") if _is_text(raw) else raw, number),
        )
    database.close()


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


PLANT: dict[str, Callable[[Site, str, bytes], None]] = {
    "redis": push,
    "filesystem": drop_file,
    "sqlite": insert_row,
}


@pytest.fixture(params=sorted(PLANT))
def planted(request: pytest.FixtureRequest, make_site: Callable[[str], Site]) -> Site:
    return make_site(request.param)


def one_then_a_canary(site: Site, broker: Broker, queue: Any, raw: bytes) -> Delivery:
    PLANT[site.kind](site, queue.name, raw)
    (delivery,) = receive(broker, 1)
    send(site.publisher(), queue, 42)
    (canary,) = receive(broker, 1)
    assert canary.message.headers["id"] == "42"
    broker.ack([canary.tag])
    return delivery


@pytest.mark.parametrize("what", sorted(BROKEN))
def test_a_broken_item_is_delivered_with_its_raw_bytes(planted: Site, what: str) -> None:
    if planted.kind == "sqlite" and what in ("nothing", "not UTF-8"):
        pytest.skip("a text column holds neither")
    queue, raw = a_queue(), raw_of(BROKEN[what])
    broker = planted.consuming(queue)
    delivery = one_then_a_canary(planted, broker, queue, raw)
    assert delivery.broken is not None
    assert delivery.message.body == raw
    assert delivery.message.delivery_info.queue == queue.name
    broker.reject([delivery.tag], requeue=False)
    nothing_comes(broker)


@pytest.mark.parametrize("what", sorted(ODD_BUT_GOOD))
def test_an_odd_item_is_a_good_delivery(planted: Site, what: str) -> None:
    queue, raw = a_queue(), raw_of(ODD_BUT_GOOD[what])
    broker = planted.consuming(queue)
    delivery = one_then_a_canary(planted, broker, queue, raw)
    assert delivery.broken is None
    assert delivery.message.delivery_info.routing_key in ("q", queue.name)
    broker.ack([delivery.tag])
    nothing_comes(broker)


@pytest.mark.parametrize("what", ["not JSON", "not UTF-8", "null", "no properties", "half"])
def test_a_broken_item_survives_being_given_back(
    make_site: Callable[[str], Site], what: str
) -> None:
    for kind in ("redis", "filesystem"):
        site = make_site(kind)
        queue, raw = a_queue(), raw_of(BROKEN[what])
        broker = site.consuming(queue)
        PLANT[kind](site, queue.name, raw)
        (first,) = receive(broker, 1)
        broker.reject([first.tag], requeue=True)
        (second,) = receive(broker, 1)
        broker.disconnect()
        broker.connect()
        broker.consume([queue], 10)
        (third,) = receive(broker, 1)
        assert [d.message.body for d in (first, second, third)] == [raw] * 3
        broker.ack([third.tag])


def test_equal_delivery_tags_are_two_deliveries(make_site: Callable[[str], Site]) -> None:
    site, queue = make_site("redis"), a_queue()
    broker = site.consuming(queue)
    for number in (1, 2):
        item = properties(delivery_tag="celery")
        item["headers"]["id"] = str(number)
        push(site, queue.name, raw_of(item))
    one, two = receive(broker, 2)
    assert one.tag != two.tag
    client = redis.Redis.from_url(site.url)
    assert client.hlen("unacked") == 2
    broker.ack([one.tag])
    assert client.hlen("unacked") == 1
    broker.reject([two.tag], requeue=True)
    (again,) = receive(broker, 1)
    assert again.message.headers["id"] == "2"
    broker.ack([again.tag])
    assert client.exists("unacked", "unacked_index") == 0
    client.close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["body", "headers", "properties", "delivery_info", "delivery_tag", "__type__", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
ENVELOPES = st.builds(
    lambda changes: {**envelope(), **changes},
    st.dictionaries(
        st.sampled_from(["body", "content-type", "content-encoding", "headers", "properties"]),
        JSON,
        max_size=3,
    ),
)


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(raw=st.one_of(st.binary(min_size=1, max_size=60), JSON.map(raw_of), ENVELOPES.map(raw_of)))
def test_any_item_is_one_delivery_on_redis(fuzzed: tuple[Site, Broker, Any], raw: bytes) -> None:
    site, broker, queue = fuzzed
    push(site, queue.name, raw)
    (delivery,) = receive(broker, 1)
    broker.ack([delivery.tag])


@pytest.fixture
def fuzzed(make_site: Callable[[str], Site]) -> tuple[Site, Broker, Any]:
    site, queue = make_site("redis"), a_queue()
    return site, site.consuming(queue), queue
