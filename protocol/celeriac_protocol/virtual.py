"""The JSON envelope in which messages travel on every broker that is not AMQP.

Reading is liberal where foreign producers differ and nothing is lost by it: without `delivery_info` the message went
to the default exchange, without `delivery_tag` the reader makes one up, null headers are no headers, an absent
`body_encoding` is plain text. A property of an unexpected type does no harm to a task either; it is kept among the
extras. Whatever else does not fit is one `BrokenEnvelopeError`, so that the raw item can go to quarantine.

The envelope itself uses the marked objects of JSON (`serializers.json`), as kombu does for odd header values.

Spec: task-message#1.2, transports#2.2
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from celeriac_protocol.errors import (
    BrokenEnvelopeError,
    LocalProtocolError,
    UndecodableBodyError,
)
from celeriac_protocol.message import DeliveryInfo, Message, Properties
from celeriac_protocol.serializers import json

__all__ = ["Envelope", "mark_redelivered", "read_envelope", "write_envelope"]

_EMPTY: Mapping[str, object] = MappingProxyType({})
_WRITTEN_BEFORE_EXTRAS = (
    "correlation_id",
    "reply_to",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)
_ENVELOPE_ONLY = frozenset({"delivery_info", "delivery_tag", "body_encoding"})
_BLANKS = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Envelope:
    """One item of a broker's list, opened."""

    message: Message
    delivery_tag: str | None
    """As the producer wrote it, which need not be unique; `None`: it wrote none."""
    raw: bytes
    """The item as it was."""


def read_envelope(raw: bytes | str, *, queue: str) -> Envelope:
    """Open one item of a queue.

    Args:
        raw: The item.
        queue: Where it was found: the routing key of an item that names none.

    Raises:
        BrokenEnvelopeError: The item is no usable envelope.

    Spec: task-message#1.2
    """
    data = _as_bytes(raw)
    try:
        envelope = json.loads(data)
    except UndecodableBodyError as exc:
        raise BrokenEnvelopeError("envelope", "a JSON object", str(exc.found)) from exc
    if not isinstance(envelope, dict):
        raise BrokenEnvelopeError("envelope", "a JSON object", envelope)
    properties = _mapping(envelope.get("properties"), "envelope['properties']")
    headers = envelope.get("headers")
    headers = {} if headers is None else _mapping(headers, "envelope['headers']")
    message = Message(
        headers=headers,
        properties=_read_properties(envelope, properties),
        body=_read_body(envelope.get("body"), properties.get("body_encoding")),
        delivery_info=_read_delivery_info(properties.get("delivery_info"), headers, queue),
    )
    return Envelope(message, _read_tag(properties.get("delivery_tag")), data)


def write_envelope(
    message: Message, *, delivery_tag: str, body_encoding: str | None = "base64"
) -> str:
    """Write one message as an item for a broker's list.

    Args:
        message: `delivery_info` says where it is going.
        delivery_tag: New for every publish, a UUID.
        body_encoding: ``base64``, or ``utf-8`` or `None` to write a textual body as it is.

    Raises:
        LocalProtocolError: Another body encoding, or a body that is no text without one.
        EncodeError: A header or property that JSON cannot carry.

    Spec: task-message#1.2
    """
    given = message.properties
    properties: dict[str, object] = {}
    for name in _WRITTEN_BEFORE_EXTRAS:
        _put(properties, name, getattr(given, name))
    properties.update((k, v) for k, v in given.extra.items() if k not in _ENVELOPE_ONLY)
    _put(properties, "delivery_mode", given.delivery_mode)
    _put(properties, "expiration", given.expiration)
    info = message.delivery_info
    delivery_info: dict[str, object] = {"exchange": info.exchange, "routing_key": info.routing_key}
    if info.redelivered:
        delivery_info["redelivered"] = True
    properties["delivery_info"] = delivery_info
    properties.setdefault("priority", given.priority or 0)
    body = _write_body(message.body, body_encoding)
    _put(properties, "body_encoding", body_encoding)
    properties["delivery_tag"] = delivery_tag
    envelope = {
        "body": body,
        "content-encoding": given.content_encoding,
        "content-type": given.content_type,
        "headers": dict(message.headers),
        "properties": properties,
    }
    return json.dumps(envelope).decode("ascii")


def mark_redelivered(raw: bytes | str) -> str:
    """Return an item as it is put back into its queue: marked as redelivered in both places, else unchanged.

    Raises:
        BrokenEnvelopeError: The item is no JSON object with properties.

    Spec: task-message#1.2
    """
    try:
        envelope = json.loads(_as_bytes(raw), typed=False)
    except UndecodableBodyError as exc:
        raise BrokenEnvelopeError("envelope", "a JSON object", str(exc.found)) from exc
    if not isinstance(envelope, dict):
        raise BrokenEnvelopeError("envelope", "a JSON object", envelope)
    properties = _mapping(envelope.get("properties"), "envelope['properties']")
    headers = envelope.get("headers")
    if headers is not None:
        # Null headers stay null: they are what makes a reader try protocol 1.
        _mapping(headers, "envelope['headers']")["redelivered"] = True
    info = properties.get("delivery_info")
    if info is not None:
        _mapping(info, "envelope['properties']['delivery_info']")["redelivered"] = True
    return json.dumps(envelope).decode("ascii")


def _as_bytes(raw: bytes | str) -> bytes:
    if isinstance(raw, bytes):
        return raw
    try:
        return raw.encode()
    except UnicodeEncodeError as exc:
        raise BrokenEnvelopeError("envelope", "text without lone surrogates", raw) from exc


def _mapping(value: object, field: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise BrokenEnvelopeError(field, "an object", value)
    return value


def _read_body(body: object, body_encoding: object) -> bytes:
    if isinstance(body, str):
        try:
            data = body.encode()
        except UnicodeEncodeError as exc:
            raise BrokenEnvelopeError("envelope['body']", "text", body) from exc
    elif isinstance(body, bytes):
        data = body
    else:
        raise BrokenEnvelopeError("envelope['body']", "text", body)
    if not body_encoding:
        return data
    if isinstance(body_encoding, str) and body_encoding.lower() == "utf-8":
        return data
    if body_encoding != "base64":
        raise BrokenEnvelopeError(
            "envelope['properties']['body_encoding']", "base64 or utf-8", body_encoding
        )
    try:
        # Blanks are harmless (some encoders break lines); anything else outside the alphabet is not base64.
        return base64.b64decode(data.translate(None, _BLANKS), validate=True)
    except binascii.Error as exc:
        raise BrokenEnvelopeError("envelope['body']", f"base64 ({exc})", body) from exc


def _write_body(body: bytes, body_encoding: str | None) -> str:
    if body_encoding == "base64":
        return base64.b64encode(body).decode("ascii")
    if body_encoding is not None and body_encoding.lower() != "utf-8":
        raise LocalProtocolError(f"body_encoding: expected base64 or utf-8, got {body_encoding!r}")
    try:
        return body.decode()
    except UnicodeDecodeError as exc:
        raise LocalProtocolError("body: only text can travel without base64") from exc


def _read_properties(
    envelope: Mapping[str, object], properties: Mapping[str, object]
) -> Properties:
    known: dict[str, Any] = {}
    extra: dict[str, object] = {}
    for name, value in properties.items():
        if name in _ENVELOPE_ONLY:
            continue
        convert = _CONVERTERS.get(name)
        if convert is None:
            extra[name] = value
        elif value is not None:
            converted = convert(value)
            if converted is None:
                extra[name] = value
            else:
                known[name] = converted
    return Properties(
        content_type=_text(envelope.get("content-type"), "envelope['content-type']"),
        content_encoding=_text(envelope.get("content-encoding"), "envelope['content-encoding']"),
        extra=extra or _EMPTY,
        **known,
    )


def _as_text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _as_number(value: object) -> int | None:
    if isinstance(value, int):
        return None if isinstance(value, bool) else value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return None


def _as_it_is(value: object) -> object:
    return value


_CONVERTERS: Mapping[str, Callable[[object], object | None]] = {
    "correlation_id": _as_text,
    "reply_to": _as_text,
    "delivery_mode": _as_number,
    "priority": _as_number,
    "expiration": _as_text,
    "message_id": _as_text,
    "timestamp": _as_it_is,
    "type": _as_text,
    "user_id": _as_text,
    "app_id": _as_text,
    "cluster_id": _as_text,
}
"""By property; each returns `None` for a value of an unexpected type, which then becomes an extra."""


def _read_delivery_info(info: object, headers: Mapping[str, object], queue: str) -> DeliveryInfo:
    field = "envelope['properties']['delivery_info']"
    known = {} if info is None else _mapping(info, field)
    exchange = _text(known.get("exchange"), f"{field}['exchange']")
    routing_key = _text(known.get("routing_key"), f"{field}['routing_key']")
    return DeliveryInfo(
        exchange=exchange or "",
        routing_key=queue if routing_key is None else routing_key,
        redelivered=bool(known.get("redelivered") or headers.get("redelivered")),
        queue=queue,
    )


def _read_tag(tag: object) -> str | None:
    return _as_text(tag) or None


def _text(value: object, field: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise BrokenEnvelopeError(field, "text", value)


def _put(properties: dict[str, object], name: str, value: object) -> None:
    if value is not None:
        properties[name] = value
