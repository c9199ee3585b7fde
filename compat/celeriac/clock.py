"""Time as a port: the worker asks a `Clock`, tests hand in a simulated one."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from datetime import UTC, datetime

__all__ = ["Clock", "SystemClock"]


class Clock(ABC):
    """Wall time and monotonic time; they never meet."""

    @abstractmethod
    def now(self) -> datetime:
        """Return the wall time as an aware UTC datetime."""

    @abstractmethod
    def monotonic(self) -> float:
        """Return monotonic seconds from an arbitrary start."""

    @abstractmethod
    def sleep(self, seconds: float) -> None:
        """Block for `seconds`."""


class SystemClock(Clock):
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
