"""What the request table asks the loop to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

__all__ = [
    "Ack",
    "Action",
    "Forget",
    "Hold",
    "Queue",
    "Reject",
    "Remember",
    "Settle",
    "Settlement",
    "Start",
]


class Settlement(Enum):
    """Bookkeeping that no run does."""

    REVOKED = "revoked"
    """Revoked or expired: REVOKED document, chord part."""
    UNKNOWN = "unknown"
    """No such task: FAILURE `NotRegistered`."""
    INVALID = "invalid"
    """Broken message with a known id: FAILURE `InvalidTaskError`."""
    LOST = "lost"
    """The child died: FAILURE `WorkerLostError`, chord part, chain, errbacks."""
    TIMED_OUT = "timed-out"
    """Hard limit: FAILURE `TimeLimitExceeded`, the same, and the failure hooks."""


@dataclass(frozen=True, slots=True)
class Ack:
    """Acknowledge the delivery."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Reject the delivery."""

    requeue: bool


@dataclass(frozen=True, slots=True)
class Queue:
    """Put it in line for a pool slot."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Wake it at its eta."""


@dataclass(frozen=True, slots=True)
class Start:
    """Submit it to the pool."""


@dataclass(frozen=True, slots=True)
class Settle:
    """Have the bookkeeping done outside the loop; `Input.SETTLED` follows."""

    kind: Settlement


@dataclass(frozen=True, slots=True)
class Forget:
    """Nothing will happen to it any more."""


@dataclass(frozen=True, slots=True)
class Remember:
    """It ended without its connection: settle the delivery that the broker makes of it again in this way."""

    settle: Ack | Reject


Action: TypeAlias = Ack | Reject | Queue | Hold | Start | Settle | Forget | Remember
