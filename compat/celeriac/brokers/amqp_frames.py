"""Reading deliveries off AMQP frames: method, content header, field table. Bytes in, values out.

py-amqp reads every frame with three calls and decodes with one function per value; a consumer of small messages
spends most of its time there. What it cannot decode ends its connection; here it is a `RemoteProtocolError`.

Spec: task-message#1.1, transports#1.5
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from celeriac_protocol.errors import InvalidTaskError
from celeriac_protocol.message import Properties

__all__ = [
    "DELIVER",
    "Delivered",
    "body_size",
    "read_content_header",
    "read_deliver",
    "read_table",
]

DELIVER: Final = b"\x00\x3c\x00\x3c"
"""Class and method of `basic.deliver`."""

_U64: Final = struct.Struct(">Q")
_CONTENT: Final = struct.Struct(">HHQH")
_MAX_DEPTH: Final = 200

_TEXT_FLAGS: Final = (
    (0x0800, "priority"),
    (0x0400, "correlation_id"),
    (0x0200, "reply_to"),
    (0x0100, "expiration"),
    (0x0080, "message_id"),
    (0x0040, "timestamp"),
    (0x0020, "type"),
    (0x0010, "user_id"),
    (0x0008, "app_id"),
    (0x0004, "cluster_id"),
)


class Delivered(NamedTuple):
    """The arguments of `basic.deliver`."""

    consumer_tag: str
    delivery_tag: int
    redelivered: bool
    exchange: str
    routing_key: str


def _short_text(data: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + data[at]
    return data[at + 1 : end].decode("utf-8", "surrogateescape"), end


def read_deliver(payload: bytes) -> Delivered:
    """Read the payload of a `basic.deliver` method frame."""
    consumer_tag, at = _short_text(payload, 4)
    (delivery_tag,) = _U64.unpack_from(payload, at)
    redelivered = payload[at + 8] != 0
    exchange, at = _short_text(payload, at + 9)
    routing_key, _ = _short_text(payload, at)
    return Delivered(consumer_tag, delivery_tag, redelivered, exchange, routing_key)


def body_size(payload: bytes) -> int:
    """Return how many body bytes follow a content header frame."""
    size: int = _U64.unpack_from(payload, 4)[0]
    return size


def read_content_header(payload: bytes) -> tuple[Properties, dict[str, Any]]:
    """Read properties and application headers.

    Raises:
        InvalidTaskError: The properties or the header table break the encoding.
    """
    try:
        return _read_content_header(payload)
    except (IndexError, struct.error, ValueError, KeyError, OverflowError) as exc:
        raise InvalidTaskError("properties", "an AMQP content header", repr(exc)) from exc


def _read_content_header(payload: bytes) -> tuple[Properties, dict[str, Any]]:
    _, _, _, flags = _CONTENT.unpack_from(payload)
    at = 14
    fields: dict[str, Any] = {}
    headers: dict[str, Any] = {}
    if flags & 0x8000:
        fields["content_type"], at = _short_text(payload, at)
    if flags & 0x4000:
        fields["content_encoding"], at = _short_text(payload, at)
    if flags & 0x2000:
        headers, at = read_table(payload, at)
    if flags & 0x1000:
        fields["delivery_mode"] = payload[at]
        at += 1
    for flag, name in _TEXT_FLAGS:
        if not flags & flag:
            continue
        if name == "priority":
            fields[name] = payload[at]
            at += 1
        elif name == "timestamp":
            (fields[name],) = _U64.unpack_from(payload, at)
            at += 8
        else:
            fields[name], at = _short_text(payload, at)
    return Properties(**fields), headers


def read_table(data: bytes, at: int, depth: int = 0) -> tuple[dict[str, Any], int]:
    """Read a field table; return it and where it ends."""
    end = at + 4 + int.from_bytes(data[at : at + 4])
    at += 4
    if depth > _MAX_DEPTH:
        raise ValueError("a table nested too deeply")
    table: dict[str, Any] = {}
    while at < end:
        stop = at + 1 + data[at]
        name = data[at + 1 : stop].decode("utf-8", "surrogatepass")
        kind = data[stop]
        at = stop + 1
        if kind == _TEXT:
            stop = at + 4 + int.from_bytes(data[at : at + 4])
            table[name] = _text(data[at + 4 : stop])
            at = stop
        elif kind == _NOTHING:
            table[name] = None
        else:
            table[name], at = _READERS[kind](data, at, depth)
    return table, end


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return raw


def _long_text(data: bytes, at: int, depth: int) -> tuple[str | bytes, int]:
    stop = at + 4 + int.from_bytes(data[at : at + 4])
    return _text(data[at + 4 : stop]), stop


def _raw(data: bytes, at: int, depth: int) -> tuple[bytes, int]:
    stop = at + 4 + int.from_bytes(data[at : at + 4])
    return data[at + 4 : stop], stop


def _array(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    end = at + 4 + int.from_bytes(data[at : at + 4])
    at += 4
    if depth > _MAX_DEPTH:
        raise ValueError("an array nested too deeply")
    items: list[Any] = []
    while at < end:
        item, at = _READERS[data[at]](data, at + 1, depth + 1)
        items.append(item)
    return items, end


def _inner_table(data: bytes, at: int, depth: int) -> tuple[dict[str, Any], int]:
    return read_table(data, at, depth + 1)


def _bool(data: bytes, at: int, depth: int) -> tuple[bool, int]:
    return data[at] != 0, at + 1


def _none(data: bytes, at: int, depth: int) -> tuple[None, int]:
    return None, at


def _time(data: bytes, at: int, depth: int) -> tuple[datetime | int, int]:
    (seconds,) = _U64.unpack_from(data, at)
    try:
        # Naive UTC, as py-amqp hands it to applications.
        return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None), at + 8
    except (OverflowError, ValueError, OSError):
        return seconds, at + 8


def _decimal(data: bytes, at: int, depth: int) -> tuple[Decimal, int]:
    value = int.from_bytes(data[at + 1 : at + 5], signed=True)
    return Decimal(value) / Decimal(10) ** data[at], at + 5


def _number(layout: str) -> Callable[[bytes, int, int], tuple[Any, int]]:
    unpack, size = struct.Struct(layout).unpack_from, struct.calcsize(layout)

    def read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
        return unpack(data, at)[0], at + size

    return read


_TEXT: Final = ord("S")
_NOTHING: Final = ord("V")
_READERS: Final[dict[int, Callable[[bytes, int, int], tuple[Any, int]]]] = {
    _TEXT: _long_text,
    _NOTHING: _none,
    ord("t"): _bool,
    ord("b"): _number(">b"),
    ord("B"): _number(">B"),
    ord("s"): _number(">h"),
    ord("u"): _number(">H"),
    ord("U"): _number(">h"),
    ord("I"): _number(">i"),
    ord("i"): _number(">I"),
    ord("l"): _number(">q"),
    ord("L"): _number(">q"),
    ord("f"): _number(">f"),
    ord("d"): _number(">d"),
    ord("D"): _decimal,
    ord("T"): _time,
    ord("A"): _array,
    ord("F"): _inner_table,
    ord("x"): _raw,
}
