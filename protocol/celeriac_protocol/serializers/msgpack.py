"""MessagePack with separate text and binary types.

Spec: task-message#6.1
"""

from __future__ import annotations

from types import ModuleType

from celeriac_protocol.serializers.registry import MissingLibraryError

__all__ = ["MsgpackSerializer"]


class MsgpackSerializer:
    """The serializer ``msgpack``; needs msgpack."""

    name = "msgpack"
    content_type = "application/x-msgpack"
    content_encoding = "binary"

    def dumps(self, value: object) -> bytes:
        """Return `value` as MessagePack; tuples become arrays, there are no datetimes."""
        data: bytes = _library().packb(value, use_bin_type=True)
        return data

    def loads(self, data: bytes, content_encoding: str) -> object:
        """Return the one value `data` holds; keys of maps are text or binary."""
        del content_encoding
        value: object = _library().unpackb(data, raw=False)
        return value

    def require(self) -> None:
        """Raise `MissingLibraryError` without msgpack."""
        _library()


def _library() -> ModuleType:
    try:
        import msgpack
    except ImportError as exc:
        raise MissingLibraryError("serializer msgpack: needs msgpack (celeriac[msgpack])") from exc
    module: ModuleType = msgpack
    return module
