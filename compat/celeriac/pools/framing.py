"""How the parent and a pool child talk: frames of ``length, kind, job number, payload`` over a stream socket.

A frame never needs both sides at once: the parent keeps what the kernel did not take and reads what is there, so
neither an 8 MB argument nor a stopped child can block it.
"""

from __future__ import annotations

import struct
from collections import deque
from socket import socket
from typing import Final

__all__ = [
    "ACCEPTED",
    "BLANK",
    "FINISHED",
    "JOB",
    "LEAVING",
    "RAISED_EXIT",
    "UP",
    "FrameReader",
    "FrameWriter",
    "frame",
]

JOB: Final = 1
"""Parent to child: payload is the pickled job payload."""
UP: Final = 2
"""Child to parent: initialized, waiting for the first job."""
ACCEPTED: Final = 3
"""Child to parent: payload is the wall time as a double."""
FINISHED: Final = 4
"""Child to parent: payload is the pickled outcome; the child waits for the next job."""
LEAVING: Final = 5
"""As `FINISHED`, and the child exits now: it reached a limit and takes no further job."""
RAISED_EXIT: Final = 6
"""Child to parent: the job raised `SystemExit`; the child exits now."""
BLANK: Final = b""

_HEADER = struct.Struct("!IBq")
_RECEIVE: Final = 32 * 1024
_MAX_PAYLOAD: Final = 0xFFFF_FFFF


def frame(kind: int, number: int, payload: bytes = BLANK) -> bytes:
    """Return one frame.

    Raises:
        ValueError: The payload is 4 GiB or more.
    """
    if len(payload) > _MAX_PAYLOAD:
        raise ValueError(f"a pool message of {len(payload)} bytes cannot be framed")
    return _HEADER.pack(len(payload), kind, number) + payload


class FrameReader:
    """Collects bytes and cuts them into frames; works on blocking and non-blocking sockets alike."""

    __slots__ = ("_buffer", "closed")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.closed = False

    def feed(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """Return the frames completed by `data` as ``(kind, number, payload)``."""
        buffer = self._buffer
        frames: list[tuple[int, int, bytes]] = []
        header = _HEADER.size
        if not buffer:
            # The usual case: whole frames in one read, nothing is copied twice.
            start, end = 0, len(data)
            while end - start >= header:
                length, kind, number = _HEADER.unpack_from(data, start)
                stop = start + header + length
                if stop > end:
                    break
                frames.append((kind, number, data[start + header : stop]))
                start = stop
            if start < end:
                buffer += data[start:] if start else data
            return frames
        buffer += data
        start, end = 0, len(buffer)
        while end - start >= header:
            length, kind, number = _HEADER.unpack_from(buffer, start)
            stop = start + header + length
            if stop > end:
                break
            frames.append((kind, number, bytes(buffer[start + header : stop])))
            start = stop
        if start:
            del buffer[:start]
        return frames

    def receive(self, sock: socket) -> list[tuple[int, int, bytes]]:
        """Read once from a blocking socket; sets `closed` at the end of the stream."""
        data = sock.recv(_RECEIVE)
        if not data:
            self.closed = True
            return []
        return self.feed(data)

    def drain(self, sock: socket) -> list[tuple[int, int, bytes]]:
        """Read a non-blocking socket until nothing is left; sets `closed` at the end of the stream."""
        frames: list[tuple[int, int, bytes]] = []
        while True:
            try:
                data = sock.recv(_RECEIVE)
            except BlockingIOError:
                return frames
            except ConnectionResetError:
                data = BLANK
            if not data:
                self.closed = True
                return frames
            frames += self.feed(data)
            if len(data) < _RECEIVE:
                # A short read emptied the socket: the usual case needs no second call. More bytes, or
                # the end of the stream, make the descriptor readable again.
                return frames


class FrameWriter:
    """Sends frames on a non-blocking socket and keeps what the kernel does not take yet."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: deque[memoryview] = deque()

    @property
    def pending(self) -> bool:
        """Whether bytes wait for the socket to become writable."""
        return bool(self._pending)

    def send(self, sock: socket, data: bytes) -> None:
        """Send `data`, or what is possible now. Raises `OSError` when the peer is gone."""
        if self._pending:
            self._pending.append(memoryview(data))
            return
        try:
            sent = sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._pending.append(memoryview(data)[sent:])

    def flush(self, sock: socket) -> None:
        """Send more of what is kept. Raises `OSError` when the peer is gone."""
        pending = self._pending
        while pending:
            chunk = pending[0]
            try:
                sent = sock.send(chunk)
            except BlockingIOError:
                return
            if sent < len(chunk):
                pending[0] = chunk[sent:]
                return
            pending.popleft()
