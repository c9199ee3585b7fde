"""Ids that must not run: as many as fit, for as long as it is worth it. Spec: control-and-events#4.8."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable

__all__ = ["MAX_REVOKED", "REVOKED_FOR_S", "RevokedIds"]

MAX_REVOKED = 50_000
REVOKED_FOR_S = 10_800.0


class RevokedIds(dict[str, float]):
    """Revoked ids, oldest first, with the monotonic time of their revocation.

    A dict, so that asking for an id, which happens for every task, is a plain look-up; the limits are kept by whoever
    adds ids and by `expire`.

    Args:
        limit: Beyond it the oldest ids are forgotten; by default ``CELERY_WORKER_REVOKES_MAX`` or 50,000.
        expires_s: An older id is forgotten; by default ``CELERY_WORKER_REVOKE_EXPIRES`` or three hours.
        monotonic: A monotonic clock.
    """

    def __init__(
        self,
        limit: int | None = None,
        expires_s: float | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        environ = os.environ
        self.limit = (
            int(environ.get("CELERY_WORKER_REVOKES_MAX", MAX_REVOKED)) if limit is None else limit
        )
        self.expires_s = (
            float(environ.get("CELERY_WORKER_REVOKE_EXPIRES", REVOKED_FOR_S))
            if expires_s is None
            else expires_s
        )
        self._monotonic = monotonic

    def add(self, ids: Iterable[str]) -> None:
        """Add ids as the newest; one that is there already becomes new again."""
        now = self._monotonic()
        for task_id in ids:
            self.pop(task_id, None)
            self[task_id] = now
        self.expire()

    def expire(self) -> None:
        """Forget what is too old or too much."""
        oldest = self._monotonic() - self.expires_s
        while self:
            first = next(iter(self))
            if len(self) <= self.limit and self[first] >= oldest:
                return
            del self[first]
