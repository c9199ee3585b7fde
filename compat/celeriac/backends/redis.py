"""Results in redis: documents under `celery-task-meta-<id>`, published on the channel of the same name.

Storing takes one round trip: a script looks at the present document, and unless that may be a SUCCESS writes and
publishes the new one. Only when a document might be final does the client read it and decide. Servers or users
without scripting get the two round trips Celery makes.

Waiting subscribes first and reads afterwards, so nothing published in between can be missed and nothing has to be
subscribed while tasks are being sent: a producer that never asks for its results costs no subscription.

Spec: results-and-workflows#2.2
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any, ClassVar, Literal, TypeVar

from celeriac.backends.base import BackendOptions, ChordPart, ChordState
from celeriac.backends.codec import Codec
from celeriac.backends.keyvalue import KeyValueBackend
from celeriac.backends.polling import Deadline, timed_out
from celeriac.backends.redis_chords import RedisChords
from celeriac.backends.redis_url import RedisTarget, read_redis_url
from celeriac.backends.retries import ReconnectPolicy, RetryPolicy, call_with_retries
from celeriac.exceptions import BackendGetMetaError, BackendStoreError, ImproperlyConfigured
from celeriac_protocol.result import READY_STATES, ResultMeta

__all__ = ["RedisBackend"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

MAX_VALUE_BYTES = 512 * 1024 * 1024
"""The largest string a redis server takes."""
_MANY = 1000
"""Keys in one MGET or SUBSCRIBE."""
_LOOK_AGAIN_S = 15.0
"""A subscription that has been silent for so long is not believed: its connection may be half open."""
_LOST_FOR_GOOD = (
    "Retry limit exceeded while trying to reconnect to the Celery result store backend. "
    "The Celery application must be restarted."
)
_SHOWS_STATUS = frozenset({"json", "pickle", "yaml", "msgpack"})
"""Serializers whose output holds the text SUCCESS when the document's status is SUCCESS."""

_STORE = """
-- KEYS  1 key of the document and name of the channel    ARGV  1 document   2 ttl in s, 0 = for ever
-- Returns false when the document was written, else the present one, which may be a SUCCESS.
local present = redis.call('GET', KEYS[1])
if present and (string.byte(present, 1) == 0 or string.find(present, 'SUCCESS', 1, true)) then
  return present
end
if ARGV[2] == '0' then redis.call('SET', KEYS[1], ARGV[1])
else redis.call('SETEX', KEYS[1], ARGV[2], ARGV[1]) end
redis.call('PUBLISH', KEYS[1], ARGV[1])
return false
"""


class RedisBackend(KeyValueBackend):
    """The redis store.

    One instance serves one thread: it keeps one connection for commands and, once something was waited for, one for
    subscriptions.
    """

    chords: ClassVar[Literal["native", "unlock", "refused"]] = "native"
    native_join = True
    expires_by_itself = True

    def __init__(self, url: str, options: BackendOptions) -> None:
        super().__init__(url, options)
        self._redis = _import_redis()
        self._target = read_redis_url(url, options)
        self._reconnect = ReconnectPolicy.from_options(options)
        self._always_retry = RetryPolicy.from_options(options)
        self._scripting = options.serializer in _SHOWS_STATUS
        self._lost: tuple[type[Exception], ...] = (
            self._redis.exceptions.ConnectionError,
            self._redis.exceptions.TimeoutError,
            self._redis.exceptions.ReadOnlyError,
            OSError,
        )
        self._pid = os.getpid()
        self._client: Any = None
        self._store_script: Any = None
        self._idle: list[Any] = []
        """Subscription connections nobody is using; more than one only after nested waits."""
        chord_ttl_s = options.chord_expires_s or options.expires_s
        self._chords = RedisChords(
            client=lambda: self.client,
            ensured=self._ensured,
            keys=self.keys,
            codec=self.codec,
            ttl_s=_whole_seconds(chord_ttl_s),
            ordered=bool(options.transport("result_chord_ordered", True)),
            join_timeout_s=options.chord_join_timeout_s,
            read_group=self.read_group,
        )

    @property
    def client(self) -> Any:
        """The redis-py client, connected when first used in this process."""
        if self._pid != os.getpid():
            self.after_fork()
        if self._client is None:
            self._client = _connect(self._redis, self._target)
        return self._client

    # Key/value operations

    def _read(self, key: str) -> bytes | None:
        found: bytes | None = self._ensured(lambda: self.client.get(key))
        return found

    def _read_many(self, keys: Sequence[str]) -> list[bytes | None]:
        return self._ensured(lambda: self._mget(keys))

    def _mget(self, keys: Sequence[str]) -> list[bytes | None]:
        found: list[bytes | None] = []
        for start in range(0, len(keys), _MANY):
            found.extend(self.client.mget(keys[start : start + _MANY]))
        return found

    def _write(self, key: str, data: bytes, ttl_s: float | None) -> None:
        if len(data) > MAX_VALUE_BYTES:
            raise BackendStoreError("value too large for Redis backend")
        ttl = _whole_seconds(ttl_s)

        def write() -> None:
            with self.client.pipeline(transaction=True) as pipe:
                if ttl:
                    pipe.execute_command("SETEX", key, ttl, data)
                else:
                    pipe.set(key, data)
                pipe.publish(key, data)
                pipe.execute()

        self._ensured(write)

    def _delete(self, key: str) -> None:
        self._ensured(lambda: self.client.delete(key))

    def ttl_s(self, status: str) -> float | None:
        if status == "FAILURE" and self.options.failure_expires_s is not None:
            return self.options.failure_expires_s or None
        return super().ttl_s(status)

    def store(
        self, meta: ResultMeta, *, reply_to: str | None = None, correlation_id: str | None = None
    ) -> None:
        key = self.keys.task(meta.task_id)
        data = self.codec.encode_meta(meta)
        try:
            self._patiently(lambda: self._store(meta, key, data))
        except self._lost as exc:
            raise BackendStoreError(
                f"failed to store result on the backend: {exc}",
                state=meta.status,
                task_id=meta.task_id,
            ) from exc

    def _store(self, meta: ResultMeta, key: str, data: bytes) -> None:
        if len(data) > MAX_VALUE_BYTES:
            raise BackendStoreError(
                "value too large for Redis backend", state=meta.status, task_id=meta.task_id
            )
        present = self._store_by_script(key, data, meta) if self._scripting else None
        if present is None:
            if self._scripting:
                return
            present = self._read(key)
        if not self.is_final(meta.task_id, present):
            self._write(key, data, self.ttl_s(meta.status))

    def _store_by_script(self, key: str, data: bytes, meta: ResultMeta) -> bytes | None:
        def run() -> bytes | None:
            client = self.client
            if self._store_script is None:
                self._store_script = client.register_script(_STORE)
            found: bytes | None = self._store_script(
                keys=[key], args=[data, _whole_seconds(self.ttl_s(meta.status))], client=client
            )
            return found

        try:
            return self._ensured(run)
        except self._redis.exceptions.ResponseError as exc:
            if isinstance(exc, self._redis.exceptions.ReadOnlyError):
                raise
            # No scripting here (a proxy, or a user without the right): from now on as Celery does it.
            logger.info("Storing results without scripts: %s", exc)
            self._scripting = False
            return None

    def fetch(self, task_id: str) -> ResultMeta:
        try:
            return self._patiently(lambda: super(RedisBackend, self).fetch(task_id))
        except self._lost as exc:
            raise BackendGetMetaError(
                f"failed to get meta from the backend: {exc}", task_id=task_id
            ) from exc

    # Waiting

    def wait(
        self,
        task_ids: Iterable[str],
        *,
        timeout_s: float | None,
        interval_s: float = 0.5,
        on_meta: Callable[[ResultMeta], None],
        on_interval: Callable[[], None] | None = None,
        on_message: Callable[[ResultMeta], None] | None = None,
    ) -> None:
        clock = self.options.clock
        deadline = Deadline(timeout_s, clock.monotonic)
        waiting = _Waiting({self.keys.task(task_id): task_id for task_id in task_ids})
        subscription: Any = None
        attempt = 0
        looked_at = 0.0
        next_call = clock.monotonic() + interval_s
        try:
            while waiting.keys:
                try:
                    if subscription is None:
                        found = self._look(waiting)
                        if not found and not deadline.has_passed:
                            subscription = self._subscribe(list(waiting.keys))
                            found = self._look(waiting)
                        looked_at, attempt = clock.monotonic(), 0
                    elif clock.monotonic() - looked_at > _LOOK_AGAIN_S:
                        found, looked_at = self._look(waiting), clock.monotonic()
                    else:
                        found = self._receive(subscription, deadline.left_s(min(interval_s, 1.0)))
                except self._lost as exc:
                    self._discard(subscription)
                    found, subscription = [], None
                    attempt += 1
                    self._pause(exc, attempt, deadline.left_s(self._reconnect.delay_s(attempt)))
                for key, data in found:
                    meta = waiting.take(key, data, self.codec)
                    if meta is not None and on_message is not None:
                        on_message(meta)
                    if meta is not None and meta.status in READY_STATES:
                        on_meta(meta)
                if not waiting.keys:
                    return
                if deadline.has_passed:
                    raise timed_out()
                if on_interval is not None and clock.monotonic() >= next_call:
                    on_interval()
                    next_call = clock.monotonic() + interval_s
        finally:
            if subscription is not None:
                self._unsubscribe(subscription)

    def _look(self, waiting: _Waiting) -> list[tuple[str, bytes]]:
        keys = list(waiting.keys)
        return [
            (key, data)
            for key, data in zip(keys, self._mget(keys), strict=True)
            if data is not None and waiting.is_news(key, data)
        ]

    def _subscribe(self, channels: list[str]) -> Any:
        """Return a subscription the server has confirmed: whatever is published from now on will arrive."""
        client = (
            self.client
        )  # first: it may find that this process is a fork, and forget what was idle
        subscription = self._idle.pop() if self._idle else client.pubsub()
        try:
            for start in range(0, len(channels), _MANY):
                some = channels[start : start + _MANY]
                subscription.subscribe(*some)
                unconfirmed = {channel.encode() for channel in some}
                while unconfirmed:
                    # Documents among the answers are dropped: the look that follows finds them.
                    answer = subscription.get_message(timeout=self._answer_timeout_s())
                    if answer is None:
                        raise self._redis.exceptions.TimeoutError("no answer to SUBSCRIBE")
                    if answer["type"] == "subscribe":
                        unconfirmed.discard(answer["channel"])
        except BaseException:
            self._discard(subscription)
            raise
        return subscription

    def _answer_timeout_s(self) -> float:
        return float(self._target.arguments.get("socket_timeout") or 120.0)

    def _receive(self, subscription: Any, timeout_s: float) -> list[tuple[str, bytes]]:
        found = []
        answer = subscription.get_message(timeout=timeout_s)
        while answer is not None:
            if answer["type"] == "message":
                found.append((answer["channel"].decode(), answer["data"]))
                if len(found) >= _MANY:
                    break
            answer = subscription.get_message(timeout=0)
        return found

    def _unsubscribe(self, subscription: Any) -> None:
        try:
            subscription.unsubscribe()
        except self._lost:
            self._discard(
                subscription
            )  # the server has dropped the subscriptions with the connection
        else:
            self._idle.append(subscription)

    def _discard(self, subscription: Any) -> None:
        if subscription is not None:
            subscription.close()

    # Groups and chords

    def start_chord(self, group_id: str, size: int) -> None:
        self._chords.start(group_id, size)

    def extend_chord(self, group_id: str, extra: int = 1) -> None:
        self._chords.extend(group_id, extra)

    def add_chord_part(
        self, group_id: str, part: ChordPart, *, size_hint: int | None = None
    ) -> ChordState | None:
        return self._chords.add_part(group_id, part, size_hint)

    def renew_chord(self, group_id: str, token: str | None) -> bool:
        return self._chords.renew(group_id, token)

    def finish_chord(self, group_id: str, *, ok: bool, token: str | None = None) -> None:
        self._chords.finish(group_id, ok=ok)

    # Connections

    def _ensured(self, fun: Callable[[], T]) -> T:
        """Call `fun`, again after each loss of the connection as `retry_policy` says."""
        attempt = 0
        while True:
            try:
                return fun()
            except self._lost as exc:
                attempt += 1
                self._check_retry(exc, attempt)
                delay_s = self._reconnect.delay_s(attempt)
                self._log_retry(attempt, delay_s)
            self.options.clock.sleep(delay_s)

    def _patiently(self, fun: Callable[[], T]) -> T:
        return call_with_retries(
            fun,
            policy=self._always_retry,
            is_recoverable=lambda exc: isinstance(exc, self._lost),
            sleep=self.options.clock.sleep,
        )

    def _check_retry(self, exc: Exception, attempt: int) -> None:
        """Raise `exc` if trying again is useless or no longer allowed."""
        errors = self._redis.exceptions
        if isinstance(exc, errors.AuthenticationError | errors.AuthorizationError):
            raise exc
        if not self._reconnect.allows(attempt):
            raise exc

    def _pause(self, exc: Exception, attempt: int, delay_s: float) -> None:
        try:
            self._check_retry(exc, attempt)
        except self._lost as error:
            raise BackendGetMetaError(_LOST_FOR_GOOD) from error
        self._log_retry(attempt, delay_s)
        self.options.clock.sleep(delay_s)

    def _log_retry(self, attempt: int, delay_s: float) -> None:
        logger.error(
            "Connection to Redis lost: Retry (%s/%s) %s",
            attempt,
            "inf" if self._reconnect.max_retries is None else self._reconnect.max_retries,
            f"in {delay_s:.2f} seconds." if delay_s else "now.",
        )

    def close(self) -> None:
        for subscription in self._idle:
            subscription.close()
        self._idle.clear()
        if self._client is not None:
            self._client.close()
            self._client.connection_pool.disconnect()
        self._forget_connections()

    def after_fork(self) -> None:
        # redis-py remembers which process opened a socket and only closes the descriptor in another one.
        self._idle.clear()
        self._forget_connections()

    def _forget_connections(self) -> None:
        self._client = self._store_script = None
        self._pid = os.getpid()


class _Waiting:
    """The keys a wait is for, and what was last seen under each."""

    def __init__(self, task_ids: dict[str, str]) -> None:
        self.keys = task_ids
        """Key → task id, of tasks without a READY document."""
        self._last: dict[str, bytes] = {}

    def is_news(self, key: str, data: bytes) -> bool:
        """False when the same document has been taken before."""
        return self._last.get(key) != data

    def take(self, key: str, data: bytes, codec: Codec) -> ResultMeta | None:
        """Read a document; one that nobody waits for, or that is no news, is `None`."""
        task_id = self.keys.get(key)
        if task_id is None or not self.is_news(key, data):
            return None
        meta = codec.decode_meta(data, task_id)
        self._last[key] = data
        if meta.status in READY_STATES:
            del self.keys[key]
            del self._last[key]
        return meta


def _whole_seconds(ttl_s: float | None) -> int:
    """Return a time to live as redis takes it: whole seconds, 0 for ever."""
    return max(1, int(ttl_s)) if ttl_s else 0


def _import_redis() -> Any:
    try:
        return import_module("redis")
    except ImportError as exc:
        raise ImproperlyConfigured(
            "You need to install the redis library in order to use the Redis result store backend."
        ) from exc


def _connect(redis: Any, target: RedisTarget) -> Any:
    arguments = dict(target.arguments)
    retry_on_timeout = arguments.pop("retry_on_timeout", False)
    # Our own policy decides about retries; redis-py's would multiply with it.
    arguments["retry"] = redis.retry.Retry(
        redis.backoff.NoBackoff(), 1 if retry_on_timeout else 0, (redis.exceptions.TimeoutError,)
    )
    arguments.setdefault("protocol", 2)
    provider = arguments.get("credential_provider")
    if isinstance(provider, str):
        module, _, name = provider.rpartition(".")
        arguments["credential_provider"] = getattr(import_module(module), name)()
    if target.kind == "sentinel":
        sentinel = redis.sentinel.Sentinel(
            target.sentinels,
            min_other_sentinels=target.min_other_sentinels,
            sentinel_kwargs=target.sentinel_arguments,
            **arguments,
        )
        return sentinel.master_for(target.master_name, redis.Redis)
    connection_class = {
        "tls": redis.connection.SSLConnection,
        "unix": redis.connection.UnixDomainSocketConnection,
    }.get(target.kind, redis.connection.Connection)
    pool = redis.ConnectionPool(
        connection_class=connection_class, max_connections=target.max_connections, **arguments
    )
    return redis.Redis(connection_pool=pool)
