"""Consuming over AMQP 0-9-1 with py-amqp.

One channel carries all task consumers, so that one window spans all queues. Delivery tags count up on it; an
acknowledgement of several is sent as one `multiple` frame only as far as every lower tag is settled, and what remains
goes out as single frames in one write.

Spec: transports#1.6, transports#1.8, transports#6
"""

from __future__ import annotations

import itertools
import logging
import struct
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

from amqp import spec

from celeriac.brokers.kombu_consumer import Consumer, Received, read_properties
from celeriac_protocol.message import DeliveryInfo, Message

__all__ = ["AmqpConsumer"]

logger = logging.getLogger(__name__)

_SETTLE: Final = struct.Struct(">BHIHHQBB")
"""Frame type, channel, size 13, class, method, delivery tag, bits, end."""
_ACK: Final = (60, 80)
_REJECT: Final = (60, 90)
_END: Final = 0xCE
_MAX_PREFETCH: Final = 65535
_HEARTBEAT_RATE: Final = 2

_consumer_numbers = itertools.count(1)


class AmqpConsumer(Consumer):
    """One channel of an open py-amqp connection."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self._amqp: Any = connection.connection
        self._channel: Any = None
        self._queues: dict[str, Any] = {}
        """Consumer tag → bound queue."""
        self._cancelled: list[Any] = []
        """Queues whose consumer the broker has cancelled."""
        self._received: deque[Received] = deque()
        self._open_tags: dict[int, None] = {}
        """Unsettled delivery tags, lowest first."""
        self._prefetch = 0
        self._is_global = False

    # -- consuming -------------------------------------------------------------------------------

    def consume(self, queues: Sequence[Any], prefetch_count: int) -> None:
        """Declare and consume on one new channel."""
        channel = self._channel = self.connection.channel()
        channel.auto_decode = False  # bodies stay bytes
        self._is_global = self._can_share_window(queues)
        self._prefetch = prefetch_count
        if self._is_global:
            channel.basic_qos(0, self._clamp(prefetch_count), True)
        bound = [queue(channel) for queue in queues]
        for queue in bound:
            self._declare(queue)
        for queue, share in zip(bound, self._shares(len(bound)), strict=True):
            self._start(queue, share)

    def _can_share_window(self, queues: Sequence[Any]) -> bool:
        """Whether the broker has one window per channel. RabbitMQ 4 has not, quorum queues never had."""
        if self.connection.qos_semantics_matches_spec:
            return False
        return not any(
            (queue.queue_arguments or {}).get("x-queue-type") in ("quorum", "stream")
            for queue in queues
        )

    def _declare(self, queue: Any) -> None:
        if not queue.no_declare:
            queue.declare()

    def _start(self, queue: Any, share: int) -> None:
        if not self._is_global:
            self._channel.basic_qos(0, share, False)
        tag = f"celeriac{next(_consumer_numbers)}"
        name = queue.name
        self._queues[tag] = queue
        queue.consume(
            consumer_tag=tag,
            callback=lambda message: self._on_message(name, message),
            on_cancel=self._on_cancel,
            no_ack=False,
        )

    def _clamp(self, prefetch_count: int) -> int:
        return min(max(prefetch_count, 0), _MAX_PREFETCH)

    def _shares(self, count: int) -> list[int]:
        """Cut the window into one part per consumer; together they are no more than the whole."""
        window = self._clamp(self._prefetch)
        if not window or not count or self._is_global:
            return [window] * count
        base, rest = divmod(window, count)
        return [max(1, base + (index < rest)) for index in range(count)]

    def set_prefetch(self, prefetch_count: int) -> None:
        """Change the window; with a window per consumer, the consumers are replaced one by one."""
        if prefetch_count == self._prefetch:
            return
        before = self._shares(len(self._queues))
        self._prefetch = prefetch_count
        if self._channel is None:
            return
        if self._is_global:
            # Not waited for: the answer is read with the next deliveries.
            args = (0, self._clamp(prefetch_count), True)
            self._channel.send_method(spec.Basic.Qos, "lBb", args)
            return
        running = list(self._queues.items())
        after = self._shares(len(running))
        for (tag, queue), old, new in zip(running, before, after, strict=True):
            if old != new:
                self._start(queue, new)
                del self._queues[tag]
                self._channel.basic_cancel(tag)

    def cancel(self) -> None:
        """Cancel the consumers and give back what came meanwhile."""
        running, self._queues = self._queues, {}
        self._cancelled.clear()
        for tag in running:
            self._channel.basic_cancel(tag)
        left = [received.handle for received in self._received]
        self._received.clear()
        self.reject(left, requeue=True)

    def _on_cancel(self, tag: str) -> None:
        queue = self._queues.pop(tag, None)
        if queue is not None:
            logger.warning("The broker cancelled the consumer of queue %s", queue.name)
            self._cancelled.append(queue)

    def _revive_cancelled(self) -> None:
        while self._cancelled:
            queue = self._cancelled[0]
            self._declare(queue)
            self._start(queue, self._shares(len(self._queues) + 1)[-1])
            self._cancelled.pop(0)

    # -- receiving -------------------------------------------------------------------------------

    def filenos(self) -> Iterable[int]:
        """The connection's socket."""
        sock = self._amqp.sock
        return () if sock is None else (sock.fileno(),)

    def fetch(self, limit: int) -> list[Received]:
        """Read all that has arrived; the window bounds how much that can be."""
        self._read_arrived()
        if self._cancelled:
            self._revive_cancelled()
        received = self._received
        return [received.popleft() for _ in range(min(limit, len(received)))]

    def _read_arrived(self) -> None:
        drain = self._amqp.drain_events
        try:
            while True:
                drain(timeout=0)
        except TimeoutError:
            return

    def _on_message(self, queue: str, amqp_message: Any) -> None:
        properties = amqp_message.properties
        info = amqp_message.delivery_info
        tag: int = info["delivery_tag"]
        self._open_tags[tag] = None
        message = Message(
            headers=properties.get("application_headers") or {},
            properties=read_properties(properties, extra=False),
            body=amqp_message.body or b"",
            delivery_info=DeliveryInfo(
                exchange=info["exchange"],
                routing_key=info["routing_key"],
                redelivered=bool(info["redelivered"]),
                queue=queue,
            ),
        )
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
