"""Which serializer writes an alias, and which one may read a content type.

Two rules keep strangers' bytes harmless. A content type is compared, exactly, with what the receiver accepts
*before* any decoder runs; and a decoder's failure, whatever it is, leaves this module as one of two errors.

The table of serializers is process-wide, as it is in Celery: `register` is meant for start-up.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from celeriac_protocol.errors import (
    EncodeError,
    Hint,
    LocalProtocolError,
    RefusedContentError,
    UndecodableBodyError,
)

__all__ = [
    "TRUSTED_CONTENT_TYPES",
    "Encoded",
    "MissingLibraryError",
    "Serializer",
    "accept_set",
    "dumps",
    "get",
    "label",
    "loads",
    "register",
    "unregister",
]

TRUSTED_CONTENT_TYPES = frozenset({"application/data", "application/text"})
"""Never refused: plain bytes or text, or a signed body whose serializer checks the signature."""

_RAW_CONTENT_TYPE = "application/data"
_BINARY_ENCODINGS = frozenset({"binary", "ascii-8bit"})
_ENCODING_NAME_LIMIT = 40
_EXPENSIVE_ENCODINGS = frozenset(
    {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined"}
)
"""Python codecs that are no character sets: quadratic time, or escapes interpreted."""


class Encoded(NamedTuple):
    """A serialized value with the two properties that say how to read it."""

    content_type: str
    content_encoding: str
    data: bytes


class MissingLibraryError(LocalProtocolError):
    """A serializer's optional third-party library is not installed."""


class Serializer(Protocol):
    """One way to turn values into bytes and back.

    `dumps` and `loads` may raise anything: the registry turns it into `EncodeError` or `UndecodableBodyError`.
    """

    @property
    def name(self) -> str:
        """Alias by which settings and call options choose it."""

    @property
    def content_type(self) -> str:
        """MIME type by which a receiver finds it."""

    @property
    def content_encoding(self) -> str:
        """Value of the `content_encoding` property written with it."""

    def dumps(self, value: object) -> bytes:
        """Return `value` as bytes."""

    def loads(self, data: bytes, content_encoding: str) -> object:
        """Return the value `data` stands for; `data` is never empty."""

    def require(self) -> None:
        """Raise `MissingLibraryError` when an optional library it needs is absent."""


_by_name: dict[str, Serializer] = {}
_by_content_type: dict[str, Serializer] = {}


def register(serializer: Serializer) -> None:
    """Make `serializer` known under its name and content type, in place of an earlier one."""
    unregister(serializer.name)
    _by_name[serializer.name] = serializer
    _by_content_type[serializer.content_type] = serializer


def unregister(name: str) -> None:
    """Forget the serializer `name`; unknown names are none of our business."""
    known = _by_name.pop(name, None)
    if known is not None and _by_content_type.get(known.content_type) is known:
        del _by_content_type[known.content_type]


def get(name: str) -> Serializer:
    """Return the serializer registered under the alias `name`.

    Raises:
        LocalProtocolError: No such alias; a MIME type is not an alias.
    """
    try:
        return _by_name[name]
    except (KeyError, TypeError):
        known = ", ".join(sorted(_by_name))
        raise LocalProtocolError(
            f"serializer: expected one of {known}, raw, got {name!r}"
        ) from None


def dumps(value: object, serializer: str = "json") -> Encoded:
    """Serialize `value` for a message body.

    Args:
        value: Anything the serializer can carry.
        serializer: Alias; ``raw`` passes bytes or text through.

    Raises:
        LocalProtocolError: Unknown alias.
        EncodeError: The serializer cannot carry the value; the text is the `repr` of its own error.

    Spec: task-message#6.1
    """
    if serializer == "raw":
        return _dump_raw(value)
    chosen = get(serializer)
    try:
        data = chosen.dumps(value)
    except MissingLibraryError:
        raise
    except Exception as exc:
        raise EncodeError(repr(exc)) from exc
    return Encoded(chosen.content_type, chosen.content_encoding, data)


def loads(
    data: bytes, content_type: str | None, content_encoding: str | None, accept: frozenset[str]
) -> object:
    """Deserialize a message body, if its content type is accepted.

    An empty body is returned as it is, and a content type without a decoder gives text in the named character
    set (or the bytes, for ``binary``): both as Celery does. Whether such a value is a task is for the caller.

    Args:
        data: The body, decompressed.
        content_type: As in the properties; none counts as ``application/data``.
        content_encoding: As in the properties; only used where there is no decoder.
        accept: MIME types, from `accept_set`.

    Raises:
        RefusedContentError: The content type is not in `accept`.
        UndecodableBodyError: The bytes are no document of that content type.

    Spec: task-message#6.1, task-message#6.3
    """
    if not content_type:
        content_type = _RAW_CONTENT_TYPE
    if content_type not in accept and content_type not in TRUSTED_CONTENT_TYPES:
        raise RefusedContentError(
            "properties['content_type']",
            f"an accepted content type ({', '.join(sorted(accept)) or 'none is'})",
            content_type,
        )
    if not data:
        return data
    serializer = _by_content_type.get(content_type)
    if serializer is None:
        return _load_text(data, content_encoding)
    try:
        return serializer.loads(data, content_encoding or "utf-8")
    except UndecodableBodyError:
        raise
    except MissingLibraryError as exc:
        # Another worker may well have the library.
        raise UndecodableBodyError(
            "body", f"an installed decoder for {content_type}", exc, hint=Hint.REQUEUE
        ) from exc
    except Exception as exc:
        # Not `repr`: that of a UnicodeDecodeError holds the whole body.
        raise UndecodableBodyError(
            "body", f"a valid {serializer.name} document", f"{type(exc).__name__}: {exc}"
        ) from exc


def accept_set(names: Iterable[str]) -> frozenset[str]:
    """Return the MIME types that the setting `accept_content` stands for.

    Args:
        names: Aliases, or MIME types: anything with a slash is taken as it is.

    Raises:
        LocalProtocolError: Unknown alias, or one whose library is not installed.

    Spec: task-message#6.3
    """
    accepted = set()
    for name in names:
        if "/" in name:
            accepted.add(name)
            continue
        serializer = get(name)
        serializer.require()
        accepted.add(serializer.content_type)
    return frozenset(accepted)


def label(content_type: str) -> str:
    """Return how logs name a content type: ``pickle (application/x-python-serialize)``."""
    serializer = _by_content_type.get(content_type)
    return f"{serializer.name if serializer else content_type} ({content_type})"


def _dump_raw(value: object) -> Encoded:
    if isinstance(value, str):
        try:
            return Encoded(_RAW_CONTENT_TYPE, "utf-8", value.encode())
        except UnicodeEncodeError as exc:
            raise EncodeError(repr(exc)) from exc
    if isinstance(value, bytes | bytearray | memoryview):
        return Encoded(_RAW_CONTENT_TYPE, "binary", bytes(value))
    refusal = TypeError(f"raw carries text or bytes, not {type(value).__name__}")
    raise EncodeError(repr(refusal)) from refusal


def _load_text(data: bytes, content_encoding: str | None) -> str | bytes:
    encoding = (content_encoding or "utf-8").lower()
    if encoding in _BINARY_ENCODINGS:
        return data
    try:
        if len(encoding) > _ENCODING_NAME_LIMIT:
            raise LookupError(f"unknown encoding: {encoding[:_ENCODING_NAME_LIMIT]}…")
        if codecs.lookup(encoding).name.replace("-", "_") in _EXPENSIVE_ENCODINGS:
            raise LookupError(f"not a character set: {encoding}")
        return data.decode(encoding)
    except (LookupError, ValueError) as exc:
        raise UndecodableBodyError(
            "body", f"text in {encoding[:_ENCODING_NAME_LIMIT]!r}", f"{type(exc).__name__}: {exc}"
        ) from exc
