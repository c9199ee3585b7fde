"""Compression of a serialized body, and its undoing under a hard cap.

A few kilobytes can expand to gigabytes. So every method is undone piece by piece, and the piece that would pass the
cap is never asked for. The methods and what follows the end of a stream are kombu's: zlib ignores trailing bytes,
bzip2 and xz go on with a next stream and ignore anything else, zstd and brotli refuse.

Spec: task-message#6.4
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import NamedTuple, Protocol

from celeriac_protocol.errors import Hint, LocalProtocolError, TooLargeError, UndecodableBodyError

__all__ = ["METHODS", "compress", "content_type_of", "decompress"]

_FIELD = "body"
_LZMA_MEMORY_LIMIT = 128 * 1024 * 1024
"""The largest preset of xz asks for 65 MiB to decompress; a header can ask for gigabytes."""
_ZSTD_WINDOW_LIMIT = 128 * 1024 * 1024
"""What the zstd programs allow by themselves."""
_PIECE = 1024 * 1024
_MAX_STREAMS = 64
"""Concatenated streams in one body. No producer writes two; thousands of empty ones would take quadratic time."""


class _Incremental(Protocol):
    """What `bz2` and `lzma` decompressors have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Method(NamedTuple):
    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes, int], bytes]
    """Takes the data and the cap."""


def compress(data: bytes, method: str) -> tuple[str, bytes]:
    """Compress a serialized body.

    Args:
        data: The serialized body.
        method: Alias or content type, e.g. ``gzip`` or ``application/x-gzip``.

    Returns:
        The value of the `compression` header, and the compressed body.

    Raises:
        LocalProtocolError: Unknown method, or its library is not installed.
    """
    content_type = content_type_of(method)
    if content_type is None:
        known = ", ".join(sorted(_ALIASES))
        raise LocalProtocolError(f"compression: expected one of {known}, got {method!r}")
    try:
        return content_type, METHODS[content_type].compress(data)
    except ImportError as exc:
        raise LocalProtocolError(f"compression {method!r}: {exc}") from exc


def decompress(data: bytes, method: object, *, cap: int) -> bytes:
    """Undo the compression of a body.

    Args:
        data: The compressed body.
        method: The `compression` header as it arrived: content type or alias; a falsy one means none.
        cap: Most bytes to return.

    Raises:
        UndecodableBodyError: Unknown method, or data that is broken or incomplete.
        TooLargeError: More than `cap` bytes would come out.
    """
    if not method:
        return data
    content_type = content_type_of(method)
    if content_type is None:
        raise UndecodableBodyError("headers['compression']", "a known compression", method)
    try:
        return METHODS[content_type].decompress(data, cap)
    except ImportError as exc:
        # Another worker may well have the library.
        raise UndecodableBodyError(
            "headers['compression']", "an installed decompressor", str(exc), hint=Hint.REQUEUE
        ) from exc
    except (OSError, ValueError, EOFError, zlib.error, lzma.LZMAError) as exc:
        raise UndecodableBodyError(_FIELD, f"data in {content_type}", exc) from exc


def content_type_of(method: object) -> str | None:
    """Return the content type `method` (alias or content type) names, or `None` for an unknown one."""
    if not isinstance(method, str):
        return None
    content_type = _ALIASES.get(method, method)
    return content_type if content_type in METHODS else None


def _too_large(cap: int) -> TooLargeError:
    return TooLargeError(_FIELD, f"at most {cap} bytes when decompressed", f"more than {cap}")


def _decompress_zlib(data: bytes, cap: int) -> bytes:
    decompressor = zlib.decompressobj()
    out = decompressor.decompress(data, cap + 1)
    if len(out) > cap:
        raise _too_large(cap)
    if not decompressor.eof:
        raise EOFError("incomplete or truncated stream")
    return out


def _decompress_streams(
    make: Callable[[], _Incremental], error: type[Exception], data: bytes, cap: int
) -> bytes:
    """Undo one or more concatenated streams, ignoring what follows the last one."""
    pieces: list[bytes] = []
    room = cap + 1
    while len(pieces) < _MAX_STREAMS:
        decompressor = make()
        try:
            piece = decompressor.decompress(data, room)
        except error:
            if pieces:
                break
            raise
        pieces.append(piece)
        room -= len(piece)
        if room <= 0:
            raise _too_large(cap)
        if not decompressor.eof:
            raise EOFError("incomplete or truncated stream")
        data = decompressor.unused_data
        if not data:
            break
    else:
        raise ValueError(f"more than {_MAX_STREAMS} streams")
    return b"".join(pieces)


def _decompress_bz2(data: bytes, cap: int) -> bytes:
    if not data:
        return b""
    return _decompress_streams(bz2.BZ2Decompressor, OSError, data, cap)


def _decompress_lzma(data: bytes, cap: int) -> bytes:
    def make() -> _Incremental:
        return lzma.LZMADecompressor(format=lzma.FORMAT_AUTO, memlimit=_LZMA_MEMORY_LIMIT)

    return _decompress_streams(make, lzma.LZMAError, data, cap)


def _compress_zstd(data: bytes) -> bytes:
    import zstandard

    out: bytes = zstandard.ZstdCompressor().compress(data)
    return out


def _decompress_zstd(data: bytes, cap: int) -> bytes:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_LIMIT)
    try:
        # The reader bounds what comes out but takes a truncated frame for a complete one...
        pieces: list[bytes] = []
        room = cap + 1
        with decompressor.stream_reader(io.BytesIO(data), read_across_frames=True) as reader:
            while piece := reader.read(min(room, _PIECE)):
                pieces.append(piece)
                room -= len(piece)
                if room <= 0:
                    raise _too_large(cap)
        # ... so the frames are walked once more, now that their size is known to be harmless.
        rest = data
        for _ in range(_MAX_STREAMS):
            frame = decompressor.decompressobj()
            frame.decompress(rest)
            if not frame.eof:
                raise EOFError("incomplete or truncated frame")
            rest = frame.unused_data
            if not rest:
                return b"".join(pieces)
        raise ValueError(f"more than {_MAX_STREAMS} frames")
    except zstandard.ZstdError as exc:
        raise ValueError(str(exc)) from exc


def _compress_brotli(data: bytes) -> bytes:
    import brotli

    out: bytes = brotli.compress(data)
    return out


def _decompress_brotli(data: bytes, cap: int) -> bytes:
    import brotli

    decompressor = brotli.Decompressor()
    if not hasattr(decompressor, "can_accept_more_data"):
        raise ImportError("decompressing under a cap needs brotli 1.2 or newer")
    pieces: list[bytes] = []
    room = cap + 1
    try:
        while True:
            piece: bytes = decompressor.process(data, output_buffer_limit=min(room, _PIECE))
            data = b""
            pieces.append(piece)
            room -= len(piece)
            if room <= 0:
                raise _too_large(cap)
            if decompressor.is_finished():
                return b"".join(pieces)
            if decompressor.can_accept_more_data():
                raise EOFError("incomplete or truncated stream")
    except brotli.error as exc:
        raise ValueError(str(exc)) from exc


METHODS: dict[str, _Method] = {
    "application/x-gzip": _Method(zlib.compress, _decompress_zlib),
    "application/x-bz2": _Method(bz2.compress, _decompress_bz2),
    "application/x-lzma": _Method(lzma.compress, _decompress_lzma),
    "application/x-brotli": _Method(_compress_brotli, _decompress_brotli),
    "application/zstd": _Method(_compress_zstd, _decompress_zstd),
}
"""By content type. ``application/x-gzip`` holds a zlib stream: a real gzip file is refused."""

_ALIASES = {
    "gzip": "application/x-gzip",
    "zlib": "application/x-gzip",
    "bzip2": "application/x-bz2",
    "bzip": "application/x-bz2",
    "lzma": "application/x-lzma",
    "xz": "application/x-lzma",
    "brotli": "application/x-brotli",
    "zstd": "application/zstd",
    "zstandard": "application/zstd",
}
_ALIASES.update({content_type: content_type for content_type in METHODS})
