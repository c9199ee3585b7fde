"""The messages the specification prints in full: read to the right call, written back to the same bytes."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from celeriac_protocol.message import Message, Properties
from celeriac_protocol.serializers import accept_set, register, unregister
from celeriac_protocol.serializers.auth import SecureSerializer
from celeriac_protocol.task import (
    Embed,
    TaskHeaders,
    TaskMessage,
    TimeLimit,
    decode,
    encode,
    read_headers,
)
from tests.protocol.sample_files import ContentHeader, from_envelope, sample, table_bytes

JSON = accept_set(["json"])
EMPTY_EMBED = '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}'


def written(message: Message) -> tuple[str, bytes, str, Properties]:
    """Return what must be equal, with the order of keys visible."""
    return (
        json.dumps(dict(message.headers)),
        message.body,
        json.dumps(message.headers, default=str),
        message.properties,
    )


def test_the_plain_call_is_read_from_amqp() -> None:
    document = sample("amqp-plain-call")
    header = ContentHeader(document["header_frame"])
    task = decode(header.message(document["body"]), accept=JSON)

    assert task.headers == TaskHeaders(
        task="proj.add",
        id="5c936a9d-c0fe-4090-afa6-29ecadf9bff3",
        root_id="5c936a9d-c0fe-4090-afa6-29ecadf9bff3",
        argsrepr="(2, 3)",
        kwargsrepr="{}",
        origin="gen30838@vm",
        ignore_result=False,
    )
    assert (task.args, task.kwargs, task.embed, task.version) == ((2, 3), {}, Embed(), 2)
    assert task.properties.correlation_id == task.headers.id


def test_the_plain_call_is_written_to_the_same_amqp_table_and_body() -> None:
    document = sample("amqp-plain-call")
    header = ContentHeader(document["header_frame"])
    message = header.message(document["body"])
    again = encode(decode(message, accept=JSON))

    assert table_bytes(again.headers) == header.headers_bytes
    assert again.body == document["body"].encode()
    assert len(again.body) == header.body_size
    assert again.properties == message.properties


@pytest.mark.parametrize("name", ["redis-plain-call", "redis-eta-expires-limits-compression"])
def test_an_envelope_is_written_back_to_the_same_headers_and_body(name: str) -> None:
    message = from_envelope(sample(name)["envelope"])
    assert written(encode(decode(message, accept=JSON))) == written(message)


def test_eta_expires_limits_and_compression_are_read() -> None:
    message = from_envelope(sample("redis-eta-expires-limits-compression")["envelope"])
    task = decode(message, accept=JSON)

    assert (task.headers.eta, task.headers.expires) == (
        "2030-01-02T03:04:05",
        "2030-01-02T04:04:05",
    )
    assert task.headers.eta_at is not None
    assert task.headers.eta_at.isoformat() == "2030-01-02T03:04:05+00:00"
    assert task.headers.expires_at is not None
    assert task.headers.expires_at.isoformat() == "2030-01-02T04:04:05+00:00"
    assert task.headers.timelimit == TimeLimit(hard=60, soft=30)
    assert task.headers.compression == "application/x-gzip"
    assert (task.properties.priority, task.properties.expiration) == (5, "98190380326")
    assert task.args == (2, 3)


def test_the_headers_of_celery_4_0_are_read() -> None:
    headers = json.loads(sample("redis-plain-call")["headers_of_celery_4_0_2"])
    read = read_headers(Message(headers, Properties(), b""))

    assert read is not None
    assert (read.task, read.origin, read.shadow, read.stamps) == (
        "proj.add", "gen25788@vm", None, {},
    )  # fmt: skip
    assert read.ignore_result is None


def body_message(body: str, **headers: object) -> Message:
    return Message(
        {"task": "proj.add", "id": "1", **headers},
        Properties(content_type="application/json", content_encoding="utf-8"),
        body.encode(),
    )


def test_a_chain_travels_in_reverse() -> None:
    body = sample("chain")["body"]
    task = decode(body_message(body), accept=JSON)

    assert task.embed.chain is not None
    assert [step["args"] for step in task.embed.chain] == [[3], [2]]
    assert encode(task).body == body.encode()


def test_a_chord_part_holds_the_body_with_its_links() -> None:
    document = sample("chord")
    task = decode(
        body_message(document["body"], group=document["group"], group_index=0), accept=JSON
    )

    assert task.embed.chord is not None
    assert task.embed.chord["task"] == "proj.tsum"
    assert task.headers.group_index == 0
    assert encode(task).body == document["body"].encode()


def test_a_chord_unlock_call_is_an_ordinary_message() -> None:
    body = sample("chord")["unlock_body"]
    task = decode(body_message(body, ignore_result=True), accept=JSON)

    assert task.headers.ignore_result is True
    assert list(task.kwargs) == ["interval", "max_retries", "result", "_chord_unlock_exchange_type"]
    assert encode(task).body == body.encode()


def protocol_1_message() -> tuple[Message, str]:
    document = sample("protocol-1")
    envelope = {
        "body": base64.b64encode(document["body"].encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": document["headers"],
        "properties": document["properties"],
    }
    return from_envelope(json.dumps(envelope)), document["body"]


def test_protocol_1_is_read() -> None:
    message, _ = protocol_1_message()
    task = decode(message, accept=JSON)

    assert read_headers(message) is None
    assert (task.version, task.utc) == (1, True)
    assert (task.headers.task, task.headers.id) == (
        "proj.add", "461cf7c9-0255-4ea3-b335-bae001d549a9",
    )  # fmt: skip
    assert task.headers.timelimit == TimeLimit(60, 30)
    assert task.headers.custom == {"h": 1}
    assert task.embed.callbacks is not None
    assert task.embed.callbacks[0]["args"] == [5]
    assert task.embed.errbacks is not None
    assert task.embed.errbacks[0]["args"] == [6]
    assert task.embed.chain is None


def test_protocol_1_is_written_back_to_the_same_bytes() -> None:
    message, body = protocol_1_message()
    again = encode(decode(message, accept=JSON))

    assert again.body == body.encode()
    assert again.headers == {"h": 1}
    assert again.properties == message.properties


def test_a_plain_protocol_1_call_has_an_empty_header_table() -> None:
    header = ContentHeader(sample("protocol-1")["amqp_header_frame_of_a_plain_call"])
    assert header.headers == {}
    task = TaskMessage(headers=TaskHeaders(task="proj.add", id=header.correlation_id), args=(2, 3))
    message = encode(replace(task, version=1))
    assert table_bytes(message.headers) == header.headers_bytes
    assert len(message.body) == header.body_size


def test_a_signed_body_is_read_through_its_certificate() -> None:
    document = sample("signed")
    certificate = document["certificate"].encode()
    now = datetime(2027, 1, 1, tzinfo=UTC)
    register(SecureSerializer(None, certificate, [certificate], now=now))
    try:
        message = Message(
            {"task": "proj.add", "id": "1"},
            Properties(
                content_type=document["content_type"],
                content_encoding=document["content_encoding"],
            ),
            document["body"].encode(),
        )
        task = decode(message, accept=accept_set(["auth"]))
    finally:
        unregister("auth")
    assert (task.args, task.kwargs, task.embed) == ((2, 3), {}, Embed())


def test_the_embed_is_written_in_the_order_of_the_specification() -> None:
    message = encode(TaskMessage(headers=TaskHeaders(task="t", id="1"), args=(2, 3)))
    assert message.body == f"[[2, 3], {{}}, {EMPTY_EMBED}]".encode()
