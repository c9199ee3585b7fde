"""Chords counted in redis, together with Celery 5.1 to 5.7 workers on the same keys.

All keys are the group key and a suffix::

    .j  zset (list in 4.4, or with result_chord_ordered=False)  encoded parts, scored by their place in the header
    .t  int     parts added by add_to_chord
    .s  int     parts the sender announced
    .d  set     "<task id>:<group index, or +inf>" of the parts already counted (5.7)
    .c  text    who sends the body, or "done" (5.7)
    no suffix   the header's GroupResult, only when it holds nested groups

One script adds a part, sees whether it was the last one and takes the claim, so that neither a redelivered part nor a
worker dying between two steps loses or doubles the body.

Spec: results-and-workflows#6.5
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import uuid4

from celeriac.backends.base import ChordPart, ChordState
from celeriac.backends.chords import decode_part, encode_part, is_complete
from celeriac.backends.codec import Codec
from celeriac.backends.keyvalue import KeyNames

__all__ = ["RedisChords"]

T = TypeVar("T")

_ADD_PART = """
-- KEYS  1 .j   2 .t   3 .s   4 .d   5 .c   6 saved group
-- ARGV  1 encoded part   2 score   3 id:index   4 ttl in s, 0 = for ever   5 token   6 ttl of the claim in s
--       7 1 = ordered    8 size known from the body of 4.4/5.0 senders, or ''
-- Returns false while parts are missing, the chord is done or somebody else has the claim;
-- else {parts, size, saved group or false}; parts of a zset alternate with their scores.
if redis.call('GET', KEYS[5]) == 'done' then return false end
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then kind = ARGV[7] == '1' and 'zset' or 'list' end
if redis.call('SADD', KEYS[4], ARGV[3]) == 1 then
  if kind == 'list' then redis.call('RPUSH', KEYS[1], ARGV[1])
  else redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1]) end
end
local ttl = tonumber(ARGV[4])
if ttl > 0 then
  for _, i in ipairs({1, 2, 3, 4, 6}) do redis.call('EXPIRE', KEYS[i], ttl) end
end
local size = tonumber(redis.call('GET', KEYS[3]) or ARGV[8])
if not size then return false end
size = size + tonumber(redis.call('GET', KEYS[2]) or '0')
local count = kind == 'list' and redis.call('LLEN', KEYS[1]) or redis.call('ZCARD', KEYS[1])
if count < size then return false end
if not redis.call('SET', KEYS[5], ARGV[5], 'NX', 'EX', ARGV[6]) then return false end
local parts = kind == 'list' and redis.call('LRANGE', KEYS[1], 0, -1)
  or redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
return {parts, size, redis.call('GET', KEYS[6]), kind}
"""

_IF_CLAIMED = """
-- KEYS  1 .c      ARGV  1 token   2 new ttl in s, 0 = give the claim up      Returns 1 if the claim was ours.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.call('EXPIRE', KEYS[1], ARGV[2])
"""


class RedisChords:
    """The chord operations of one backend.

    Args:
        client: Returns the connected redis-py client.
        ensured: Runs an operation with the backend's retries.
        keys: Key names.
        codec: For parts.
        ttl_s: Time to live of the bookkeeping in whole seconds, 0 for ever.
        ordered: Whether parts are kept in header order (`result_chord_ordered`).
        join_timeout_s: `result_chord_join_timeout`; claims live by it.
        read_group: Reads the saved group's document.
    """

    def __init__(
        self,
        *,
        client: Callable[[], Any],
        ensured: Callable[[Callable[[], T]], T],
        keys: KeyNames,
        codec: Codec,
        ttl_s: int,
        ordered: bool,
        join_timeout_s: float,
        read_group: Callable[[bytes | None], Any],
    ) -> None:
        self._client = client
        self._ensured: Callable[[Callable[[], Any]], Any] = ensured
        self._keys = keys
        self._codec = codec
        self._ttl_s = ttl_s
        self._ordered = ordered
        self._claim_ttl_s = max(5, int(2 * join_timeout_s))
        self._done_ttl_s = max(300, int(4 * join_timeout_s))
        self._read_group = read_group

    def start(self, group_id: str, size: int) -> None:
        """Announce the number of parts; a claim left by an earlier use of the id is dropped."""
        claim, announced = self._keys.group(group_id, ".c"), self._keys.group(group_id, ".s")

        def write() -> None:
            with self._client().pipeline(transaction=True) as pipe:
                pipe.delete(claim)
                pipe.set(announced, size, ex=self._ttl_s or None)
                pipe.execute()

        self._ensured(write)

    def extend(self, group_id: str, extra: int) -> None:
        """Expect more parts."""
        key = self._keys.group(group_id, ".t")

        def write() -> None:
            with self._client().pipeline(transaction=True) as pipe:
                pipe.incrby(key, extra)
                if self._ttl_s:
                    pipe.expire(key, self._ttl_s)
                pipe.execute()

        self._ensured(write)

    def add_part(self, group_id: str, part: ChordPart, size_hint: int | None) -> ChordState | None:
        """Count a part; the state goes to the one caller that completes the chord."""
        token = uuid4().hex
        keys = [self._keys.group(group_id, suffix) for suffix in (".j", ".t", ".s", ".d", ".c", "")]
        score = "+inf" if part.group_index is None else str(part.group_index)
        arguments = [
            encode_part(self._codec, part),
            score,
            f"{part.task_id}:{score}",
            self._ttl_s,
            token,
            self._claim_ttl_s,
            int(self._ordered),
            "" if size_hint is None else size_hint,
        ]
        found = self._ensured(
            lambda: self._client().register_script(_ADD_PART)(keys=keys, args=arguments)
        )
        if not found:
            return None
        raw_parts, size, group, kind = found
        if kind == b"list":
            parts = tuple(decode_part(self._codec, data, None) for data in raw_parts)
        else:
            parts = tuple(
                decode_part(self._codec, data, None if score == b"inf" else int(float(score)))
                for data, score in zip(raw_parts[::2], raw_parts[1::2], strict=True)
            )
        if not is_complete(parts, size):
            self._if_claimed(group_id, token, 0)
            return None
        return ChordState(parts=parts, token=token, group=self._read_group(group))

    def renew(self, group_id: str, token: str | None) -> bool:
        """Keep the claim for as long again."""
        return token is None or self._if_claimed(group_id, token, self._claim_ttl_s)

    def finish(self, group_id: str, *, ok: bool) -> None:
        """Clear up. A failed chord keeps its parts and claim, as 5.7 does; without `.s` it cannot complete again."""

        def write() -> None:
            if not ok:
                self._client().delete(self._keys.group(group_id, ".s"))
                return
            with self._client().pipeline(transaction=True) as pipe:
                pipe.delete(
                    *(self._keys.group(group_id, suffix) for suffix in (".j", ".t", ".s", ".d"))
                )
                pipe.set(self._keys.group(group_id, ".c"), "done", ex=self._done_ttl_s)
                pipe.execute()

        self._ensured(write)

    def _if_claimed(self, group_id: str, token: str, ttl_s: int) -> bool:
        key = self._keys.group(group_id, ".c")
        return bool(
            self._ensured(
                lambda: self._client().register_script(_IF_CLAIMED)(keys=[key], args=[token, ttl_s])
            )
        )
