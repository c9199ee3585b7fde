"""Trying a store again: the client's own short policy first, then the patient one a setting switches on."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from celeriac.backends.base import BackendOptions

__all__ = ["ReconnectPolicy", "RetryPolicy", "call_with_retries"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ReconnectPolicy:
    """How often and how fast a lost connection is tried again; kombu's four numbers."""

    max_retries: int | None = 20
    """`None`: for ever."""
    interval_start: float = 0.0
    interval_step: float = 1.0
    interval_max: float = 1.0

    @classmethod
    def from_options(cls, options: BackendOptions) -> ReconnectPolicy:
        """Read transport option `retry_policy`; keys left out keep their defaults."""
        given = options.transport("retry_policy") or {}
        known = ("max_retries", "interval_start", "interval_step", "interval_max")
        return cls(**{name: given[name] for name in known if name in given})

    def delay_s(self, attempt: int) -> float:
        """Return the pause before retry number `attempt`, counted from 1."""
        return min(self.interval_start + (attempt - 1) * self.interval_step, self.interval_max)

    def allows(self, attempt: int) -> bool:
        """Tell whether retry number `attempt`, counted from 1, may be made."""
        return self.max_retries is None or attempt <= self.max_retries


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`result_backend_always_retry` and its three companions. Spec: results-and-workflows#1.6."""

    enabled: bool = False
    max_retries: float = float("inf")
    base_sleep_ms: int = 10
    max_sleep_ms: int = 10_000

    @classmethod
    def from_options(
        cls, options: BackendOptions, *, enabled: bool = False, max_retries: float = float("inf")
    ) -> RetryPolicy:
        """Read the settings; the arguments are the backend's own defaults."""
        return cls(
            enabled=bool(options.setting("result_backend_always_retry", enabled)),
            max_retries=float(options.setting("result_backend_max_retries", max_retries)),
            base_sleep_ms=int(options.setting("result_backend_base_sleep_between_retries_ms", 10)),
            max_sleep_ms=int(
                options.setting("result_backend_max_sleep_between_retries_ms", 10_000)
            ),
        )

    def delay_s(self, attempt: int) -> float:
        """Return a random pause before retry number `attempt`, counted from 0 (full jitter)."""
        ceiling = min(self.max_sleep_ms, self.base_sleep_ms * 2 ** min(attempt, 32))
        return random.randint(0, ceiling) / 1000


def call_with_retries(
    fun: Callable[[], T],
    *,
    policy: RetryPolicy,
    is_recoverable: Callable[[Exception], bool],
    sleep: Callable[[float], None],
    on_retry: Callable[[], None] | None = None,
) -> T:
    """Call `fun`, again after each recoverable error while `policy` allows; the last error is raised as it came."""
    attempt = 0
    while True:
        try:
            return fun()
        except Exception as exc:
            if not (policy.enabled and attempt < policy.max_retries and is_recoverable(exc)):
                raise
            if on_retry is not None:
                on_retry()
        sleep(policy.delay_s(attempt))
        attempt += 1
