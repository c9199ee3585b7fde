"""Consuming over AMQP 0-9-1 with py-amqp.

One channel carries all task consumers, so that one window spans all queues. Delivery tags count up on it; an
acknowledgement of several is sent as one `multiple` frame only as far as every lower tag is settled, and what remains
goes out as single frames in one write. Deliveries are read off the socket here, many at a time; all other frames are
py-amqp's.

Spec: transports#1.6, transports#1.8, transports#6
"""

from __future__ import annotations

import itertools
import logging
import socket
import ssl
import struct
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from amqp import spec

from celeriac.brokers.amqp_frames import (
    DELIVER,
    Delivered,
    body_size,
    read_content_header,
    read_deliver,
)
from celeriac.brokers.kombu_consumer import Consumer, Received
from celeriac_protocol.errors import RemoteProtocolError
from celeriac_protocol.message import DeliveryInfo, Message, Properties

__all__ = ["AmqpConsumer"]

logger = logging.getLogger(__name__)

_SETTLE: Final = struct.Struct(">BHIHHQBB")
"""Frame type, channel, size 13, class, method, delivery tag, bits, end."""
_FRAME: Final = struct.Struct(">BHI")
_METHOD, _HEADER, _BODY = 1, 2, 3
_RECEIVE: Final = 64 * 1024
_ACK: Final = (60, 80)
_REJECT: Final = (60, 90)
_END: Final = 0xCE
_MAX_PREFETCH: Final = 65535
_HEARTBEAT_RATE: Final = 2
_MAX_CONSUMERS: Final = 8
"""Per queue, where the window grows by adding consumers; then they are replaced by one."""

_consumer_numbers = itertools.count(1)


@dataclass(slots=True, eq=False)
class _Line:
    """One queue and its consumers."""

    queue: Any
    """Bound to the channel."""
    consumers: dict[str, int] = field(default_factory=dict)
    """Consumer tag → window."""


@dataclass(slots=True)
class _Partial:
    """A delivery of which not all frames have come."""

    delivered: Delivered
    header: bytes = b""
    missing: int = 0
    chunks: list[bytes] = field(default_factory=list)


class AmqpConsumer(Consumer):
    """One channel of an open py-amqp connection.

    Args:
        connection: Open.
        no_ack: Deliveries need no settling, and no window bounds them.
    """

    def __init__(self, connection: Any, *, no_ack: bool = False) -> None:
        super().__init__(connection)
        self._no_ack = no_ack
        self._amqp: Any = connection.connection
        self._amqp_handler: Any = self._amqp.on_inbound_frame
        self._amqp.on_inbound_frame = self._on_frame
        sock = self._amqp.sock
        self._reads_itself = hasattr(socket, "MSG_DONTWAIT") and not isinstance(sock, ssl.SSLSocket)
        self._channel: Any = None
        self._channel_id: int | None = None
        self._partial: _Partial | None = None
        """The delivery whose frames are coming in."""
        self._queue_of: dict[str, str] = {}
        """Consumer tag → queue, cancelled ones included: their last deliveries may still come."""
        self._lines: list[_Line] = []
        self._cancelled: list[_Line] = []
        """Those whose consumer the broker has cancelled."""
        self._received: deque[Received] = deque()
        self._open_tags: dict[int, None] = {}
        """Unsettled delivery tags, lowest first."""
        self._prefetch = 0
        self._is_global = False

    # -- consuming -------------------------------------------------------------------------------

    def consume(self, queues: Sequence[Any], prefetch_count: int) -> None:
        """Declare and consume on one new channel."""
        channel = self._channel = self.connection.channel()
        self._channel_id = channel.channel_id
        self._is_global = self._can_share_window(queues)
        self._prefetch = prefetch_count
        if self._is_global and not self._no_ack:
            channel.basic_qos(0, self._clamp(prefetch_count), True)
        self._lines = [_Line(queue(channel)) for queue in queues]
        for line in self._lines:
            self._declare(line.queue)
        for line, share in zip(self._lines, self._shares(), strict=True):
            self._start(line, share, nowait=False)

    def _can_share_window(self, queues: Sequence[Any]) -> bool:
        """Whether the broker has one window per channel. RabbitMQ 4 has not, quorum queues never had."""
        if self._no_ack:
            return True
        if self.connection.qos_semantics_matches_spec:
            return False
        return not any(
            (queue.queue_arguments or {}).get("x-queue-type") in ("quorum", "stream")
            for queue in queues
        )

    def _declare(self, queue: Any) -> None:
        if not queue.no_declare:
            queue.declare()

    def _start(self, line: _Line, window: int, *, nowait: bool) -> None:
        if not self._is_global:
            self._send_qos(window, is_global=False)
        tag = f"celeriac{next(_consumer_numbers)}"
        line.consumers[tag] = window
        self._queue_of[tag] = line.queue.name
        line.queue.consume(
            consumer_tag=tag,
            callback=None,  # `_on_own_frame` comes first
            on_cancel=self._on_cancel,
            no_ack=self._no_ack,
            nowait=nowait,
        )

    def _send_qos(self, window: int, *, is_global: bool) -> None:
        # Not waited for: the answer is read with the next deliveries.
        self._channel.send_method(spec.Basic.Qos, "lBb", (0, window, is_global))

    def _clamp(self, prefetch_count: int) -> int:
        return min(max(prefetch_count, 0), _MAX_PREFETCH)

    def _shares(self) -> list[int]:
        """Cut the window into one part per queue; together they are no more than the whole."""
        count, window = len(self._lines), self._clamp(self._prefetch)
        if not window or not count or self._is_global:
            return [window] * count
        base, rest = divmod(window, count)
        return [max(1, base + (index < rest)) for index in range(count)]

    def set_prefetch(self, prefetch_count: int) -> None:
        """Change the window. Where each consumer has its own, consumers are added and cancelled."""
        if prefetch_count == self._prefetch:
            return
        self._prefetch = prefetch_count
        if self._channel is None:
            return
        if self._is_global:
            self._send_qos(self._clamp(prefetch_count), is_global=True)
            return
        for line, share in zip(self._lines, self._shares(), strict=True):
            self._resize(line, share)

    def _resize(self, line: _Line, share: int) -> None:
        """Make the windows of a queue's consumers add up to `share`; 0 is no limit.

        What a cancelled consumer has delivered stays outside the new windows until it is settled.
        """
        windows = line.consumers
        is_unlimited = 0 in windows.values()
        starts_over = share == 0 or is_unlimited or len(windows) >= _MAX_CONSUMERS
        keep = 0 if starts_over else share
        for tag in reversed(list(windows)):
            if sum(windows.values()) > keep or (is_unlimited and share):
                self._channel.basic_cancel(tag, nowait=True)
                del windows[tag]
        missing = share - sum(windows.values())
        if missing > 0 or share == 0:
            self._start(line, missing, nowait=True)

    def add_queue(self, queue: Any) -> None:
        """Consume one more; every queue's part of the window becomes smaller."""
        if any(line.queue.name == queue.name for line in self._lines):
            return
        line = _Line(queue(self._channel))
        self._lines.append(line)
        if self._is_global or not self._prefetch:
            self._start(line, self._clamp(self._prefetch), nowait=True)
            return
        for each, share in zip(self._lines, self._shares(), strict=True):
            self._resize(each, share)

    def remove_queue(self, name: str) -> None:
        """Cancel the consumers of one queue; what they have delivered stays ours."""
        for line in [line for line in self._lines if line.queue.name == name]:
            for tag in line.consumers:
                self._channel.basic_cancel(tag, nowait=True)
            self._lines.remove(line)
            if line in self._cancelled:
                self._cancelled.remove(line)
        if not self._is_global and self._prefetch:
            for line, share in zip(self._lines, self._shares(), strict=True):
                self._resize(line, share)

    def cancel(self) -> None:
        """Cancel the consumers and give back what came meanwhile."""
        tags = [tag for line in self._lines for tag in line.consumers]
        self._lines = []
        self._cancelled.clear()
        for tag in tags:
            self._channel.basic_cancel(tag)
        left = [received.handle for received in self._received]
        self._received.clear()
        self.reject(left, requeue=True)

    def _on_cancel(self, tag: str) -> None:
        for line in self._lines:
            if line.consumers.pop(tag, None) is not None and line not in self._cancelled:
                logger.warning("The broker cancelled the consumer of queue %s", line.queue.name)
                self._cancelled.append(line)

    def _revive_cancelled(self) -> None:
        while self._cancelled:
            line = self._cancelled[0]
            self._declare(line.queue)
            share = self._shares()[self._lines.index(line)]
            if self._is_global or not share:
                self._start(line, share, nowait=True)
            else:
                self._resize(line, share)
            self._cancelled.pop(0)

    # -- receiving -------------------------------------------------------------------------------

    def filenos(self) -> Iterable[int]:
        """The connection's socket, as long as there is something to fetch from it.

        Later on nobody would read what comes, be it a heartbeat or the end of the connection, and every wait for
        the socket would end at once. `heartbeat` reads it now and then.
        """
        sock = self._amqp.sock
        return () if sock is None or not self._lines else (sock.fileno(),)

    def fetch(self, limit: int) -> list[Received]:
        """Read all that has arrived; the window bounds how much that can be."""
        self._read_arrived()
        if self._cancelled:
            self._revive_cancelled()
        received = self._received
        return [received.popleft() for _ in range(min(limit, len(received)))]

    def _read_arrived(self) -> None:
        if self._reads_itself:
            self._read_socket()
            return
        drain = self._amqp.drain_events
        try:
            while True:
                drain(timeout=0)
        except TimeoutError:
            return

    def _read_socket(self) -> None:
        """Read all that is there, many frames a call; the unread part stays where py-amqp looks for it."""
        transport = self._amqp.transport
        buffer: bytes = transport._read_buffer
        transport._read_buffer = b""
        sock = transport.sock
        try:
            while True:
                try:
                    data = sock.recv(_RECEIVE, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    return
                if not data:
                    raise ConnectionResetError("the broker closed the connection")
                buffer = self._read_frames(buffer + data if buffer else data)
                if len(data) < _RECEIVE:
                    return
        finally:
            if transport.connected:
                transport._read_buffer = buffer

    def _read_frames(self, data: bytes) -> bytes:
        """Handle the whole frames in `data`; return the rest."""
        at, end = 0, len(data)
        transport = self._amqp.transport
        while end - at >= 8:
            kind, channel_id, size = _FRAME.unpack_from(data, at)
            stop = at + 7 + size
            if stop >= end:
                break
            if data[stop] != _END:
                raise ConnectionError(f"a frame ends with {data[stop]:#x}")
            frame = (kind, channel_id, data[at + 7 : stop])
            at = stop + 1
            if not self._on_own_frame(frame):
                # What py-amqp does with it may read on: the rest must be in its place.
                transport._read_buffer = data[at:]
                self._amqp.on_inbound_frame(frame)
                if not transport.connected:
                    return b""
                data, transport._read_buffer = transport._read_buffer, b""
                at, end = 0, len(data)
        return data[at:]

    def _on_frame(self, frame: tuple[int, int, bytes]) -> bool:
        """Stand before py-amqp's own handler."""
        if self._on_own_frame(frame):
            return True
        handled: bool = self._amqp_handler(frame)
        return handled

    def _on_own_frame(self, frame: tuple[int, int, bytes]) -> bool:
        """Take the frames of deliveries to our channel; False for all others."""
        kind, channel_id, payload = frame
        if channel_id != self._channel_id:
            return False
        if kind == _METHOD:
            if payload[:4] != DELIVER:
                return False
            self._partial = _Partial(read_deliver(payload))
        elif self._partial is None:
            return False
        elif kind == _HEADER:
            self._partial.header = payload
            self._partial.missing = body_size(payload)
        elif kind == _BODY:
            self._partial.chunks.append(payload)
            self._partial.missing -= len(payload)
        else:
            return False
        self._amqp.bytes_recv += 1
        partial = self._partial
        if partial.header and partial.missing <= 0:
            self._partial = None
            self._on_delivered(partial)
        return True

    def _on_delivered(self, partial: _Partial) -> None:
        delivered = partial.delivered
        tag = delivered.delivery_tag
        if not self._no_ack:
            self._open_tags[tag] = None
        body = partial.chunks[0] if len(partial.chunks) == 1 else b"".join(partial.chunks)
        info = DeliveryInfo(
            exchange=delivered.exchange,
            routing_key=delivered.routing_key,
            redelivered=delivered.redelivered,
            queue=self._queue_of.get(delivered.consumer_tag),
        )
        try:
            properties, headers = read_content_header(partial.header)
        except RemoteProtocolError as exc:
            message = Message(headers={}, properties=Properties(), body=body, delivery_info=info)
            self._received.append(Received(tag, message, exc))
            return
        message = Message(headers=headers, properties=properties, body=body, delivery_info=info)
        self._received.append(Received(tag, message))

    # -- settling --------------------------------------------------------------------------------

    def ack(self, handles: Sequence[Any]) -> None:
        """Acknowledge in one write."""
        open_tags = self._open_tags
        wanted = {tag for tag in handles if tag in open_tags}
        if not wanted:
            return
        channel_id = self._channel.channel_id
        frames = []
        covered = self._lowest_run(wanted)
        if len(covered) > 1:
            frames.append(_SETTLE.pack(1, channel_id, 13, *_ACK, covered[-1], 1, _END))
            wanted.difference_update(covered)
        frames += [_SETTLE.pack(1, channel_id, 13, *_ACK, tag, 0, _END) for tag in sorted(wanted)]
        for tag in (*covered, *wanted):
            open_tags.pop(tag, None)
        self._write(frames)

    def _lowest_run(self, wanted: set[int]) -> list[int]:
        """Return the lowest unsettled tags as long as all of them are wanted: what `multiple` may cover."""
        return list(itertools.takewhile(wanted.__contains__, self._open_tags))

    def reject(self, handles: Sequence[Any], *, requeue: bool) -> None:
        """Refuse in one write."""
        tags = [tag for tag in handles if tag in self._open_tags]
        channel_id = self._channel.channel_id if self._channel is not None else 0
        for tag in tags:
            del self._open_tags[tag]
        self._write([_SETTLE.pack(1, channel_id, 13, *_REJECT, tag, requeue, _END) for tag in tags])

    def _write(self, frames: list[bytes]) -> None:
        if frames:
            self._amqp.transport.write(b"".join(frames))
            self._amqp.bytes_sent += len(frames)

    # -- life ------------------------------------------------------------------------------------

    def heartbeat(self) -> float | None:
        """Send a heartbeat if due; raises when the broker has been silent for two intervals."""
        interval = self._amqp.heartbeat
        if not interval:
            return None
        self._read_arrived()  # unread frames are signs of life, too
        self._amqp.heartbeat_tick(rate=_HEARTBEAT_RATE)
        return float(interval) / (2 * _HEARTBEAT_RATE)

    def close(self) -> None:
        """Say goodbye; the broker requeues what is unsettled."""
        self.connection.close()

    def forget(self) -> None:
        """Close our copy of the socket; the connection itself is the parent's."""
        sock = self._amqp.sock
        if sock is not None:
            sock.close()
