"""What can be wrong with a message, said once and precisely.

::

    ProtocolError
    ├── LocalProtocolError            we were asked to write something the protocol cannot carry
    │   └── EncodeError               a value that the chosen serializer cannot encode
    └── RemoteProtocolError           a peer sent something that breaks the layout
        ├── UnknownMessageError       neither protocol 2 nor protocol 1
        ├── RefusedContentError       a content type that `accept_content` does not allow
        ├── UndecodableBodyError      the body's bytes cannot be decompressed or deserialized
        ├── InvalidTaskError          a header, property or body element breaks the layout
        ├── BrokenEnvelopeError       the JSON envelope of a non-AMQP transport is unusable
        └── TooLargeError             a size cap was exceeded

A decoder in this package raises nothing but `RemoteProtocolError` for whatever bytes and headers it is given.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "BrokenEnvelopeError",
    "EncodeError",
    "Hint",
    "InvalidTaskError",
    "LocalProtocolError",
    "ProtocolError",
    "Reason",
    "RefusedContentError",
    "RemoteProtocolError",
    "TooLargeError",
    "UndecodableBodyError",
    "UnknownMessageError",
    "abbreviate",
]

_FOUND_LIMIT = 120


class Hint(StrEnum):
    """What a worker does next with the message that caused the error."""

    REJECT = "reject"
    """`basic.reject` without requeue: a dead-letter exchange, where configured, sees it."""
    DROP = "drop"
    """Acknowledge and forget: Celery does so with bodies that cannot be decoded."""
    REQUEUE = "requeue"
    """Give back: another worker may be able to read it."""


class Reason(StrEnum):
    """Stable reason codes, used in logs and in the quarantine."""

    UNKNOWN_MESSAGE = "unknown-message"
    REFUSED_CONTENT = "refused-content-type"
    UNDECODABLE_BODY = "undecodable-body"
    INVALID_TASK = "invalid-task"
    BROKEN_ENVELOPE = "broken-envelope"
    TOO_LARGE = "too-large"


def abbreviate(value: object, limit: int = _FOUND_LIMIT) -> str:
    """Return `repr(value)` cut to `limit` characters; never raises, whatever the value's own repr does."""
    try:
        if isinstance(value, str | bytes) and len(value) > limit:
            text = f"{value[:limit]!r}…"
        elif isinstance(value, list | tuple | dict | set) and len(value) > limit:
            text = f"{type(value).__name__} of {len(value)} items"
        else:
            text = repr(value)
    except Exception as exc:  # noqa: BLE001 - a hostile repr may raise anything
        text = f"<unprintable {type(value).__name__}: {type(exc).__name__}>"
    return text if len(text) <= limit + 4 else f"{text[:limit]}…"


class ProtocolError(Exception):
    """Base of everything this package raises on purpose."""


class LocalProtocolError(ProtocolError, ValueError):
    """We were asked to send something illegal."""


class EncodeError(LocalProtocolError):
    """A value cannot be encoded by the chosen serializer; `__cause__` is the serializer's own error."""


class RemoteProtocolError(ProtocolError):
    """A peer sent something that breaks the layout.

    Attributes:
        field: Where, as a path: ``headers['timelimit']``, ``body[2]['chain'][0]['task']``, ``envelope['properties']``.
        expected: What the layout asks for, in words.
        found: What was there, abbreviated text.
        reason: Stable code for logs and quarantine.
        hint: What a worker does next with the message.
    """

    reason: Reason = Reason.INVALID_TASK
    hint: Hint = Hint.REJECT

    def __init__(
        self, field: str, expected: str, found: object, *, hint: Hint | None = None
    ) -> None:
        self.field = field
        self.expected = expected
        self.found = found if isinstance(found, _Text) else _Text(abbreviate(found))
        if hint is not None:
            self.hint = hint
        super().__init__(field, expected, str(self.found))

    def __str__(self) -> str:
        return f"{self.field}: expected {self.expected}, got {self.found}"


class _Text(str):
    """Text that is already abbreviated."""

    __slots__ = ()


class UnknownMessageError(RemoteProtocolError):
    """Neither protocol 2 (no `task` header) nor protocol 1 (body is not a mapping with `task`)."""

    reason = Reason.UNKNOWN_MESSAGE


class RefusedContentError(RemoteProtocolError):
    """The content type is not in `accept_content`."""

    reason = Reason.REFUSED_CONTENT


class UndecodableBodyError(RemoteProtocolError):
    """The body cannot be decompressed or deserialized."""

    reason = Reason.UNDECODABLE_BODY
    hint = Hint.DROP


class InvalidTaskError(RemoteProtocolError):
    """A header, property or body element breaks the layout."""

    reason = Reason.INVALID_TASK


class BrokenEnvelopeError(RemoteProtocolError):
    """The JSON envelope of a non-AMQP transport is unusable."""

    reason = Reason.BROKEN_ENVELOPE


class TooLargeError(RemoteProtocolError):
    """A size cap was exceeded before or while decoding."""

    reason = Reason.TOO_LARGE
