"""Recordings of what crosses a broker: complete up to the moment they are asked for, and bounded."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import redis

from celeriac_conformance.broker_taps import AmqpTap, RawMessage, RedisTap
from celeriac_conformance.servers import RabbitServer
from celeriac_conformance.wires import FRAME_BYTES, RedisWire, Wire, WireError
from tests.servers import started

MESSAGE = RawMessage(
    body=b'[[1], {}, {"note": "\xc3\xbc"}]',
    headers={"task": "add"},
    properties={"content_type": "application/json", "content_encoding": "utf-8"},
)


@pytest.fixture
def redis_tap(redis_url: str) -> Iterator[RedisTap]:
    """A tap of a server of our own."""
    tap = RedisTap(redis_url)
    yield tap
    tap.close()


@pytest.fixture
def redis_wire(redis_tap: RedisTap) -> Iterator[Wire]:
    """A recording of that server."""
    wire = redis_tap.watch()
    yield wire
    wire.close()


def test_every_command_on_redis_is_recorded_with_its_bytes(
    redis_tap: RedisTap, redis_wire: Wire
) -> None:
    start = redis_wire.mark()
    redis_tap.client.set("key", b'a "quoted"\r\n\x00 \xff \\ \xc3\xbc')
    (frame,) = redis_wire.since(start)
    assert (frame.action, frame.where) == ("SET", "key")
    assert frame.parts == ('a "quoted"\r\n\x00 \\xff \\ ü',)
    assert frame.peer.endswith("db 0")


def test_an_envelope_on_redis_can_be_read_again(redis_tap: RedisTap, redis_wire: Wire) -> None:
    start = redis_wire.mark()
    redis_tap.push("wires", MESSAGE)
    (frame,) = redis_wire.since(start)
    assert (frame.action, frame.where) == ("LPUSH", "wires")
    assert json.loads(frame.parts[0])["headers"] == {"task": "add"}


def test_a_recording_is_asked_for_by_position(redis_tap: RedisTap, redis_wire: Wire) -> None:
    redis_tap.client.set("before", 1)
    redis_wire.since(0)
    start = redis_wire.mark()
    redis_tap.client.set("after", 1)
    assert [frame.where for frame in redis_wire.since(start)] == ["after"]


def test_long_commands_are_cut(redis_tap: RedisTap, redis_wire: Wire) -> None:
    start = redis_wire.mark()
    redis_tap.client.set("long", "x" * 3_000_000)
    (frame,) = redis_wire.since(start)
    assert frame.parts[-1] == "… (cut)"
    assert len(frame.parts[0]) < FRAME_BYTES


def test_a_server_that_forbids_to_be_watched_is_no_wire(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.execute_command(
            "ACL", "SETUSER", "guest", "on", ">secret", "~*", "+@all", "-monitor"
        )
    url = redis_url.replace("redis://", "redis://guest:secret@")
    with pytest.raises(WireError, match="MONITOR"):
        RedisWire(url)


@pytest.fixture(scope="module")
def rabbit() -> Iterator[RabbitServer]:
    """A node of our own."""
    server = RabbitServer()
    started(server)
    yield server
    server.stop()


def test_messages_in_and_out_of_rabbitmq_are_recorded(rabbit: RabbitServer) -> None:
    url = rabbit.add_vhost("traced")
    tap = AmqpTap(url, lambda queue: 0, lambda: rabbit.control("trace_on", "-p", "traced"))
    wire = tap.watch()
    tap.channel.queue_declare("wires")
    start = wire.mark()
    tap.push("wires", MESSAGE)
    assert tap.take("wires") == RawMessage(
        body=MESSAGE.body, headers=MESSAGE.headers, properties={**MESSAGE.properties, "priority": 0}
    )
    frames = wire.since(start)
    assert [(frame.action, frame.where) for frame in frames] == [
        ("publish", "(default exchange) wires"),
        ("deliver", "wires"),
    ]
    for frame in frames:
        assert json.loads(frame.parts[0])["headers"] == {"task": "add"}
        assert frame.parts[1] == MESSAGE.body.decode()
    wire.close()
    tap.close()


def test_without_leave_to_trace_rabbitmq_is_no_wire(rabbit: RabbitServer) -> None:
    tap = AmqpTap(rabbit.url(), lambda queue: 0)
    with pytest.raises(WireError, match="tracing"):
        tap.watch()
    tap.close()
