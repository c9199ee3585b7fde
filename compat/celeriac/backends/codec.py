"""Values to stored bytes and back: serializer, optional compression marker, nothing more."""

from __future__ import annotations

from celeriac.backends.base import BackendOptions
from celeriac_protocol.result import ResultMeta, unwrap_compressed, wrap_compressed
from celeriac_protocol.serializers import dumps, get, loads

__all__ = ["Codec"]


class Codec:
    """Encodes with the configured serializer and decodes what any peer with the same serializer wrote.

    Key/value stores carry no content type: reader and writer agree on `result_serializer` by configuration. The
    compression marker is recognised by content, so a reader needs no setting for it.

    Spec: results-and-workflows#1.6, #1.7
    """

    def __init__(self, options: BackendOptions, *, compresses: bool = True) -> None:
        self.serializer = options.serializer
        self._accept = options.accept
        self._compression = options.compression if compresses else None
        chosen = get(options.serializer)
        self.content_type = chosen.content_type
        self.content_encoding = chosen.content_encoding

    def encode(self, value: object) -> bytes:
        """Return the bytes to store. Raises `EncodeError`."""
        data = dumps(value, self.serializer).data
        return wrap_compressed(data, self._compression) if self._compression else data

    def decode(self, data: bytes) -> object:
        """Return the value. Raises `RemoteProtocolError`."""
        return loads(
            unwrap_compressed(data), self.content_type, self.content_encoding, self._accept
        )

    def encode_meta(self, meta: ResultMeta) -> bytes:
        """Return the document of a task as bytes. Raises `EncodeError`."""
        return self.encode(meta.to_dict())

    def decode_meta(self, data: bytes, task_id: str) -> ResultMeta:
        """Return the document stored for a task; foreign writers may leave the id out.

        Raises:
            RemoteProtocolError: Not readable, or no document.
        """
        return ResultMeta.from_dict(self.decode(data), task_id=task_id)
