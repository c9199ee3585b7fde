r"""JSON as kombu writes it: Python's default text form, plus marked objects for a few more types.

A value JSON does not know travels as ``{"__type__": marker, "__value__": …}`` (kombu 5.3 and later). Reading turns
every object of exactly these two keys back, at any depth; there is no escaping, so a user's own dict of that shape
is converted as well. Before kombu 5.3 the same types travelled as bare text, which `dumps_legacy` still writes.

The text is `json.dumps` with its default separators, ASCII only, insertion order of keys, ``NaN`` and ``Infinity``
allowed. Lone surrogates inside ``\uXXXX`` escapes are legal both ways, as they are for Celery.

Spec: task-message#6.2
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import TypeVar

from celeriac_protocol.errors import EncodeError, UndecodableBodyError

__all__ = ["JsonSerializer", "dumps", "dumps_legacy", "loads", "register_type", "unregister_type"]

_T = TypeVar("_T")
_MARKED_KEYS = frozenset({"__type__", "__value__"})
_TYPE_KEY = b"__type__"
_ESCAPED_ASCII_LETTER = re.compile(rb"\\u00[567]")
"""A letter of ``__type__`` may hide behind an escape; only then is the marker invisible to a plain search."""

_encoders: dict[type, tuple[str | None, Callable[[object], object]]] = {}
_decoders: dict[str, Callable[[object], object]] = {}


def register_type(
    cls: type[_T],
    marker: str | None,
    encode: Callable[[_T], object],
    decode: Callable[[object], object] = lambda value: value,
) -> None:
    """Let JSON carry instances of `cls` (and of its subclasses, unless those were registered earlier).

    Args:
        cls: The type.
        marker: Value of ``__type__``; `None` writes the bare encoded value, which nothing turns back.
        encode: Instance → value that JSON can carry.
        decode: Encoded value → instance; may raise anything for a bad one.
    """
    if marker is not None:
        _decoders[marker] = decode
    _encoders[cls] = (marker, encode)  # type: ignore[assignment]  # keyed by the very type it takes


def unregister_type(cls: type) -> None:
    """Undo `register_type`; unknown types are none of our business."""
    marker, _ = _encoders.pop(cls, (None, None))
    if marker is not None:
        _decoders.pop(marker, None)


def dumps(value: object) -> bytes:
    """Write `value` the way kombu 5.3 and later do.

    Raises:
        EncodeError: Something inside cannot be carried, refers to itself, or nests too deep.
    """
    try:
        return _ENCODER.encode(value).encode("ascii")
    except Exception as exc:
        raise EncodeError(repr(exc)) from exc


def dumps_legacy(value: object) -> bytes:
    """Write `value` the way kombu before 5.3 did: bare text for dates, decimals and UUIDs, no bytes.

    Raises:
        EncodeError: Something inside cannot be carried, refers to itself, or nests too deep.
    """
    try:
        return _LEGACY_ENCODER.encode(value).encode("ascii")
    except Exception as exc:
        raise EncodeError(repr(exc)) from exc


def loads(data: bytes, *, typed: bool = True) -> object:
    """Read a JSON document in UTF-8, without a byte order mark.

    Args:
        data: The document.
        typed: Convert marked objects. Readers before kombu 5.3 left them as they are.

    Raises:
        UndecodableBodyError: Not UTF-8, not JSON, nested too deep, an unknown marker, or a marked value its type
            refuses.
    """
    try:
        # A decoder with an object hook is slower by half: most bodies hold no marked object at all.
        if typed and (_TYPE_KEY in data or _ESCAPED_ASCII_LETTER.search(data)):
            value: object = _TYPED_DECODER.decode(data.decode())
        else:
            value = _PLAIN_DECODER.decode(data.decode())
    except UndecodableBodyError:
        raise
    except Exception as exc:
        # Not `repr`: that of a UnicodeDecodeError holds the whole body.
        raise UndecodableBodyError(
            "body", "a valid json document", f"{type(exc).__name__}: {exc}"
        ) from exc
    return value


class JsonSerializer:
    """The serializer ``json``."""

    name = "json"
    content_type = "application/json"
    content_encoding = "utf-8"

    def dumps(self, value: object) -> bytes:
        """Return `value` as a JSON document."""
        return _ENCODER.encode(value).encode("ascii")

    def loads(self, data: bytes, content_encoding: str) -> object:
        """Return the value of a JSON document; always UTF-8, as kombu ignores the content encoding."""
        del content_encoding
        return loads(data)

    def require(self) -> None:
        """Need nothing but the standard library."""


def _convert_marked(found: dict[str, object]) -> object:
    if found.keys() != _MARKED_KEYS:
        return found
    marker = found["__type__"]
    decode = _decoders.get(marker) if isinstance(marker, str) else None
    if decode is None:
        raise UndecodableBodyError("body[…]['__type__']", "a known type marker", marker)
    return decode(found["__value__"])


def _encode_unknown(value: object) -> object:
    reduce = getattr(value, "__json__", None)
    if reduce is not None:
        return reduce()
    if _is_lazy_text(value):
        return str(value)
    for cls, (marker, encode) in _encoders.items():
        if isinstance(value, cls):
            return encode(value) if marker is None else _marked(marker, encode(value))
    if isinstance(value, bytes):
        try:
            return _marked("bytes", value.decode())
        except UnicodeDecodeError:
            return _marked("base64", base64.b64encode(value).decode())
    raise _not_serializable(value)


def _encode_unknown_legacy(value: object) -> object:
    reduce = getattr(value, "__json__", None)
    if reduce is not None:
        return reduce()
    if isinstance(value, datetime):
        text = value.isoformat()
        return f"{text[:-6]}Z" if text.endswith("+00:00") else text
    if isinstance(value, date):
        return f"{value.isoformat()}T00:00:00"
    if isinstance(value, time):
        return value.isoformat()
    if isinstance(value, Decimal | uuid.UUID) or _is_lazy_text(value):
        return str(value)
    raise _not_serializable(value)


def _marked(marker: str, value: object) -> dict[str, object]:
    return {"__type__": marker, "__value__": value}


def _not_serializable(value: object) -> TypeError:
    return TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _is_lazy_text(value: object) -> bool:
    """Tell whether `value` is one of Django's lazy strings, without importing Django."""
    return any(
        cls.__name__ == "Promise" and cls.__module__ == "django.utils.functional"
        for cls in type(value).__mro__
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {type(value).__name__}")
    return value


def _read_uuid(value: object) -> uuid.UUID:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, got {type(value).__name__}")
    return uuid.UUID(**value)


_decoders["bytes"] = lambda value: _text(value).encode()
_decoders["base64"] = lambda value: base64.b64decode(_text(value).encode())
# A datetime is a date too: the first match wins, so it has to come first.
register_type(
    datetime, "datetime", datetime.isoformat, lambda value: datetime.fromisoformat(_text(value))
)
register_type(
    date, "date", date.isoformat, lambda value: datetime.fromisoformat(_text(value)).date()
)
register_type(time, "time", time.isoformat, lambda value: time.fromisoformat(_text(value)))
register_type(Decimal, "decimal", str, lambda value: Decimal(_text(value)))
register_type(uuid.UUID, "uuid", lambda value: {"hex": value.hex}, _read_uuid)

_ENCODER = json.JSONEncoder(default=_encode_unknown)
_LEGACY_ENCODER = json.JSONEncoder(default=_encode_unknown_legacy)
_PLAIN_DECODER = json.JSONDecoder()
_TYPED_DECODER = json.JSONDecoder(object_hook=_convert_marked)
