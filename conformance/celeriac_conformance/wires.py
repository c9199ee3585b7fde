"""What crosses a broker, as the broker itself tells it: recorded beside a case, shown when the case does not pass.

Redis tells every command to a client that asks with ``MONITOR``; RabbitMQ publishes a copy of every message that comes
in or goes out on the exchange ``amq.rabbitmq.trace`` of a virtual host whose tracing is on. Neither changes what the
programs under test see. Recordings are bounded: old frames go first, long ones are cut.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import kombu.connection
import redis

__all__ = [
    "FRAMES",
    "FRAME_BYTES",
    "Frame",
    "RabbitWire",
    "RedisWire",
    "TracedMessage",
    "Wire",
    "WireError",
]

FRAMES = 4000
"""Frames kept of one wire."""
FRAME_BYTES = 32 * 1024
"""What is kept of one frame."""

_CATCH_UP_S = 3.0
_HOUSEKEEPING = frozenset({"PING", "CLIENT", "HELLO", "SELECT", "INFO", "ECHO", "COMMAND"})
"""Redis commands that tell about a connection, not about messages."""
_MONITORED = re.compile(rb"\+?(\d+\.\d+) \[(\d+) ([^\]]*)\] (.*)", re.DOTALL)
_WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"?', re.DOTALL)
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}


class WireError(RuntimeError):
    """The broker does not let itself be watched."""


@dataclass(frozen=True)
class TracedMessage:
    """A message as RabbitMQ's tracer tells it."""

    body: bytes
    headers: Mapping[str, Any] | None
    properties: Mapping[str, Any]
    """Basic properties with underscores, without the headers."""


@dataclass(frozen=True)
class Frame:
    """One command or message."""

    at: float
    """Seconds since the epoch, by the broker's or else our clock."""
    peer: str
    """Whose it is: an address, or what the broker says instead."""
    action: str
    """A Redis command; ``publish`` or ``deliver``."""
    where: str
    """Key; or exchange and routing keys; or queue."""
    parts: tuple[str, ...]
    """The rest as text: further arguments; or properties and body."""
    message: TracedMessage | None = None
    """The message itself, whole, where the broker tells of messages rather than commands."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON writes it; `parts` say what a `message` holds."""
        shown = asdict(self)
        del shown["message"]
        return shown


class Wire(ABC):
    """A running recording of one broker or result store."""

    name: str

    def __init__(self) -> None:
        self._seen = threading.Condition()
        self._raw: deque[tuple[int, Any]] = deque(maxlen=FRAMES)
        self._count = 0
        self._markers: set[str] = set()
        self._ended: str | None = None

    def mark(self) -> int:
        """Return the position that `since` takes."""
        with self._seen:
            return self._count

    def since(self, position: int) -> list[Frame]:
        """Return the frames after a position, those included that happened just before this call."""
        self._catch_up()
        with self._seen:
            kept = [raw for number, raw in self._raw if number >= position]
        return [frame for frame in map(self._read, kept) if frame is not None]

    @property
    def ended(self) -> str | None:
        """Why the recording ended by itself, or None."""
        return self._ended

    @abstractmethod
    def close(self) -> None:
        """Stop recording."""

    @abstractmethod
    def _send_marker(self, marker: str) -> None:
        """Make something happen that the recording shows."""

    @abstractmethod
    def _read(self, raw: Any) -> Frame | None:
        """Make a frame of what was recorded; None for what nobody wants to see."""

    def _keep(self, raw: Any) -> None:
        with self._seen:
            self._raw.append((self._count, raw))
            self._count += 1

    def _pass_marker(self, marker: str) -> None:
        with self._seen:
            self._markers.discard(marker)
            self._seen.notify_all()

    def _end(self, reason: str) -> None:
        with self._seen:
            self._ended = reason
            self._markers.clear()
            self._seen.notify_all()

    def _catch_up(self) -> None:
        marker = f"celeriac-conformance-{uuid.uuid4()}"
        with self._seen:
            if self._ended is not None:
                return
            self._markers.add(marker)
        self._send_marker(marker)
        with self._seen:
            # Late is late: what came so far is shown all the same.
            self._seen.wait_for(lambda: marker not in self._markers, _CATCH_UP_S)


class RedisWire(Wire):
    """Every command of a Redis server, by ``MONITOR``.

    Args:
        url: The server.

    Raises:
        WireError: It does not allow that.
    """

    name = "redis"

    def __init__(self, url: str) -> None:
        super().__init__()
        self._client: Any = redis.Redis.from_url(url)
        self._connection = self._monitor()
        self._socket: socket.socket = self._connection._sock
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._listen, name="redis-monitor", daemon=True)
        self._thread.start()

    def _monitor(self) -> Any:
        try:
            # redis-py reads and splits every line in a way that loses escapes: its connection does, the rest is ours.
            connection = self._client.connection_pool.get_connection()
            connection.send_command("MONITOR")
            connection.read_response()
        except redis.RedisError as error:
            raise WireError(f"MONITOR: {error}") from error
        return connection

    def close(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            # The server closed it first: there is nothing left to stop.
            self._end("closed by the server")
        self._thread.join(5)
        self._connection.disconnect()
        self._client.close()

    def _listen(self) -> None:
        pending = bytearray()
        while True:
            try:
                chunk = self._socket.recv(1 << 18)
            except OSError as error:
                return self._end(str(error))
            if not chunk:
                return self._end("closed by the server")
            pending += chunk
            *lines, rest = pending.split(b"\r\n")
            pending = rest
            for line in lines:
                self._take(bytes(line))

    def _take(self, line: bytes) -> None:
        if b"celeriac-conformance-" in line[:200] and b'"ECHO"' in line:
            for word in _words(line):
                self._pass_marker(word)
            return
        self._keep(line[:FRAME_BYTES])

    def _send_marker(self, marker: str) -> None:
        self._client.echo(marker)

    def _read(self, raw: bytes) -> Frame | None:
        found = _MONITORED.fullmatch(raw)
        if found is None:
            return None
        at, database, peer, rest = found.groups()
        command, *arguments = _words(rest)
        if command.upper() in _HOUSEKEEPING:
            return None
        where = arguments[0] if arguments else ""
        return Frame(
            at=float(at),
            peer=f"{peer.decode()} db {database.decode()}",
            action=command.upper(),
            where=where,
            parts=(*arguments[1:], *(["… (cut)"] if len(raw) == FRAME_BYTES else [])),
        )


def _words(line: bytes) -> list[str]:
    """Return the quoted words of a line of MONITOR."""
    return [
        _ESCAPE.sub(_unescaped, word).decode("utf-8", "backslashreplace")
        for word in _WORD.findall(line)
    ]


def _unescaped(found: re.Match[bytes]) -> bytes:
    code = found[1]
    if len(code) == 3:
        return bytes([int(code[1:], 16)])
    return _ESCAPED.get(code, code)


class RabbitWire(Wire):
    """Every message of a virtual host of RabbitMQ, by its tracer.

    Args:
        url: AMQP URL of the virtual host.
        switch_on: Switches its tracing on.

    Raises:
        WireError: That does not work.
    """

    name = "rabbitmq"

    def __init__(self, url: str, switch_on: Callable[[], object]) -> None:
        super().__init__()
        connect: Any = kombu.connection.Connection
        self._connection = connect(url)
        self._sender = connect(url)
        try:
            switch_on()
            channel = self._connection.channel()
            queue = channel.queue_declare(
                exclusive=True, auto_delete=True, arguments={"x-max-length": FRAMES}
            ).queue
            channel.queue_bind(queue, exchange="amq.rabbitmq.trace", routing_key="#")
            channel.basic_consume(queue, no_ack=True, callback=self._take)
            self._channel = self._sender.channel()
        except Exception as error:
            self._connection.release()
            self._sender.release()
            raise WireError(f"tracing: {error}") from error
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="rabbitmq-tracer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join(5)
        self._connection.release()
        self._sender.release()

    def _listen(self) -> None:
        lost = (*self._connection.connection_errors, *self._connection.channel_errors)
        while not self._closing.is_set():
            try:
                self._connection.drain_events(timeout=0.2)
            except TimeoutError:
                continue
            except lost as error:
                self._end(str(error))
                return

    def _take(self, message: Any) -> None:
        headers = message.headers or {}
        keys = [str(key) for key in headers.get("routing_keys") or ()]
        for key in keys:
            if key.startswith("celeriac-conformance-"):
                self._pass_marker(key)
                return
        body = message.body
        data = body.encode() if isinstance(body, str) else bytes(body)
        self._keep((time.time(), message.delivery_info["routing_key"], headers, keys, data))

    def _send_marker(self, marker: str) -> None:
        self._channel.basic_publish(
            self._channel.prepare_message(b"marker"), exchange="", routing_key=marker
        )

    def _read(self, raw: Any) -> Frame | None:
        at, key, headers, keys, data = raw
        action, _, name = key.partition(".")
        where = f"{name or '(default exchange)'} {' '.join(keys)}" if action == "publish" else name
        body = data[:FRAME_BYTES].decode("utf-8", "backslashreplace")
        properties = headers.get("properties") or {}
        return Frame(
            at=at,
            peer=str(headers.get("connection", "")),
            action=action,
            where=where,
            parts=(
                json.dumps(properties, default=str, ensure_ascii=False),
                body + (" … (cut)" if len(data) > FRAME_BYTES else ""),
            ),
            message=_raw_message(properties, data),
        )


def _raw_message(properties: Mapping[str, Any], body: bytes) -> TracedMessage:
    named = dict(properties)
    headers = named.pop("headers", None)
    return TracedMessage(body=body, headers=headers, properties=named)
