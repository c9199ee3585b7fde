"""Serializers: values ↔ the bytes of a message body.

Registered from the start: ``json``, ``pickle``, ``yaml``, ``msgpack`` (an optional library is only needed on use),
and ``raw`` for text and bytes as they are. ``auth`` needs keys: register an `auth.SecureSerializer`.
"""

from __future__ import annotations

from celeriac_protocol.serializers.json import JsonSerializer
from celeriac_protocol.serializers.msgpack import MsgpackSerializer
from celeriac_protocol.serializers.pickle import PickleSerializer
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
from celeriac_protocol.serializers.yaml import YamlSerializer

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

register(JsonSerializer())
register(PickleSerializer())
register(YamlSerializer())
register(MsgpackSerializer())
