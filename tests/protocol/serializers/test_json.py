"""JSON with kombu's extensions: the bytes it writes, the values it reads, and what it refuses."""

# ruff: noqa: DTZ001 - naive datetimes are part of what is tested

from __future__ import annotations

import base64
import json
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from celeriac_protocol.errors import EncodeError, RemoteProtocolError, UndecodableBodyError
from celeriac_protocol.serializers import json as json_serializer
from celeriac_protocol.serializers.json import (
    dumps,
    dumps_legacy,
    loads,
    register_type,
    unregister_type,
)

UUID = uuid.UUID("12345678123456781234567812345678")

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
TYPED = (
    st.datetimes()
    | st.datetimes(timezones=st.just(UTC))
    | st.dates()
    | st.times()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.binary()
)


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    YES = "yes"


class Point:
    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y


class SelfDescribing:
    def __json__(self) -> object:
        return {"me": [1, Decimal("2.0")]}


def test_a_plain_call_is_written_byte_for_byte_as_celery_does() -> None:
    body: object = ((2, 3), {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None})
    assert dumps(body) == (
        b'[[2, 3], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
    )


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (
            datetime(2020, 1, 2, 3, 4, 5),
            b'{"__type__": "datetime", "__value__": "2020-01-02T03:04:05"}',
        ),
        (date(2020, 1, 2), b'{"__type__": "date", "__value__": "2020-01-02"}'),
        (time(1, 2, 3, 4), b'{"__type__": "time", "__value__": "01:02:03.000004"}'),
        (Decimal("1.50"), b'{"__type__": "decimal", "__value__": "1.50"}'),
        (UUID, b'{"__type__": "uuid", "__value__": {"hex": "12345678123456781234567812345678"}}'),
        (b"abc", b'{"__type__": "bytes", "__value__": "abc"}'),
        (b"\xff\xfe", b'{"__type__": "base64", "__value__": "//4="}'),
    ],
)
def test_an_extended_type_travels_as_a_marked_object(value: object, wire: bytes) -> None:
    assert dumps(value) == wire
    assert loads(wire) == value


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (datetime(2020, 1, 2, 3, 4, 5), b'"2020-01-02T03:04:05"'),
        (datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC), b'"2020-01-02T03:04:05Z"'),
        (date(2020, 1, 2), b'"2020-01-02T00:00:00"'),
        (time(1, 2, 3, 4), b'"01:02:03.000004"'),
        (Decimal("1.50"), b'"1.50"'),
        (UUID, b'"12345678-1234-5678-1234-567812345678"'),
        (SelfDescribing(), b'{"me": [1, "2.0"]}'),
    ],
)
def test_the_legacy_style_writes_bare_text(value: object, wire: bytes) -> None:
    assert dumps_legacy(value) == wire


@pytest.mark.parametrize("value", [b"abc", {1}, timedelta(1)])
def test_the_legacy_style_refuses_what_old_kombu_refused(value: object) -> None:
    with pytest.raises(EncodeError):
        dumps_legacy(value)


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        ("é\u2028\U0001f600", rb'"\u00e9\u2028\ud83d\ude00"'),
        ([float("nan"), float("inf"), -float("inf")], b"[NaN, Infinity, -Infinity]"),
        (
            {1: "a", 1.5: "b", False: "c", None: "d"},
            b'{"1": "a", "1.5": "b", "false": "c", "null": "d"}',
        ),
        ((1, (2,)), b"[1, [2]]"),
        ([Level.LOW, Word.YES], b'[1, "yes"]'),
        ({"b": 1, "a": 2}, b'{"b": 1, "a": 2}'),
        (SelfDescribing(), b'{"me": [1, {"__type__": "decimal", "__value__": "2.0"}]}'),
        ("\ud800", rb'"\ud800"'),
    ],
)
def test_other_values_follow_the_standard_library(value: object, wire: bytes) -> None:
    assert dumps(value) == wire


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (object(), "TypeError('Object of type object is not JSON serializable')"),
        ({1}, "TypeError('Object of type set is not JSON serializable')"),
        (timedelta(1), "TypeError('Object of type timedelta is not JSON serializable')"),
        (bytearray(b"x"), "TypeError('Object of type bytearray is not JSON serializable')"),
        (Colour.RED, "TypeError('Object of type Colour is not JSON serializable')"),
        (
            {(1, 2): 3},
            "TypeError('keys must be str, int, float, bool or None, not tuple')",
        ),
    ],
)
def test_what_json_cannot_carry_is_named_in_the_error(value: object, cause: str) -> None:
    with pytest.raises(EncodeError) as caught:
        dumps(value)
    assert str(caught.value) == cause
    assert isinstance(caught.value.__cause__, TypeError)


def test_a_value_inside_itself_and_one_too_deep_are_encode_errors() -> None:
    looped: list[object] = []
    looped.append(looped)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (looped, deep):
        with pytest.raises(EncodeError):
            dumps(value)
    # Taking the nested list apart by hand spares the interpreter a deep recursion.
    while deep:
        deep = deep.pop()  # type: ignore[assignment]


def test_marked_objects_are_converted_at_any_depth() -> None:
    wire = b'{"a": [{"__value__": "1.5", "__type__": "decimal"}]}'
    assert loads(wire) == {"a": [Decimal("1.5")]}


def test_a_third_key_switches_the_conversion_off() -> None:
    wire = b'{"__type__": "decimal", "__value__": "1.5", "x": 1}'
    assert loads(wire) == {"__type__": "decimal", "__value__": "1.5", "x": 1}


def test_a_marker_hidden_behind_escapes_is_still_a_marker() -> None:
    assert loads(rb'{"\u005f_type__": "decimal", "__value__": "1"}') == Decimal(1)
    assert loads(rb'{"__t\u0079pe__": "nope", "__value__": "1", "x": 1}') == {
        "__type__": "nope",
        "__value__": "1",
        "x": 1,
    }


def test_an_untyped_reader_leaves_marked_objects_alone() -> None:
    assert loads(b'{"__type__": "date", "__value__": "2020-01-02"}', typed=False) == {
        "__type__": "date",
        "__value__": "2020-01-02",
    }


def test_uuids_of_5_3_0_carry_their_version() -> None:
    wire = b'{"__type__": "uuid", "__value__": {"hex": "12345678123456781234567812345678", "version": 4}}'
    assert loads(wire) == uuid.UUID(hex=UUID.hex, version=4)


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"nope",
        b"[1, 2",
        b"[1] 2",
        b"\xef\xbb\xbf[]",
        b"\xff\xfe[\x00]\x00",
        b'"\xed\xa0\x80"',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 5000,
        b'{"__type__": "nope", "__value__": 1}',
        b'{"__type__": null, "__value__": 1}',
        b'{"__type__": [], "__value__": 1}',
        b'{"__type__": "datetime", "__value__": "yesterday"}',
        b'{"__type__": "datetime", "__value__": 5}',
        b'{"__type__": "date", "__value__": {}}',
        b'{"__type__": "decimal", "__value__": "x"}',
        b'{"__type__": "decimal", "__value__": [1]}',
        b'{"__type__": "uuid", "__value__": "x"}',
        b'{"__type__": "uuid", "__value__": {"hex": "x"}}',
        b'{"__type__": "uuid", "__value__": {"nope": 1}}',
        b'{"__type__": "bytes", "__value__": 1}',
        b'{"__type__": "bytes", "__value__": "\\ud800"}',
        b'{"__type__": "base64", "__value__": "a"}',
    ],
)
def test_a_broken_document_is_an_undecodable_body(wire: bytes) -> None:
    with pytest.raises(UndecodableBodyError) as caught:
        loads(wire)
    assert caught.value.field.startswith("body")
    assert len(str(caught.value)) < 300


def test_an_application_type_travels_under_its_marker() -> None:
    def read(value: Any) -> Point:
        return Point(value[0], value[1])

    register_type(Point, "point", lambda p: [p.x, p.y], read)
    try:
        wire = dumps([Point(1, 2)])
        assert wire == b'[{"__type__": "point", "__value__": [1, 2]}]'
        found: Any = loads(wire)
        (point,) = found
        assert (point.x, point.y) == (1, 2)
    finally:
        unregister_type(Point)
    with pytest.raises(UndecodableBodyError):
        loads(wire)


def test_an_application_type_without_marker_is_written_bare() -> None:
    register_type(Point, None, lambda p: f"{p.x}/{p.y}")
    try:
        assert dumps(Point(1, 2)) == b'"1/2"'
    finally:
        unregister_type(Point)


def test_a_django_lazy_string_is_written_as_text() -> None:
    promise = type("Promise", (), {"__module__": "django.utils.functional"})
    lazy = type("__proxy__", (promise,), {"__str__": lambda self: "hello"})
    assert dumps([lazy()]) == b'["hello"]'


@given(PLAIN)
def test_plain_values_survive_and_equal_the_standard_librarys_text(value: object) -> None:
    wire = dumps(value)
    assert wire == json.dumps(value).encode()
    if b"__type__" not in wire:
        assert loads(wire) == value


@given(st.lists(TYPED | PLAIN, max_size=5))
def test_typed_values_survive(value: list[object]) -> None:
    found: Any = loads(dumps(value))
    assert found == value
    assert [type(item) for item in found] == [type(item) for item in value]


@given(
    st.binary()
    | st.text().map(str.encode)
    | st.text(alphabet='[]{}"\\:,u05f_type1e-').map(str.encode)
)
@example(base64.b64decode("e30="))
def test_any_bytes_give_a_value_or_a_remote_error(data: bytes) -> None:
    try:
        value = json_serializer.loads(data)
    except RemoteProtocolError:
        return
    assert dumps(value)
