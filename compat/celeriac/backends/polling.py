"""Waiting on a store that cannot push: look, sleep, look again."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from celeriac.backends.base import ResultBackend
from celeriac.exceptions import TimeoutError as WaitTimeoutError
from celeriac_protocol.result import READY_STATES, ResultMeta

__all__ = ["Deadline", "PollingBackend", "timed_out"]


def timed_out() -> WaitTimeoutError:
    """Return the error of a wait that took too long, with the text clients know."""
    return WaitTimeoutError("The operation timed out.")


class Deadline:
    """Seconds that are left, on a monotonic clock handed in."""

    def __init__(self, timeout_s: float | None, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._at = None if timeout_s is None else monotonic() + timeout_s

    def left_s(self, at_most: float) -> float:
        """Return what is left, at most `at_most`, at least 0."""
        if self._at is None:
            return at_most
        return max(0.0, min(at_most, self._at - self._monotonic()))

    @property
    def has_passed(self) -> bool:
        """True when nothing is left."""
        return self._at is not None and self._monotonic() >= self._at


class PollingBackend(ResultBackend):
    """A backend whose `wait` reads every `interval_s` seconds. Spec: results-and-workflows#3."""

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
        pending = dict.fromkeys(task_ids)
        while True:
            for task_id, meta in self.fetch_many(list(pending)).items():
                if meta.status in READY_STATES:
                    del pending[task_id]
                    on_meta(meta)
            if not pending:
                return
            if deadline.has_passed:
                raise timed_out()
            if on_interval is not None:
                on_interval()
            clock.sleep(deadline.left_s(interval_s))
