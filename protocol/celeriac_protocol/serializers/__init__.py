"""Serializers: values ↔ the bytes of a message body."""

from __future__ import annotations

from celeriac_protocol.serializers.json import JsonSerializer
from celeriac_protocol.serializers.registry import (
    TRUSTED_CONTENT_TYPES,
    Encoded,
    MissingLibraryError,
    Serializer,
    accept_set,
    dumps,
    get,
    label,
    loads,
    register,
    unregister,
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

for _serializer in (JsonSerializer(),):
    register(_serializer)
