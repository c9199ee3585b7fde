"""Rate limits: how often tasks of one type may start in this worker.

A token bucket of capacity one per limited task type. Who finds it empty waits here, unacknowledged and in order, and
the loop is woken when the next token is there, not before. Types without a limit never come here.

Spec: control-and-events#4.7
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from celeriac.clock import Clock
from celeriac.worker.delivery import Request
from celeriac.worker.request import Phase
from celeriac.worker.service import Service

__all__ = ["Bucket", "RateLimiter", "parse_rate"]

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}


def parse_rate(limit: Any) -> float:
    """Return a limit as starts per second; 0 is none.

    Args:
        limit: A number, ``"N/s"``, ``"N/m"`` or ``"N/h"``; None, 0 and empty mean no limit.

    Raises:
        KeyError: The unit is unknown.
        TypeError: Neither number nor text.
        ValueError: N is no number, or negative.
    """
    if not limit:
        return 0.0
    seconds = 1
    if isinstance(limit, str):
        limit, _, unit = limit.partition("/")
        seconds = _SECONDS[unit or "s"]
    rate = float(limit) / seconds
    if not 0 <= rate < float("inf"):
        raise ValueError(f"a rate limit is a number from 0 on, got {limit!r}")
    return rate


class Bucket:
    """One token at most, which takes `1 / rate` seconds to come back.

    Args:
        rate: Tokens per second, more than 0.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.waiting: deque[Request] = deque()
        """In order of arrival; whoever left by another way is still here until its turn, or `RateLimiter.prune`."""
        self.taken_at = float("-inf")
        """When the last token was taken, in monotonic seconds."""

    def due_in_s(self, monotonic: float) -> float:
        """Return the seconds until there is a token."""
        return max(0.0, self.taken_at + 1 / self.rate - monotonic)

    def take(self, monotonic: float) -> bool:
        """Take the token if there is one."""
        if monotonic < self.taken_at + 1 / self.rate:
            return False
        self.taken_at = monotonic
        return True


class RateLimiter(Service):
    """The buckets of a worker.

    Args:
        rates: Starts per second by task name, of limited types only.
        clock: Wall and monotonic time.
        release: Told of a request whose turn has come, or whose time to run is over.
    """

    def __init__(
        self, rates: Mapping[str, float], clock: Clock, release: Callable[[Request], None]
    ) -> None:
        self.buckets: dict[str, Bucket] = {name: Bucket(rate) for name, rate in rates.items()}
        self._clock = clock
        self._release = release

    def admits(self, request: Request) -> bool:
        """Tell whether a request may run now; one that may not is kept, to be released later."""
        bucket = self.buckets.get(request.headers.task)
        if bucket is None:
            return True
        # Whoever waits already goes first.
        if not bucket.waiting and bucket.take(self._clock.monotonic()):
            return True
        bucket.waiting.append(request)
        return False

    def limit(self, name: str, rate: float) -> None:
        """Give one task type another limit; who waits goes on waiting in the same order, under the new one.

        Args:
            name: Of the task.
            rate: Starts per second; 0: no limit any more.
        """
        old = self.buckets.pop(name, None)
        if rate:
            bucket = self.buckets[name] = Bucket(rate)
            if old is not None:
                bucket.waiting, bucket.taken_at = old.waiting, old.taken_at
            return
        for request in old.waiting if old is not None else ():
            if request.state.phase is Phase.LIMITED:
                self._release(request)

    def prune(self) -> None:
        """Forget who does not wait any more: discarded, given back, or cut off from its delivery."""
        for bucket in self.buckets.values():
            bucket.waiting = deque(r for r in bucket.waiting if r.state.phase is Phase.LIMITED)

    # -- service ----------------------------------------------------------------------------------

    def filenos(self) -> Iterable[int]:
        """None: only time matters."""
        return ()

    def due_in_s(self, monotonic: float) -> float | None:
        """Until the first token that somebody waits for."""
        due = [each.due_in_s(monotonic) for each in self.buckets.values() if each.waiting]
        return min(due, default=None)

    def serve(self, ready: set[int], monotonic: float) -> None:
        """Release whoever has a token now."""
        for bucket in list(self.buckets.values()):
            if bucket.waiting:
                self._serve(bucket, monotonic)

    def _serve(self, bucket: Bucket, monotonic: float) -> None:
        waiting, now = bucket.waiting, self._clock.now()
        while waiting:
            request = waiting[0]
            if request.state.phase is not Phase.LIMITED:
                waiting.popleft()
                continue
            # Who has expired is discarded further on, and leaves the token to the next.
            if not _is_expired(request, now) and not bucket.take(monotonic):
                return
            waiting.popleft()
            self._release(request)

    def stop(self) -> None:
        """A warm shutdown gives everybody back."""

    def close(self) -> None:
        """Nothing is open."""


def _is_expired(request: Request, now: datetime) -> bool:
    expires_at = request.headers.expires_at
    return expires_at is not None and now > expires_at
