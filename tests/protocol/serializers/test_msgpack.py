"""MessagePack."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac_protocol.errors import EncodeError, RemoteProtocolError, UndecodableBodyError
from celeriac_protocol.serializers import accept_set, dumps, loads

ACCEPT = accept_set(["msgpack"])
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def read(data: bytes) -> object:
    return loads(data, "application/x-msgpack", "binary", ACCEPT)


def test_a_plain_call_is_written_byte_for_byte_as_celery_does() -> None:
    encoded = dumps(((1, 2), {}, EMBED), "msgpack")
    assert encoded == (
        "application/x-msgpack",
        "binary",
        bytes.fromhex(
            "939201028084a963616c6c6261636b73c0a86572726261636b73c0a5636861696ec0a563686f7264c0"
        ),
    )
    assert read(encoded.data) == [[1, 2], {}, EMBED]


def test_text_and_bytes_stay_apart() -> None:
    assert read(dumps(["é", b"\xff"], "msgpack").data) == ["é", b"\xff"]


@pytest.mark.parametrize(
    "value", [object(), datetime(2020, 1, 1, tzinfo=UTC), {1}, 2**64, "\ud800"]
)
def test_what_msgpack_cannot_carry_is_an_encode_error(value: object) -> None:
    with pytest.raises(EncodeError):
        dumps(value, "msgpack")


@pytest.mark.parametrize(
    "data",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 5000,
        b"\x93\x01",
        b"\x01\x02",
        b"\x81\x01\x01",
        b"\x81\x90\x01",
        b"\xa1\xff",
        b"\xc1",
    ],
)
def test_a_broken_document_is_an_undecodable_body(data: bytes) -> None:
    with pytest.raises(UndecodableBodyError):
        read(data)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_plain_values_survive(value: object) -> None:
    assert read(dumps(value, "msgpack").data) == value


@given(st.binary(max_size=60))
def test_any_bytes_give_a_value_or_a_remote_error(data: bytes) -> None:
    try:
        value = read(data)
    except RemoteProtocolError:
        return
    assert repr(value)
