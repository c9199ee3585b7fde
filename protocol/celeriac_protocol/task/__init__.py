"""Task messages: headers, properties and body bytes on one side, `TaskMessage` on the other.

A worker reads in two steps: `read_headers` in its main process, for every delivery, without touching the body; then
`read_body` where the task runs. `decode` does both, and protocol 1, which has no header to go by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from celeriac_protocol.compression import compress, decompress
from celeriac_protocol.errors import (
    Hint,
    LocalProtocolError,
    RefusedContentError,
    UndecodableBodyError,
    UnknownMessageError,
)
from celeriac_protocol.message import Message
from celeriac_protocol.serializers import dumps, loads
from celeriac_protocol.task import v1, v2
from celeriac_protocol.task.headers import (
    STANDARD_HEADERS,
    header_table,
    read_compression,
    read_table,
)
from celeriac_protocol.task.model import (
    DEFAULT_LIMITS,
    Embed,
    Limits,
    TaskHeaders,
    TaskMessage,
    TimeLimit,
)

__all__ = [
    "DEFAULT_LIMITS",
    "STANDARD_HEADERS",
    "Embed",
    "Limits",
    "TaskHeaders",
    "TaskMessage",
    "TimeLimit",
    "decode",
    "encode",
    "read_body",
    "read_headers",
]


def read_headers(message: Message, limits: Limits = DEFAULT_LIMITS) -> TaskHeaders | None:
    """Read the headers of a protocol 2 message; the body is not looked at.

    Args:
        message: As delivered.
        limits: Size caps.

    Returns:
        The headers, with everything absent or null at its default; `None` without a `task` header: the message is
        protocol 1 or no task at all, and `decode` tells which.

    Raises:
        InvalidTaskError: A header breaks the layout; `field` names it.
        TooLargeError: The id is too long.
        UndecodableBodyError: `compression` is no text.

    Spec: task-message#2, task-message#3.3
    """
    headers = message.headers
    # Null headers come in envelopes of foreign producers; they count as none.
    if not headers or "task" not in headers:
        return None
    return read_table(headers, limits)


def read_body(
    message: Message,
    headers: TaskHeaders,
    *,
    accept: frozenset[str],
    limits: Limits = DEFAULT_LIMITS,
) -> TaskMessage:
    """Read the body of a protocol 2 (or hybrid) message.

    Args:
        message: As delivered: `body` still compressed and serialized.
        headers: What `read_headers` returned for it.
        accept: Content types allowed, as `serializers.accept_set` makes them.
        limits: Size caps.

    Returns:
        The call. For a hybrid body its `headers` may hold more than was passed in.

    Raises:
        RefusedContentError: The content type is not in `accept`.
        UndecodableBodyError: The bytes cannot be decompressed or deserialized.
        TooLargeError: The body grows past `limits.decompressed_bytes`.
        InvalidTaskError: The decoded body breaks the layout; nothing may run.

    Spec: task-message#3.1, task-message#3.3, task-message#6
    """
    payload = _load(message, headers.compression, accept, limits)
    return v2.read_payload(payload, message, headers, limits)


def decode(
    message: Message, *, accept: frozenset[str], limits: Limits = DEFAULT_LIMITS
) -> TaskMessage:
    """Read a task message of either protocol.

    Args:
        message: As delivered: `body` still compressed and serialized.
        accept: Content types allowed, as `serializers.accept_set` makes them.
        limits: Size caps.

    Returns:
        The call, with every field the wire left out at its documented default.

    Raises:
        UnknownMessageError: No `task` header, and the body is no mapping with `task`.
        RemoteProtocolError: The other subclasses, as for `read_headers` and `read_body`; `hint` says what a worker
            does next.

    Spec: task-message#3.3, task-message#3.5
    """
    headers = read_headers(message, limits)
    if headers is not None:
        return read_body(message, headers, accept=accept, limits=limits)
    message = message if message.headers is not None else replace(message, headers={})
    try:
        payload = _load(message, read_compression(message.headers), accept, limits)
    except RefusedContentError as exc:
        # With no header to tell what it is, a refused body is as good as an undecodable one.
        raise RefusedContentError(exc.field, exc.expected, exc.found, hint=Hint.DROP) from exc
    if not isinstance(payload, Mapping) or "task" not in payload:
        raise UnknownMessageError("body", "a `task` header, or a mapping with `task`", payload)
    return v1.read_mapping(payload, message, limits, version=1)


def _load(
    message: Message, compression: str | None, accept: frozenset[str], limits: Limits
) -> object:
    data = message.body
    properties = message.properties
    try:
        if compression is not None:
            data = decompress(data, compression, cap=limits.decompressed_bytes)
        return loads(data, properties.content_type, properties.content_encoding, accept)
    except (RecursionError, MemoryError, OverflowError) as exc:
        raise UndecodableBodyError("body", "a value of sane depth and size", exc) from exc


def encode(
    task: TaskMessage,
    *,
    protocol: int | None = None,
    serializer: str = "json",
    compression: str | None = None,
) -> Message:
    """Write a call as a message, with the header order and bytes of Celery 5.7.

    Args:
        task: The call; `properties` are taken over, but for the content type and encoding.
        protocol: 2 or 1; `None`: `task.version`.
        serializer: Alias, e.g. ``json``.
        compression: Method or content type; `None`: as `task.headers.compression` says.

    Raises:
        EncodeError: An argument cannot be encoded; nothing is to be sent.
        LocalProtocolError: Unknown protocol, serializer or compression; no usable task name or id; or chain steps in
            protocol 1.

    Spec: task-message#2, task-message#3, task-message#6, task-message#11
    """
    version = task.version if protocol is None else protocol
    for field, value in (("task", task.headers.task), ("id", task.headers.id)):
        if not isinstance(value, str) or not value:
            raise LocalProtocolError(
                f"headers[{field!r}]: expected a non-empty text, got {value!r}"
            )
    if version not in (1, 2):
        raise LocalProtocolError(f"protocol: expected 1 or 2, got {version!r}")
    encoded = dumps(v2.body_list(task) if version == 2 else v1.body_dict(task), serializer)
    body, method = encoded.data, compression or task.headers.compression
    content_type = None
    if method:
        content_type, body = compress(body, method)
    if version == 1:
        headers = dict(task.headers.custom)
        if content_type is not None:
            headers["compression"] = content_type
    else:
        headers = header_table(task.headers, content_type)
    properties = replace(
        task.properties,
        content_type=encoded.content_type,
        content_encoding=encoded.content_encoding,
    )
    return Message(headers, properties, body)
