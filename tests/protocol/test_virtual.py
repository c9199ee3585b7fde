"""The JSON envelope: written as kombu writes it, read however foreign producers write it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac_protocol.compression import compress
from celeriac_protocol.errors import (
    BrokenEnvelopeError,
    EncodeError,
    LocalProtocolError,
    Reason,
    RemoteProtocolError,
)
from celeriac_protocol.message import DeliveryInfo, Message, Properties
from celeriac_protocol.virtual import mark_redelivered, read_envelope, write_envelope

BODY = b'[[2, 3], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'

PLAIN_CALL = """{"body": "W1syLCAzXSwge30sIHsiY2FsbGJhY2tzIjogbnVsbCwgImVycmJhY2tzIjogbnVsbCwgImNoYWluIjogbnVsbCwgImNob3JkIjogbnVsbH1d", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"lang": "py", "task": "proj.add", "id": "b62cba68-9521-404b-965c-20985d469fb6", "shadow": null, "eta": null, "expires": null, "group": null, "group_index": null, "retries": 0, "timelimit": [null, null], "root_id": "b62cba68-9521-404b-965c-20985d469fb6", "parent_id": null, "argsrepr": "(2, 3)", "kwargsrepr": "{}", "origin": "gen26167@vm", "ignore_result": false, "replaced_task_nesting": 0, "stamped_headers": null, "stamps": {}}, "properties": {"correlation_id": "b62cba68-9521-404b-965c-20985d469fb6", "reply_to": "d1c249f7-6690-3b28-91af-e8f0c29ab532", "delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "celery"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "d038725d-358b-429b-8b81-8a1d0b5fcc01"}}"""  # noqa: E501
"""Captured from Celery 5.7.0. Spec: task-message#11.2."""

FULL_CALL = """{"body": "eJyLjjbSUTCO1VGorgVipeTEnJykxOTsYiUrhbzSnBwdBaXUoiI0keSMxMw8ZG5+UQqUWxsLAApsGfI=", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"lang": "py", "task": "proj.add", "id": "9bfdee8b-22e4-499e-8e3d-026a3d32ee73", "shadow": null, "eta": "2030-01-02T03:04:05", "expires": "2030-01-02T04:04:05", "group": null, "group_index": null, "retries": 0, "timelimit": [60, 30], "root_id": "9bfdee8b-22e4-499e-8e3d-026a3d32ee73", "parent_id": null, "argsrepr": "(2, 3)", "kwargsrepr": "{}", "origin": "gen26167@vm", "ignore_result": false, "replaced_task_nesting": 0, "stamped_headers": null, "stamps": {}, "compression": "application/x-gzip"}, "properties": {"correlation_id": "9bfdee8b-22e4-499e-8e3d-026a3d32ee73", "reply_to": "d1c249f7-6690-3b28-91af-e8f0c29ab532", "delivery_mode": 2, "expiration": "98190380326", "delivery_info": {"exchange": "", "routing_key": "celery"}, "priority": 5, "body_encoding": "base64", "delivery_tag": "7ba78605-74ba-41f8-9396-df9950cec312"}}"""  # noqa: E501
"""Captured from Celery 5.7.0: eta, expires, limits, priority, compression. Spec: task-message#11.3."""

PONG = """{"body": "eyJ3MUB2bSI6IHsib2siOiAicG9uZyJ9fQ==", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"ticket": "80111abb-ed93-448a-81e0-5676e00452b0", "clock": 7}, "properties": {"delivery_mode": 1, "delivery_info": {"exchange": "reply.celery.pidbox", "routing_key": "ab190050-11cf-3c9f-be27-142d83559fd8"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "87c70315-35f1-4f35-87c7-385c7daa6c08"}}"""  # noqa: E501
"""Captured from Celery 5.7.0. Spec: control-and-events#9.2."""

SAMPLES = [PLAIN_CALL, FULL_CALL, PONG]


def altered(**changes: object) -> str:
    """Return the plain call with members changed; `...` removes one, a name with `__` goes one level down."""
    envelope: dict[str, Any] = json.loads(PLAIN_CALL)
    for name, value in changes.items():
        parent, _, child = name.rpartition("__")
        place = envelope[parent] if parent else envelope
        if value is ...:
            del place[child.replace("_", "-") if child.startswith("content") else child]
        else:
            place[child.replace("_", "-") if child.startswith("content") else child] = value
    return json.dumps(envelope)


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_captured_envelope_is_read_and_written_back_byte_for_byte(sample: str) -> None:
    envelope = read_envelope(sample.encode(), queue="celery")
    assert envelope.raw == sample.encode()
    assert envelope.delivery_tag is not None
    assert write_envelope(envelope.message, delivery_tag=envelope.delivery_tag) == sample


def test_the_plain_call_comes_apart() -> None:
    message = read_envelope(PLAIN_CALL, queue="celery").message
    assert message.body == BODY
    assert message.headers["task"] == "proj.add"
    assert message.properties == Properties(
        content_type="application/json",
        content_encoding="utf-8",
        correlation_id="b62cba68-9521-404b-965c-20985d469fb6",
        reply_to="d1c249f7-6690-3b28-91af-e8f0c29ab532",
        delivery_mode=2,
        priority=0,
    )
    assert message.delivery_info == DeliveryInfo(routing_key="celery", queue="celery")


def test_the_compressed_call_equals_what_our_compression_makes() -> None:
    message = read_envelope(FULL_CALL, queue="celery").message
    assert message.body == compress(BODY, "gzip")[1]
    assert message.properties.expiration == "98190380326"
    assert message.properties.priority == 5


def test_leaked_options_are_extras_and_go_where_they_came_from() -> None:
    raw = PLAIN_CALL.replace(
        '"delivery_mode": 2', '"origin": "gen1@vm", "x": [1], "delivery_mode": 2'
    )
    envelope = read_envelope(raw, queue="celery")
    assert envelope.message.properties.extra == {"origin": "gen1@vm", "x": [1]}
    assert write_envelope(envelope.message, delivery_tag=envelope.delivery_tag or "") == raw


def test_unknown_members_are_ignored() -> None:
    assert read_envelope(altered(surprise=1), queue="celery").message.body == BODY


@pytest.mark.parametrize(
    "change", [{"properties__delivery_info": ...}, {"properties__delivery_info": None}]
)
def test_without_delivery_info_it_came_through_the_default_exchange(
    change: dict[str, object],
) -> None:
    message = read_envelope(altered(**change), queue="q").message
    assert message.delivery_info == DeliveryInfo(exchange="", routing_key="q", queue="q")


def test_an_empty_routing_key_stays_empty() -> None:
    raw = altered(properties__delivery_info={"exchange": "celery.pidbox", "routing_key": ""})
    info = read_envelope(raw, queue="w.celery.pidbox").message.delivery_info
    assert (info.exchange, info.routing_key) == ("celery.pidbox", "")


@pytest.mark.parametrize("tag", [..., None, "", [1], True])
def test_without_a_usable_tag_the_reader_makes_one_up(tag: object) -> None:
    assert read_envelope(altered(properties__delivery_tag=tag), queue="q").delivery_tag is None


def test_a_tag_need_not_be_a_uuid() -> None:
    assert (
        read_envelope(altered(properties__delivery_tag="celery"), queue="q").delivery_tag
        == "celery"
    )
    assert read_envelope(altered(properties__delivery_tag=7), queue="q").delivery_tag == "7"


@pytest.mark.parametrize("headers", [..., None, {}])
def test_null_headers_are_no_headers(headers: object) -> None:
    assert read_envelope(altered(headers=headers), queue="q").message.headers == {}


@pytest.mark.parametrize("encoding", [..., None, "", "utf-8", "UTF-8"])
def test_without_body_encoding_the_body_is_the_text_itself(encoding: object) -> None:
    raw = altered(body='["é"]', properties__body_encoding=encoding)
    assert read_envelope(raw, queue="q").message.body == '["é"]'.encode()


def test_base64_may_be_broken_into_lines() -> None:
    raw = altered(body=base64.encodebytes(BODY).decode())
    assert read_envelope(raw, queue="q").message.body == BODY


def test_an_empty_body_is_empty() -> None:
    assert read_envelope(altered(body=""), queue="q").message.body == b""


@pytest.mark.parametrize(
    "redelivered",
    [{"headers__redelivered": True}, {"properties__delivery_info": {"redelivered": True}}],
)
def test_either_mark_says_redelivered(redelivered: dict[str, object]) -> None:
    assert read_envelope(altered(**redelivered), queue="q").message.delivery_info.redelivered


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("correlation_id", 5, "5"),
        ("reply_to", None, None),
        ("priority", "7", 7),
        ("priority", None, None),
        ("delivery_mode", "2", 2),
        ("expiration", 1500, "1500"),
    ],
)
def test_a_property_of_a_kindred_type_is_converted(
    name: str, value: object, expected: object
) -> None:
    message = read_envelope(altered(**{f"properties__{name}": value}), queue="q").message
    assert getattr(message.properties, name) == expected
    assert not message.properties.extra


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("correlation_id", ["x"]),
        ("reply_to", {}),
        ("priority", "high"),
        ("priority", True),
        ("expiration", 1.5),
    ],
)
def test_a_property_of_another_type_does_no_harm(name: str, value: object) -> None:
    message = read_envelope(altered(**{f"properties__{name}": value}), queue="q").message
    assert getattr(message.properties, name) is None
    assert message.properties.extra == {name: value}
    written = write_envelope(message, delivery_tag="t")
    assert json.loads(written)["properties"][name] == value


def test_typed_values_in_headers_are_read_and_written() -> None:
    raw = altered(headers__blob={"__type__": "base64", "__value__": "//4="})
    message = read_envelope(raw, queue="q").message
    assert message.headers["blob"] == b"\xff\xfe"
    assert json.loads(write_envelope(message, delivery_tag="t"))["headers"]["blob"] == {
        "__type__": "base64",
        "__value__": "//4=",
    }


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ("", "envelope"),
        ("nope", "envelope"),
        ("null", "envelope"),
        ("[]", "envelope"),
        ("5", "envelope"),
        ("{}", "envelope['properties']"),
        ("[" * 100_000, "envelope"),
        ("\ud800", "envelope"),
        (b"\xff", "envelope"),
        (altered(properties=...), "envelope['properties']"),
        (altered(properties=None), "envelope['properties']"),
        (altered(properties=[]), "envelope['properties']"),
        (altered(headers=[]), "envelope['headers']"),
        (altered(headers="x"), "envelope['headers']"),
        (altered(body=...), "envelope['body']"),
        (altered(body=None), "envelope['body']"),
        (altered(body=[1]), "envelope['body']"),
        (altered(body="a"), "envelope['body']"),
        (altered(body="!!!!"), "envelope['body']"),
        (altered(body="\ud800"), "envelope['body']"),
        (altered(properties__body_encoding="rot13"), "envelope['properties']['body_encoding']"),
        (altered(properties__body_encoding=["base64"]), "envelope['properties']['body_encoding']"),
        (altered(properties__delivery_info=[]), "envelope['properties']['delivery_info']"),
        (
            altered(properties__delivery_info={"exchange": 5}),
            "envelope['properties']['delivery_info']['exchange']",
        ),
        (altered(content_type=5), "envelope['content-type']"),
        (altered(content_encoding=[]), "envelope['content-encoding']"),
        (altered(headers__x={"__type__": "nope", "__value__": 1}), "envelope"),
    ],
)
def test_anything_unusable_is_one_broken_envelope(raw: str | bytes, field: str) -> None:
    with pytest.raises(BrokenEnvelopeError) as caught:
        read_envelope(raw, queue="q")
    assert caught.value.field == field
    assert caught.value.reason is Reason.BROKEN_ENVELOPE
    assert len(str(caught.value)) < 400


def test_a_body_can_travel_as_text() -> None:
    message = Message({}, Properties(), BODY, DeliveryInfo(routing_key="q"))
    for encoding in (None, "utf-8"):
        raw = write_envelope(message, delivery_tag="t", body_encoding=encoding)
        assert json.loads(raw)["body"] == BODY.decode()
        assert read_envelope(raw, queue="q").message.body == BODY


def test_what_an_envelope_cannot_carry_stops_the_producer() -> None:
    binary = Message({}, Properties(), b"\xff")
    with pytest.raises(LocalProtocolError):
        write_envelope(binary, delivery_tag="t", body_encoding="utf-8")
    with pytest.raises(LocalProtocolError):
        write_envelope(binary, delivery_tag="t", body_encoding="rot13")
    with pytest.raises(EncodeError):
        write_envelope(Message({"x": {1}}, Properties(), b""), delivery_tag="t")


def test_putting_back_marks_both_places_and_nothing_else() -> None:
    back = mark_redelivered(FULL_CALL)
    expected = json.loads(FULL_CALL)
    expected["headers"]["redelivered"] = True
    expected["properties"]["delivery_info"]["redelivered"] = True
    assert back == json.dumps(expected)
    assert read_envelope(back, queue="celery").message.delivery_info.redelivered


def test_putting_back_leaves_odd_items_readable() -> None:
    for raw in (altered(headers=None), altered(properties__delivery_info=...)):
        assert read_envelope(mark_redelivered(raw), queue="q").message.body == BODY
    kept = altered(headers__x={"__type__": "nope", "__value__": 1})
    assert json.loads(mark_redelivered(kept))["headers"]["x"] == {
        "__type__": "nope",
        "__value__": 1,
    }
    for raw in ("null", "nope", "{}", altered(headers=[])):
        with pytest.raises(BrokenEnvelopeError):
            mark_redelivered(raw)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
MESSAGES = st.builds(
    Message,
    headers=st.dictionaries(st.text(max_size=8), JSON_VALUES, max_size=4),
    properties=st.builds(
        Properties,
        content_type=st.none() | st.just("application/json"),
        content_encoding=st.none() | st.just("utf-8"),
        correlation_id=st.none() | st.text(max_size=8),
        reply_to=st.none() | st.text(max_size=8),
        delivery_mode=st.sampled_from([1, 2]),
        priority=st.integers(0, 255),
        expiration=st.none() | st.integers(0).map(str),
        extra=st.dictionaries(st.sampled_from(["origin", "x", "y"]), JSON_VALUES, max_size=2),
    ),
    body=st.binary(max_size=40),
    delivery_info=st.builds(
        DeliveryInfo,
        exchange=st.text(max_size=5),
        routing_key=st.text(max_size=5),
        queue=st.just("q"),
    ),
)


@given(MESSAGES, st.uuids().map(str))
def test_reading_undoes_writing(message: Message, tag: str) -> None:
    envelope = read_envelope(write_envelope(message, delivery_tag=tag), queue="q")
    assert envelope.delivery_tag == tag
    found, sent = envelope.message, message
    assert found.body == sent.body
    assert dict(found.headers) == dict(sent.headers)
    assert found.properties == sent.properties
    redelivered = bool(sent.headers.get("redelivered"))
    assert (found.delivery_info.exchange, found.delivery_info.routing_key) == (
        sent.delivery_info.exchange,
        sent.delivery_info.routing_key,
    )
    assert found.delivery_info.redelivered == redelivered


ENVELOPES = st.fixed_dictionaries(
    {},
    optional={
        "body": JSON_VALUES | st.just("e30="),
        "content-type": JSON_VALUES | st.just("application/json"),
        "content-encoding": JSON_VALUES | st.just("utf-8"),
        "headers": JSON_VALUES | st.just({}),
        "properties": JSON_VALUES
        | st.fixed_dictionaries(
            {},
            optional={
                "delivery_info": JSON_VALUES | st.just({"exchange": "", "routing_key": "q"}),
                "delivery_tag": JSON_VALUES,
                "body_encoding": JSON_VALUES | st.just("base64"),
                "correlation_id": JSON_VALUES,
                "priority": JSON_VALUES,
                "expiration": JSON_VALUES,
            },
        ),
    },
).map(lambda envelope: json.dumps(envelope).encode())


@given(st.binary() | ENVELOPES)
def test_any_item_is_an_envelope_or_a_remote_error(raw: bytes) -> None:
    try:
        envelope = read_envelope(raw, queue="q")
    except RemoteProtocolError as exc:
        assert isinstance(exc, BrokenEnvelopeError)  # noqa: PT017 - both ends of the property
        return
    again = read_envelope(write_envelope(envelope.message, delivery_tag="t"), queue="q").message
    assert again.body == envelope.message.body
    assert again.headers == envelope.message.headers
