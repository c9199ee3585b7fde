"""Our reader against py-amqp's writer, and against nonsense."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from amqp import basic_message, serialization
from hypothesis import given
from hypothesis import strategies as st

from celeriac.brokers.amqp_frames import read_content_header, read_deliver, read_table
from celeriac_protocol.errors import RemoteProtocolError

dumps: Any = serialization.dumps
AmqpMessage: Any = basic_message.Message

SHORT = st.text(max_size=20)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=30)
    | st.integers(0, 4_000_000_000).map(
        lambda seconds: datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    )
    | st.decimals(-1000, 1000, places=2)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SHORT, inner, max_size=4),
    max_leaves=15,
)


@given(table=st.dictionaries(SHORT, VALUES, max_size=8))
def test_every_table_py_amqp_writes_is_read_back(table: dict[str, object]) -> None:
    written = dumps("F", [table])
    assert read_table(written, 0) == (table, len(written))


@given(
    properties=st.fixed_dictionaries(
        {},
        optional={
            "content_type": SHORT,
            "content_encoding": SHORT,
            "delivery_mode": st.integers(1, 2),
            "priority": st.integers(0, 255),
            "correlation_id": SHORT,
            "reply_to": SHORT,
            "expiration": SHORT,
            "message_id": SHORT,
            "timestamp": st.integers(0, 2**60),
            "type": SHORT,
            "user_id": SHORT,
            "app_id": SHORT,
            "cluster_id": SHORT,
        },
    ),
    headers=st.none() | st.dictionaries(SHORT, VALUES, max_size=3),
)
def test_every_set_of_properties_is_read_back(
    properties: dict[str, Any], headers: dict[str, object] | None
) -> None:
    message = AmqpMessage("", application_headers=headers, **properties)
    payload = b"\x00\x3c\x00\x00" + bytes(8) + message._serialize_properties()
    read, read_headers = read_content_header(payload)
    assert read_headers == (headers or {})
    assert {k: v for k in properties if (v := getattr(read, k)) is not None} == properties


@given(payload=st.binary(max_size=200))
def test_nonsense_is_values_or_a_protocol_error(payload: bytes) -> None:
    for data in (payload, b"\x00\x3c\x00\x00" + bytes(8) + b"\x20\x00" + payload):
        with suppress(RemoteProtocolError):
            properties, headers = read_content_header(data)
            assert isinstance(headers, dict)
            assert properties.extra == {}


def test_an_unknown_field_type_is_a_protocol_error() -> None:
    table = b"\x01a?\x00"
    payload = b"\x00\x3c\x00\x00" + bytes(8) + b"\x20\x00" + len(table).to_bytes(4) + table
    with pytest.raises(RemoteProtocolError, match="content header"):
        read_content_header(payload)


def test_text_that_is_no_text_stays_bytes() -> None:
    written = dumps("F", [{"a": b"\xff\xfe", "b": "\ud800", "c": Decimal("1.5")}])
    assert read_table(written, 0)[0] == {"a": b"\xff\xfe", "b": "\ud800", "c": Decimal("1.5")}


def test_the_arguments_of_a_delivery() -> None:
    payload = b"\x00\x3c\x00\x3c" + dumps("sLbss", ("tag", 7, True, "ex", "rk"))
    assert read_deliver(payload) == ("tag", 7, True, "ex", "rk")
