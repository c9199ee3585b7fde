"""What a wait on redis needs: subscriptions that can be used again, and what was last seen under each key."""

from __future__ import annotations

from typing import Any

from celeriac.backends.codec import Codec
from celeriac.backends.redis_client import RedisClient
from celeriac_protocol.result import READY_STATES, ResultMeta

__all__ = ["MANY", "Subscription", "Subscriptions", "Waiting"]

MANY = 1000
"""Keys in one MGET or SUBSCRIBE, and messages taken in one go."""
_ANSWER_TIMEOUT_S = 120.0


class Subscription:
    """Channels of one wait on one connection. Usable until anything at all goes wrong in the middle of an exchange."""

    def __init__(self, pubsub: Any, client: RedisClient) -> None:
        self._pubsub = pubsub
        self._errors = client.errors
        self._timeout_s = client.target.arguments.get("socket_timeout") or _ANSWER_TIMEOUT_S
        self.is_usable = True

    def add(self, channels: list[str]) -> None:
        """Subscribe, and see the server confirm it: whatever is published from now on will arrive."""
        self.is_usable = False
        for start in range(0, len(channels), MANY):
            some = channels[start : start + MANY]
            self._pubsub.subscribe(*some)
            unconfirmed = {channel.encode() for channel in some}
            while unconfirmed:
                # Documents among the answers are dropped: the look that follows finds them.
                answer = self._pubsub.get_message(timeout=self._timeout_s)
                if answer is None:
                    raise self._errors.TimeoutError("no answer to SUBSCRIBE")
                if answer["type"] == "subscribe":
                    unconfirmed.discard(answer["channel"])
        self.is_usable = True

    def receive(self, timeout_s: float) -> list[tuple[str, bytes]]:
        """Wait for a message at most `timeout_s`; return all that are there, as (channel, payload)."""
        self.is_usable = False
        found = []
        answer = self._pubsub.get_message(timeout=timeout_s)
        while answer is not None:
            if answer["type"] == "message":
                found.append((answer["channel"].decode(), answer["data"]))
                if len(found) >= MANY:
                    break
            answer = self._pubsub.get_message(timeout=0)
        self.is_usable = True
        return found

    def clear(self) -> None:
        """Unsubscribe from everything; the confirmations are read by the next wait."""
        self.is_usable = False
        self._pubsub.unsubscribe()
        self.is_usable = True

    def close(self) -> None:
        """Close the connection; the server drops what is subscribed."""
        self.is_usable = False
        self._pubsub.close()


class Subscriptions:
    """Subscriptions nobody is using. More than one only after waits inside callbacks of waits."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._idle: list[Subscription] = []

    def take(self) -> Subscription:
        """Return an empty subscription."""
        if self._client.is_inherited:
            self._idle.clear()
        redis = self._client.redis
        try:
            return self._idle.pop()
        except IndexError:
            return Subscription(redis.pubsub(), self._client)

    def give_back(self, subscription: Subscription) -> None:
        """Unsubscribe and keep the connection, or close what cannot be used any more."""
        if subscription.is_usable:
            try:
                subscription.clear()
            except self._client.lost:
                subscription.close()
            else:
                self._idle.append(subscription)
        else:
            subscription.close()

    def close(self) -> None:
        """Close all that are idle."""
        for subscription in self._idle:
            subscription.close()
        self._idle.clear()

    def forget(self) -> None:
        """Drop what was inherited over a fork."""
        self._idle.clear()


class Waiting:
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
