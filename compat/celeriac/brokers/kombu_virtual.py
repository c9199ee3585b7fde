"""Consuming from kombu's virtual transports without trusting what lies in the queues.

kombu decodes an item and believes in its shape; one bad item ends the connection or the process. The channels here
hand out raw items and keep book themselves, so that an unusable one is a `Delivery` like any other: it can be acked,
rejected, given back. Fanout and declarations stay kombu's.

Spec: transports#2.2, transports#3, pains A
"""

from __future__ import annotations

import json
import logging
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple

from kombu.transport import memory

from celeriac.brokers.kombu_consumer import Consumer, Received
from celeriac_protocol.errors import RemoteProtocolError
from celeriac_protocol.message import DeliveryInfo, Message, Properties
from celeriac_protocol.virtual import mark_redelivered, read_envelope

__all__ = [
    "GuardedMemoryChannel",
    "GuardedMemoryTransport",
    "Item",
    "PolledConsumer",
    "TakingChannel",
    "VirtualConsumer",
    "guarded_transport",
    "received_from",
    "redelivered",
]

logger = logging.getLogger(__name__)

_memory: Any = memory

_GUARDED: Final = {
    "memory": "celeriac.brokers.kombu_virtual:GuardedMemoryTransport",
    "filesystem": "celeriac.brokers.kombu_filesystem:GuardedFilesystemTransport",
    "redis": "celeriac.brokers.kombu_redis:GuardedRedisTransport",
    "rediss": "celeriac.brokers.kombu_redis:GuardedRedisTransport",
    "sentinel": "celeriac.brokers.kombu_redis:GuardedSentinelTransport",
    "sqla": "celeriac.brokers.kombu_sqlalchemy:GuardedSqlalchemyTransport",
    "sqlalchemy": "celeriac.brokers.kombu_sqlalchemy:GuardedSqlalchemyTransport",
}
_DEFAULT_POLL_S: Final = 1.0


def guarded_transport(name: str) -> type | None:
    """Return the class to use instead of kombu's transport `name`, if there is one."""
    path = _GUARDED.get(name)
    if path is None:
        return None
    module, _, attribute = path.partition(":")
    cls: type = getattr(import_module(module), attribute)
    return cls


class Item(NamedTuple):
    """One raw item taken from a queue; `handle` tells the channel which one it was."""

    handle: Hashable
    raw: bytes


def received_from(handle: Hashable, queue: str, raw: bytes) -> Received:
    """Open one raw item, or say why it cannot be opened."""
    try:
        return Received(handle, read_envelope(raw, queue=queue).message)
    except RemoteProtocolError as exc:
        info = DeliveryInfo(routing_key=queue, queue=queue)
        message = Message(headers={}, properties=Properties(), body=raw, delivery_info=info)
        return Received(handle, message, exc)


def redelivered(raw: bytes) -> bytes:
    """Return the item as it goes back into its queue; an unusable one goes back as it was."""
    try:
        return mark_redelivered(raw).encode()
    except RemoteProtocolError:
        return raw


class VirtualConsumer(Consumer):
    """Queues, window and book-keeping common to the virtual transports.

    The channel's part is declaring; fanout queues, where the transport has them, arrive through kombu's callbacks.
    """

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self._channel: Any = connection.channel()
        self._queues: list[str] = []
        self._held: dict[Hashable, Any] = {}
        """Handle → what the subclass needs to settle it."""
        self._prefetch = 0

    def consume(self, queues: Sequence[Any], prefetch_count: int) -> None:
        """Declare; taking begins with `fetch`."""
        for queue in queues:
            if not queue.no_declare:
                queue(self._channel).declare()
        self._prefetch = prefetch_count
        self._queues = [queue.name for queue in queues]

    def add_queue(self, queue: Any) -> None:
        """Take from this queue too."""
        if queue.name not in self._queues:
            self._queues.append(queue.name)

    def remove_queue(self, name: str) -> None:
        """Take from this queue no longer."""
        if name in self._queues:
            self._queues.remove(name)

    def cancel(self) -> None:
        """Take nothing more."""
        self._queues = []

    def set_prefetch(self, prefetch_count: int) -> None:
        """Change the window."""
        self._prefetch = prefetch_count

    def _room(self, limit: int) -> int:
        """How many items may be taken now."""
        if not self._prefetch:
            return limit
        return min(limit, self._prefetch - len(self._held))

    def filenos(self) -> Iterable[int]:
        """None: polled."""
        return ()


class PolledConsumer(VirtualConsumer):
    """For channels that can be asked for items: `take`, `drop` and `give_back`."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        interval = connection.transport_options.get("polling_interval")
        self.poll_interval_s = _DEFAULT_POLL_S if interval is None else float(interval)
        self._next = 0

    def fetch(self, limit: int) -> list[Received]:
        """Take from the queues in turn."""
        room = self._room(limit)
        received: list[Received] = []
        idle: set[str] = set()
        while room > 0 and len(idle) < len(self._queues):
            queue = self._queues[0]
            self._queues.append(self._queues.pop(0))
            items = self._channel.take(queue, max(1, room // len(self._queues)))
            if not items:
                idle.add(queue)
            for item in items:
                self._next += 1
                self._held[self._next] = (queue, item)
                received.append(received_from(self._next, queue, item.raw))
            room -= len(items)
        return received

    def ack(self, handles: Sequence[Any]) -> None:
        """Delete the items."""
        for handle in handles:
            if handle in self._held:
                queue, item = self._held.pop(handle)
                self._channel.drop(queue, item)

    def reject(self, handles: Sequence[Any], *, requeue: bool) -> None:
        """Put the items back, or delete them."""
        if not requeue:
            self.ack(handles)
            return
        for handle in reversed(handles):  # the one taken first must become the next one again
            if handle in self._held:
                queue, item = self._held.pop(handle)
                self._channel.give_back(queue, item)

    def heartbeat(self) -> float | None:
        """Let the channel do what it does from time to time."""
        tend: Callable[[], float | None] | None = getattr(self._channel, "tend", None)
        return None if tend is None else tend()

    def close(self) -> None:
        """Put back what is held and close."""
        self.reject(list(self._held), requeue=True)
        self.connection.release()

    def lost(self) -> None:
        """Put back what can be put back: such a broker is a file or this process."""
        self.close()


class TakingChannel:
    """What `PolledConsumer` needs of a channel."""

    @abstractmethod
    def take(self, queue: str, limit: int) -> list[Item]:
        """Take up to `limit` items out of sight of other consumers."""

    @abstractmethod
    def drop(self, queue: str, item: Item) -> None:
        """Delete a taken item."""

    @abstractmethod
    def give_back(self, queue: str, item: Item) -> None:
        """Make a taken item the next one to be taken."""


class GuardedMemoryChannel(_memory.Channel, TakingChannel):  # type: ignore[misc]
    """kombu's in-process queues. Items are the publisher's dicts; they are written to JSON on taking."""

    def take(self, queue: str, limit: int) -> list[Item]:
        """Take from the in-process queue."""
        items: list[Item] = []
        source = self._queue_for(queue)
        while len(items) < limit and source.qsize():
            payload = source.get(block=False)
            items.append(Item(None, _to_raw(payload)))
        return items

    def drop(self, queue: str, item: Item) -> None:
        """Nothing to delete."""

    def give_back(self, queue: str, item: Item) -> None:
        """Put the item at the front."""
        source = self._queue_for(queue)
        raw = redelivered(item.raw)
        try:
            payload = json.loads(raw)
        except ValueError:
            payload = raw
        with source.mutex:
            front: deque[Any] = source.queue
            front.appendleft(payload)
            source.unfinished_tasks += 1
            source.not_empty.notify()

    def close(self) -> None:
        """Close without touching the queues, which belong to the process."""
        queues: Any = self.queues  # type: ignore[has-type]
        self.queues = {}
        super().close()
        self.queues = queues


def _to_raw(payload: Any) -> bytes:
    if isinstance(payload, bytes):
        return payload
    if isinstance(payload, str):
        return payload.encode("utf-8", "surrogatepass")
    return json.dumps(payload, default=str).encode()


class GuardedMemoryTransport(_memory.Transport):  # type: ignore[misc]
    """kombu's memory transport with guarded consuming."""

    Channel = GuardedMemoryChannel

    def make_consumer(self, connection: Any, memory: dict[str, Any]) -> Consumer:
        """Return the consumer for an open connection."""
        return PolledConsumer(connection)
