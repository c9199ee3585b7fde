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
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha1
from typing import Any, ClassVar, Literal

from celeriac.backends.base import BackendOptions, ChordPart, ChordState
from celeriac.backends.keyvalue import KeyValueBackend
from celeriac.backends.polling import Deadline, timed_out
from celeriac.backends.redis_chords import RedisChords
from celeriac.backends.redis_client import RedisClient
from celeriac.backends.redis_url import read_redis_url
from celeriac.backends.redis_waiting import MANY, Subscription, Subscriptions, Waiting
from celeriac.backends.retries import ReconnectPolicy, RetryPolicy
from celeriac.exceptions import BackendGetMetaError, BackendStoreError
from celeriac_protocol.result import READY_STATES, ResultMeta

__all__ = ["RedisBackend"]

logger = logging.getLogger(__name__)

MAX_VALUE_BYTES = 512 * 1024 * 1024
"""The largest string a redis server takes."""
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
_STORE_SHA = sha1(_STORE.encode(), usedforsecurity=False).hexdigest()


class RedisBackend(KeyValueBackend):
    """The redis store.

    One instance serves one thread: it keeps one connection for commands and, once something was waited for, one for
    subscriptions.
    """

    chords: ClassVar[Literal["native", "unlock", "refused"]] = "native"
    supports_native_join = True
    expires_by_itself = True

    def __init__(self, url: str, options: BackendOptions) -> None:
        super().__init__(url, options)
        self._client = RedisClient(
            read_redis_url(url, options),
            ReconnectPolicy.from_options(options),
            RetryPolicy.from_options(options),
            options.clock,
        )
        self._lost = self._client.lost
        self._subscriptions = Subscriptions(self._client)
        self._scripting = options.serializer in _SHOWS_STATUS
        self._chords = RedisChords(
            client=lambda: self.client,
            ensured=self._client.ensured,
            keys=self.keys,
            codec=self.codec,
            ttl_s=_whole_seconds(options.chord_expires_s or options.expires_s),
            ordered=bool(options.transport("result_chord_ordered", True)),
            join_timeout_s=options.chord_join_timeout_s,
            read_group=self.read_group,
        )

    @property
    def client(self) -> Any:
        """The redis-py client."""
        return self._client.redis

    # Key/value operations

    def _read(self, key: str) -> bytes | None:
        found: bytes | None = self._client.ensured(lambda: self.client.get(key))
        return found

    def _read_many(self, keys: Sequence[str]) -> list[bytes | None]:
        return self._client.ensured(lambda: self._mget(keys))

    def _mget(self, keys: Sequence[str]) -> list[bytes | None]:
        found: list[bytes | None] = []
        for start in range(0, len(keys), MANY):
            found.extend(self.client.mget(keys[start : start + MANY]))
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

        self._client.ensured(write)

    def _delete(self, key: str) -> None:
        self._client.ensured(lambda: self.client.delete(key))

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
            self._client.patiently(lambda: self._store(meta, key, data))
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
        arguments = (key, data, _whole_seconds(self.ttl_s(meta.status)))

        def run() -> bytes | None:
            try:
                present: bytes | None = self._client.execute("EVALSHA", _STORE_SHA, 1, *arguments)
            except self._client.errors.NoScriptError:
                present = self._client.execute("EVAL", _STORE, 1, *arguments)
            return present

        try:
            return self._client.ensured(run)
        except self._client.errors.ResponseError as exc:
            if isinstance(exc, self._client.errors.ReadOnlyError):
                raise
            # No scripting here (a proxy, or a user without the right): from now on as Celery does it.
            logger.info("Storing results without scripts: %s", exc)
            self._scripting = False
            return None

    def fetch(self, task_id: str) -> ResultMeta:
        try:
            return self._client.patiently(lambda: super(RedisBackend, self).fetch(task_id))
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
        waiting = Waiting({self.keys.task(task_id): task_id for task_id in task_ids})
        subscription: Subscription | None = None
        attempt = 0
        looked_at = 0.0
        next_call = clock.monotonic() + interval_s
        try:
            while waiting.keys:
                try:
                    if subscription is None:
                        found = self._look(waiting)
                        if not found and not deadline.has_passed:
                            subscription = self._subscriptions.take()
                            subscription.add(list(waiting.keys))
                            found = self._look(waiting)
                        looked_at, attempt = clock.monotonic(), 0
                    elif clock.monotonic() - looked_at > _LOOK_AGAIN_S:
                        found, looked_at = self._look(waiting), clock.monotonic()
                    else:
                        found = subscription.receive(deadline.left_s(min(interval_s, 1.0)))
                except self._lost as exc:
                    if subscription is not None:
                        subscription.close()
                    found, subscription = [], None
                    attempt += 1
                    if not self._client.may_retry(exc, attempt):
                        raise BackendGetMetaError(_LOST_FOR_GOOD) from exc
                    delay_s = self._client.reconnect.delay_s(attempt)
                    self._client.pause(attempt, deadline.left_s(delay_s))
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
                self._subscriptions.give_back(subscription)

    def _look(self, waiting: Waiting) -> list[tuple[str, bytes]]:
        keys = list(waiting.keys)
        return [
            (key, data)
            for key, data in zip(keys, self._mget(keys), strict=True)
            if data is not None and waiting.is_news(key, data)
        ]

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

    def close(self) -> None:
        self._subscriptions.close()
        self._client.close()

    def after_fork(self) -> None:
        self._subscriptions.forget()
        self._client.forget()


def _whole_seconds(ttl_s: float | None) -> int:
    """Return a time to live as redis takes it: whole seconds, 0 for ever."""
    return max(1, int(ttl_s)) if ttl_s else 0
