"""The logical clock that orders events across processes.

Spec: control-and-events#3.1
"""

from __future__ import annotations

__all__ = ["LamportClock"]


class LamportClock:
    """One counter per application.

    It holds no lock: whoever shares one between threads brings the lock. A peer's value is a stranger's: anything
    that is no whole number counts as absent.
    """

    __slots__ = ("value",)

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"LamportClock({self.value})"

    def forward(self) -> int:
        """Count an event of our own and return its value."""
        self.value += 1
        return self.value

    def adjust(self, other: object) -> int:
        """Move past the value a peer sent, or forward by one if it sent none, and return the new value."""
        if isinstance(other, int) and not isinstance(other, bool) and other > self.value:
            self.value = other
        self.value += 1
        return self.value
