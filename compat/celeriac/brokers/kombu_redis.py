"""Consuming from kombu's Redis layout: taking and recording in one atomic step, many at a time.

Every delivery is kept in `unacked` and `unacked_index` as kombu keeps it, so real workers' sweeps restore ours and
ours restore theirs. It stands there under a tag of our own, ``<owner>.<call>.<n>``: foreign producers reuse tags, and
a restored message keeps its first one, so that the ack of one copy would untrack another. The owner is the name of
our waiting connection; a worker whose connection is gone from the server is dead, and whoever notices gives its
deliveries back.

While the queues are empty, a connection of its own waits for the next item: see `kombu_redis_waiting`.

Spec: transports#2, transports#6, pains A, pains B
"""

from __future__ import annotations

import base64
import itertools
import json
import logging
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Final

import redis
from kombu.transport import redis as kombu_redis

from celeriac.brokers.kombu_consumer import Consumer, Received
from celeriac.brokers.kombu_redis_scripts import GIVE_BACK, TAKE
from celeriac.brokers.kombu_redis_waiting import Popped, start_waiting
from celeriac.brokers.kombu_virtual import VirtualConsumer, received_from, redelivered

__all__ = [
    "GuardedRedisChannel",
    "GuardedRedisTransport",
    "GuardedSentinelChannel",
    "GuardedSentinelTransport",
    "RedisConsumer",
]

logger = logging.getLogger(__name__)

_base: Any = kombu_redis
_redis: Any = redis

_OWNER_PREFIX: Final = "celeriac-"
_RAW_KEY: Final = "celeriac-raw"
"""An unusable item stands in `unacked` as ``[{"celeriac-raw": base64}, "", queue]``: legal JSON for every sweeper."""
_SWEEP_INTERVAL_S: Final = 10.0
_SWEEP_AT_ONCE: Final = 1000


class RedisConsumer(VirtualConsumer):
    """One command connection, one waiting connection, and one more if fanout queues are consumed.

    Args:
        connection: Open kombu connection.
        memory: Survives the connection: `owner`, `calls`; after a loss `orphans` (tag → key, raw) and `settled`
            (tags acked or rejected for good when or after it went).
    """

    def __init__(self, connection: Any, memory: dict[str, Any]) -> None:
        super().__init__(connection)
        channel = self._channel
        self._memory = memory
        self._owner: str = memory.setdefault("owner", f"{_OWNER_PREFIX}{uuid.uuid4().hex}")
        self._client: Any = _redis.Redis(
            connection_pool=channel.pool, single_connection_client=True
        )
        self._take = self._client.register_script(TAKE)
        self._give_back = self._client.register_script(GIVE_BACK)
        prefix = channel.global_keyprefix
        self._index, self._unacked = (
            prefix + channel.unacked_index_key,
            prefix + channel.unacked_key,
        )
        self._records = bool(channel.ack_emulation)
        self._wait = start_waiting(
            channel.pool, self._client, self._owner, pop_timeout_s=channel.brpop_timeout
        )
        self._pubsub: Any = None
        self._fanout: dict[bytes, str] = {}
        """Pattern → queue."""
        self._fair = True
        self._unconfirmed: set[str] = set()
        """Tags of an ack under way; one that fails is made by the next connection."""
        # Not from 1 on each connection: what the one before left behind would be overwritten.
        self._calls: itertools.count[int] = memory.setdefault("calls", itertools.count(1))
        self._swept_at = 0.0
        self._missing: set[str] = set()
        """Owners that had no connection at the last sweep."""
        self._settle_orphans()

    # -- consuming -------------------------------------------------------------------------------

    def consume(self, queues: Sequence[Any], prefetch_count: int) -> None:
        """Declare, and subscribe to the fanout queues among `queues`."""
        self._stop_waiting()
        super().consume(queues, prefetch_count)
        channel = self._channel
        fanout = [name for name in self._queues if name in channel._fanout_queues]
        self._queues = [name for name in self._queues if name not in fanout]
        channel._queue_cycle.update(self._queues)
        self._fair = channel.queue_order_strategy == "round_robin"
        if fanout:
            prefix = channel.global_keyprefix
            for name in fanout:
                for topic in channel._get_subscribe_topics(name):
                    self._fanout[(prefix + topic).encode()] = name
            self._pubsub = self._client.pubsub()
            self._pubsub.psubscribe(*self._fanout)

    def add_queue(self, queue: Any) -> None:
        """Take from this queue too; the wait that is under way ends within a second."""
        super().add_queue(queue)
        self._channel._queue_cycle.update(self._queues)

    def remove_queue(self, name: str) -> None:
        """Take from this queue no longer; the wait that is under way may bring one last item of it."""
        super().remove_queue(name)
        self._channel._queue_cycle.update(self._queues)

    def cancel(self) -> None:
        """Stop waiting; what the wait still brings goes back."""
        super().cancel()
        self._stop_waiting()
        if self._pubsub is not None:
            self._pubsub.close()
            self._pubsub = None

    def _stop_waiting(self) -> None:
        popped = self._wait.stop()
        if popped is not None:
            self._client.rpush(*popped)

    def filenos(self) -> Iterable[int]:
        """The waiting connection's socket, and that of the subscriptions."""
        found = []
        if self._wait.is_on:
            found.append(self._wait.fileno())
        if self._pubsub is not None and self._pubsub.connection is not None:
            found.append(self._pubsub.connection._sock.fileno())
        return found

    def fetch(self, limit: int) -> list[Received]:
        """Take what is there; when nothing is, wait for a change."""
        received = self._fetch_fanout(limit) if self._pubsub is not None else []
        popped: Popped | None = None
        if self._wait.is_on:
            if not self._wait.is_ready():
                return received
            popped = self._wait.finish()
        if not self._queues and popped is None:
            return received
        room = max(self._room(limit - len(received)), 1 if popped else 0)
        if room <= 0:
            return received
        self._wait.prepare()
        keys, queues = self._keys()
        taken = self._take_many(room, popped, keys, queues)
        received += taken
        if self._queues and len(taken) < room:
            self._wait.begin(keys)
        return received

    def _keys(self) -> tuple[list[str], list[str]]:
        """Return the list keys in the order of consumption, and the queue of each."""
        channel = self._channel
        queues = channel._queue_cycle.consume(len(self._queues))
        prefix = channel.global_keyprefix
        pairs = [
            (prefix + channel._q_for_pri(queue, step), queue)
            for step in channel.priority_steps
            for queue in queues
        ]
        return [key for key, _ in pairs], [queue for _, queue in pairs]

    def _take_many(
        self, room: int, popped: Popped | None, keys: list[str], queues: list[str]
    ) -> list[Received]:
        reply = self._take(
            keys=[*keys, self._index, self._unacked],
            args=[
                room,
                repr(time.time()),
                f"{self._owner}.{next(self._calls)}.",
                len(self._queues) if self._fair else 0,
                1 if self._records else 0,
                keys.index(popped.key) + 1 if popped is not None else 0,
                popped.raw if popped is not None else b"",
                *(json.dumps(queue) for queue in queues),
            ],
        )
        received = []
        for tag, at, raw in zip(reply[::3], reply[1::3], reply[2::3], strict=True):
            received.append(self._receive(tag.decode(), keys[at - 1], queues[at - 1], raw))
            self._channel._queue_cycle.rotate(queues[at - 1])
        return received

    def _receive(self, tag: str, key: str, queue: str, raw: bytes) -> Received:
        self._held[tag] = (key, raw)
        received = received_from(tag, queue, raw)
        if received.broken is not None:
            raw = _unwrap(raw)
            self._held[tag] = (key, raw)
            received = received_from(tag, queue, raw)
            if received.broken is not None and self._records:
                # Before a sweeper reads it: it may be no JSON at all.
                self._client.hset(self._unacked, tag, json.dumps([_wrap(raw), "", queue]))
        return received

    def _fetch_fanout(self, limit: int) -> list[Received]:
        received: list[Received] = []
        while len(received) < limit and self._pubsub.connection.can_read(timeout=0):
            reply = self._pubsub.handle_message(self._pubsub.parse_response(block=True))
            if reply is not None and reply["type"] == "pmessage":
                # Nobody tracks it: it has no tag that could be settled.
                queue = self._fanout[reply["pattern"]]
                received.append(received_from(f"fanout.{next(self._calls)}", queue, reply["data"]))
        return received

    # -- settling --------------------------------------------------------------------------------

    def ack(self, handles: Sequence[Any]) -> None:
        """Forget the deliveries in one round trip."""
        tags = [tag for tag in handles if tag in self._held]
        self._unconfirmed.update(tags)
        if tags and self._records:
            # Not in MULTI: a full server refuses everything there.
            with self._client.pipeline(transaction=False) as pipe:
                pipe.zrem(self._index, *tags).hdel(self._unacked, *tags).execute()
        for tag in tags:
            del self._held[tag]
        self._unconfirmed.clear()

    def reject(self, handles: Sequence[Any], *, requeue: bool) -> None:
        """Discard, or put back: to the far end as kombu does, or, once cancelled, to the end they came from."""
        if not requeue:
            self.ack(handles)
            return
        held = {tag: self._held[tag] for tag in handles if tag in self._held}
        self._put_back(held, first=not self._queues)
        for tag in held:
            del self._held[tag]

    def _put_back(self, held: dict[str, tuple[str, bytes]], *, first: bool) -> None:
        if not held:
            return
        # The one taken first must become the next one again.
        tags = list(reversed(held)) if first else list(held)
        with self._client.pipeline(transaction=False) as pipe:
            for tag in tags:
                key, raw = held[tag]
                self._give_back(
                    keys=[self._index, self._unacked, key],
                    args=[tag, redelivered(raw), int(first), int(self._records)],
                    client=pipe,
                )
            pipe.execute()

    def renew(self, handles: Sequence[Any]) -> None:
        """Move the deliveries to the young end of the index, where they are still in it."""
        now = time.time()
        ages = {tag: now for tag in handles if tag in self._held}
        if ages and self._records:
            self._client.zadd(self._index, ages, xx=True)

    # -- from time to time -----------------------------------------------------------------------

    def heartbeat(self) -> float | None:
        """Notice a dead connection; give back what expired or belonged to the dead."""
        now = time.monotonic()
        self._wait.check()
        if self._pubsub is not None:
            self._pubsub.check_health()
        interval_s = min(_SWEEP_INTERVAL_S, max(0.5, self._channel.visibility_timeout / 4))
        if self._records and now - self._swept_at >= interval_s:
            self._swept_at = now
            self.sweep()
        return float(min(interval_s, 5.0))

    def sweep(self) -> int:
        """Give back expired deliveries and those of dead workers; return how many."""
        self.renew(list(self._held))
        ceiling = time.time() - self._channel.visibility_timeout
        expired = self._client.zrange(
            self._index, 0, ceiling, byscore=True, offset=0, num=_SWEEP_AT_ONCE
        )
        tags = {tag.decode() for tag in expired} | self._tags_of_the_dead()
        restored = sum(self._restore(tag) for tag in sorted(tags - self._held.keys()))
        if restored:
            logger.info("Restored %d message(s) that nobody works on", restored)
        return restored

    def _tags_of_the_dead(self) -> set[str]:
        """Return deliveries whose owner had no connection at this sweep and at the one before."""
        by_owner: dict[str, set[str]] = {}
        for member in self._client.zrange(self._index, 0, _SWEEP_AT_ONCE):
            tag = member.decode("utf-8", "replace")
            owner, dot, _ = tag.partition(".")
            if dot and owner.startswith(_OWNER_PREFIX) and owner != self._owner:
                by_owner.setdefault(owner, set()).add(tag)
        if not by_owner:
            self._missing = set()
            return set()
        try:
            living = {client["name"] for client in self._client.client_list()}
        except _redis.ResponseError as exc:
            logger.debug("the server does not list its clients: %s", exc)
            return set()
        missing = by_owner.keys() - living
        dead = missing & self._missing
        self._missing = missing - dead
        return {tag for owner in dead for tag in by_owner[owner]}

    def _restore(self, tag: str) -> int:
        entry = self._client.hget(self._unacked, tag)
        if entry is None:
            self._client.zrem(self._index, tag)
            return 0
        try:
            payload, exchange, routing_key = json.loads(entry)
            raw = _raw_of(payload)
            queues = self._channel._lookup(exchange, routing_key)
        except (ValueError, TypeError, RecursionError) as exc:
            logger.error("Cannot restore the delivery %s, leaving it: %s", tag, exc)
            self._client.zadd(self._index, {tag: time.time()}, xx=True)
            return 0
        channel = self._channel
        step = channel._get_message_priority(payload if isinstance(payload, dict) else {})
        keys = [channel.global_keyprefix + channel._q_for_pri(queue, step) for queue in queues]
        back = self._give_back(
            keys=[self._index, self._unacked, *keys], args=[tag, redelivered(raw), 1, 1]
        )
        return int(back)

    def _settle_orphans(self) -> None:
        """After a loss: finish what was settled meanwhile, give the rest back."""
        orphans: dict[str, tuple[str, bytes]] = self._memory.get("orphans", {})
        settled: set[str] = self._memory.get("settled", set())
        self._held = {tag: orphans[tag] for tag in settled if tag in orphans}
        self.ack(list(self._held))
        self._put_back({tag: o for tag, o in orphans.items() if tag not in settled}, first=True)
        # Only now: had the connection been lost again, the next one would have to do it all.
        self._memory.pop("orphans", None)
        self._memory.pop("settled", None)

    # -- life ------------------------------------------------------------------------------------

    def lost(self) -> None:
        """Remember what we hold; the next connection gives it back."""
        self._memory["orphans"] = dict(self._held)
        self._memory["settled"] = set(self._unconfirmed)
        self._held.clear()
        self.forget()
        self._channel._disconnect_pools()
        self.connection._connection = None  # or releasing it would talk to the server

    def close(self) -> None:
        """Give back everything and close."""
        self.cancel()
        self.reject(list(self._held), requeue=True)
        self._wait.close()
        self._client.close()
        self.connection.release()

    def forget(self) -> None:
        """Close our copies of the sockets."""
        pubsub = getattr(self._pubsub, "connection", None)
        for holder in (self._wait.connection, self._client.connection, pubsub):
            sock = getattr(holder, "_sock", None)
            if sock is not None:
                sock.close()


def _wrap(raw: bytes) -> dict[str, str]:
    return {_RAW_KEY: base64.b64encode(raw).decode("ascii")}


def _unwrap(raw: bytes) -> bytes:
    """Return the item inside a wrapped one that a foreign sweep has put back; others unchanged."""
    if _RAW_KEY.encode() not in raw:
        return raw
    try:
        return _raw_of(json.loads(raw))
    except (ValueError, TypeError, RecursionError):
        return raw


def _raw_of(payload: Any) -> bytes:
    """Return the item that an entry of `unacked` stands for."""
    if isinstance(payload, dict) and set(payload) == {_RAW_KEY}:
        return base64.b64decode(payload[_RAW_KEY], validate=True)
    return json.dumps(payload).encode()


class _OneClient:
    """Makes a channel keep its command client: kombu makes a new one for every command."""

    _command_client: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        make: Any = super()
        if asynchronous:
            # It waits or subscribes, and would keep others from its connection.
            return make._create_client(asynchronous=True)
        if self._command_client is None:
            channel: Any = self
            self._command_client = channel.Client(
                connection_pool=channel.pool,
                credential_provider=channel.pool.connection_kwargs.get("credential_provider"),
                single_connection_client=True,
            )
        return self._command_client

    def _disconnect_pools(self) -> None:
        self._command_client = None
        base: Any = super()
        base._disconnect_pools()


class GuardedRedisChannel(_OneClient, _base.Channel):  # type: ignore[misc]
    """kombu's Redis channel."""


class GuardedSentinelChannel(_OneClient, _base.SentinelChannel):  # type: ignore[misc]
    """kombu's Sentinel channel."""


class GuardedRedisTransport(_base.Transport):  # type: ignore[misc]
    """kombu's Redis transport with guarded consuming."""

    Channel = GuardedRedisChannel

    def make_consumer(self, connection: Any, memory: dict[str, Any]) -> Consumer:
        """Return the consumer for an open connection."""
        return RedisConsumer(connection, memory)


class GuardedSentinelTransport(_base.SentinelTransport):  # type: ignore[misc]
    """kombu's Redis Sentinel transport with guarded consuming."""

    Channel = GuardedSentinelChannel

    def make_consumer(self, connection: Any, memory: dict[str, Any]) -> Consumer:
        """Return the consumer for an open connection."""
        return RedisConsumer(connection, memory)
