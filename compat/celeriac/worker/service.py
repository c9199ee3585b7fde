"""What else may live in the worker's loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

__all__ = ["Service"]


class Service(ABC):
    """Something that the loop waits for and serves besides broker and pool.

    Nothing raised here may reach the loop: a service in trouble is no reason to stop working.
    """

    @abstractmethod
    def filenos(self) -> Iterable[int]:
        """File descriptors whose readability calls for `serve`."""

    @abstractmethod
    def due_in_s(self, monotonic: float) -> float | None:
        """Return the seconds until `serve` must be called at the latest; `None`: only for `filenos`."""

    @abstractmethod
    def serve(self, ready: set[int], monotonic: float) -> None:
        """Do what is to be done; called in every turn, so nothing to do must cost next to nothing.

        Args:
            ready: Descriptors, of whomever, that are readable.
            monotonic: Seconds.
        """

    @abstractmethod
    def stop(self) -> None:
        """A warm shutdown begins; `serve` goes on until the last task has ended."""

    @abstractmethod
    def close(self) -> None:
        """The loop ends."""
