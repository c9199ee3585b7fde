"""Queues in this process, for tests: no time, no sockets, and failures on request.

Brokers and publishers of the same URL share their queues. `MemoryServer.of(url)` is the server's side: it counts,
shows queues, cuts connections and refuses messages.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from kombu.entity import Exchange
from kombu.exceptions import OperationalError

from celeriac.brokers.base import (
    Broker,
    BrokerAccessError,
    BrokerLostError,
    Delivery,
    Publisher,
    Tag,
)
from celeriac_protocol.message import DeliveryInfo, Message

__all__ = ["MemoryBroker", "MemoryPublisher", "MemoryServer"]


@dataclass
class MemoryServer:
    """All queues of one URL, and the switches of its failures."""

    url: str
    queues: dict[str, deque[Message]] = field(default_factory=lambda: defaultdict(deque))
    """Name → messages, next one first."""
    bindings: dict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    """Exchange → (routing key, queue)."""
    exchange_types: dict[str, str] = field(default_factory=dict)
    is_down: bool = False
    """True: nobody can connect, and every open connection is lost."""
    refuses_access: bool = False
    """True: connecting is refused for good."""
    refuses_messages: int = 0
    """So many further publishes fail."""
    generation: int = 0
    """Connections of an earlier generation are lost."""
    discarded: list[Message] = field(default_factory=list)
    """What was rejected without requeue."""
    acknowledged: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    _servers: ClassVar[dict[str, MemoryServer]] = {}
    _servers_lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def of(cls, url: str) -> MemoryServer:
        """Return the server of this URL, the same one for all who ask."""
        with cls._servers_lock:
            return cls._servers.setdefault(url, cls(url))

    @classmethod
    def forget(cls, url: str) -> None:
        """Drop the server of this URL with all it holds; who asks again gets an empty one."""
        with cls._servers_lock:
            cls._servers.pop(url, None)

    def cut(self) -> None:
        """Lose all open connections; new ones can be made."""
        with self.lock:
            self.generation += 1

    def put(self, message: Message, exchange: str, routing_key: str) -> None:
        """Route one message."""
        with self.lock:
            for queue in self._route(exchange, routing_key):
                info = DeliveryInfo(exchange=exchange, routing_key=routing_key, queue=queue)
                self.queues[queue].append(replace(message, delivery_info=info))

    def _route(self, exchange: str, routing_key: str) -> list[str]:
        if not exchange:
            return [routing_key]
        is_fanout = self.exchange_types.get(exchange) == "fanout"
        bound = self.bindings[exchange]
        return sorted({queue for key, queue in bound if is_fanout or key == routing_key})

    def declare(self, entity: Any) -> None:
        """Note an exchange, or a queue with its binding."""
        with self.lock:
            if isinstance(entity, Exchange):
                self.exchange_types[entity.name] = entity.type
                return
            self.queues[entity.name]
            exchange = entity.exchange
            if exchange is not None and exchange.name:
                self.exchange_types[exchange.name] = exchange.type
                self.bindings[exchange.name].add((entity.routing_key, entity.name))


class MemoryBroker(Broker):
    """The consuming side. `poll_interval_s` is 0.01: queues of a process have no descriptors."""

    def __init__(self, url: str, *, poll_interval_s: float = 0.01) -> None:
        self.url = self.display_url = url
        self.poll_interval_s = poll_interval_s
        self.server = MemoryServer.of(url)
        self.renewed: list[Tag] = []
        self._generation: int | None = None
        self._epoch = 0
        self._queues: list[str] = []
        self._prefetch = 0
        self._held: dict[int, Message] = {}
        self._next = 0

    def connect(self) -> None:
        """Connect, unless the server is told to refuse."""
        self.disconnect()
        if self.server.refuses_access:
            raise BrokerAccessError(f"{self.url} refuses access")
        if self.server.is_down:
            raise BrokerLostError(f"{self.url} is down")
        self._generation = self.server.generation
        self._epoch += 1

    def disconnect(self) -> None:
        """Disconnect; what is held goes back."""
        self._generation = None
        self._queues = []
        self._requeue(list(self._held))

    def after_fork_in_child(self) -> None:
        """Nothing is inherited that could disturb the parent."""
        self._generation = None

    def _check(self) -> None:
        if self._generation is None:
            raise BrokerLostError("not connected")
        if self.server.is_down or self._generation != self.server.generation:
            raise BrokerLostError(f"the connection to {self.url} is gone")

    def _requeue(self, numbers: Iterable[int]) -> None:
        with self.server.lock:
            for number in sorted(numbers, reverse=True):
                message = self._held.pop(number)
                info = replace(message.delivery_info, redelivered=True)
                queue = self.server.queues[info.queue or info.routing_key]
                queue.appendleft(replace(message, delivery_info=info))

    def add_queue(self, queue: Any) -> None:
        """Consume one more."""
        self._check()
        if queue.name not in self._queues:
            self._queues.append(queue.name)

    def remove_queue(self, name: str) -> None:
        """Consume one less."""
        self._check()
        if name in self._queues:
            self._queues.remove(name)

    def consume(self, queues: Sequence[Any], prefetch_count: int) -> None:
        """Declare and consume."""
        self._check()
        for queue in queues:
            self.server.declare(queue)
        self._queues = [queue.name for queue in queues]
        self._prefetch = prefetch_count

    def cancel(self) -> None:
        """Stop consuming."""
        self._check()
        self._queues = []

    def set_prefetch(self, prefetch_count: int) -> None:
        """Change the window."""
        self._check()
        self._prefetch = prefetch_count

    def filenos(self) -> Iterable[int]:
        """None."""
        return ()

    def fetch(self, limit: int) -> list[Delivery]:
        """Take from the queues in their order."""
        self._check()
        if self._prefetch:
            limit = min(limit, self._prefetch - len(self._held))
        deliveries: list[Delivery] = []
        with self.server.lock:
            for name in self._queues:
                queue = self.server.queues[name]
                while queue and len(deliveries) < limit:
                    self._next += 1
                    message = self._held[self._next] = queue.popleft()
                    deliveries.append(Delivery((self._epoch, self._next), message))
        return deliveries

    def _fresh(self, tags: Sequence[Any]) -> list[int]:
        return [n for epoch, n in tags if epoch == self._epoch and n in self._held]

    def ack(self, tags: Sequence[Tag]) -> None:
        """Forget."""
        numbers = self._fresh(tags)
        if numbers:
            self._check()
        for number in numbers:
            del self._held[number]
            self.server.acknowledged += 1

    def reject(self, tags: Sequence[Tag], *, requeue: bool) -> None:
        """Put back, or discard."""
        numbers = self._fresh(tags)
        if numbers:
            self._check()
        if requeue:
            self._requeue(numbers)
        else:
            self.server.discarded += [self._held.pop(number) for number in numbers]

    def renew(self, tags: Sequence[Tag]) -> None:
        """Note which were renewed."""
        self._check()
        self.renewed += tags

    def heartbeat(self) -> float | None:
        """Nothing to keep alive."""
        self._check()
        return None


class MemoryPublisher(Publisher):
    """The publishing side.

    Args:
        url: Whose queues.
        on_publish: Called with every message, exchange and routing key before it is routed.
    """

    def __init__(
        self, url: str, *, on_publish: Callable[[Message, str, str], None] | None = None
    ) -> None:
        self.url = url
        self.server = MemoryServer.of(url)
        self.on_publish = on_publish

    def publish(
        self,
        message: Message,
        *,
        exchange: Any = "",
        routing_key: str = "",
        declare: Sequence[Any] = (),
        retry: bool = True,
        retry_policy: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Route one message, or fail as the server is told to."""
        server = self.server
        attempts = 1 + (int((retry_policy or {}).get("max_retries") or 3) if retry else 0)
        for _ in range(attempts):
            with server.lock:
                if server.is_down:
                    continue
                if server.refuses_messages:
                    server.refuses_messages -= 1
                    continue
                for entity in declare:
                    server.declare(entity)
                name = exchange.name if isinstance(exchange, Exchange) else exchange
                if self.on_publish is not None:
                    self.on_publish(message, name or "", routing_key)
                server.put(message, name or "", routing_key)
                return
        raise OperationalError(f"{self.url} takes no message")

    def close(self) -> None:
        """Nothing to close."""

    def after_fork(self) -> None:
        """Nothing to forget."""
