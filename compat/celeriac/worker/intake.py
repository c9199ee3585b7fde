"""What to do with a task that just arrived, or just became due: a pure decision.

The order is Celery's: an unknown name is refused first, then a revoked id, then an expired call, then the eta.

Spec: results-and-workflows#4.1, #4.5
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from celeriac_protocol.task import TaskHeaders

__all__ = ["Decision", "Discard", "Hold", "Run", "Unknown", "decide"]


@dataclass(frozen=True, slots=True)
class Run:
    """Hand it to the pool as soon as a slot is free."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep it unacknowledged until `until`, then decide again."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Discard:
    """Never run it: store REVOKED with this reason, then acknowledge."""

    reason: str
    """``revoked`` or ``expired``."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """No task of this name is registered here."""


Decision: TypeAlias = Run | Hold | Discard | Unknown

_RUN = Run()
_UNKNOWN = Unknown()


def decide(
    headers: TaskHeaders, *, known: Container[str], revoked: Container[str], now: datetime
) -> Decision:
    """Decide about one task.

    Args:
        headers: What the message says about itself.
        known: Names of the registered tasks.
        revoked: Ids that must not run.
        now: Wall time, aware.
    """
    if headers.task not in known:
        return _UNKNOWN
    if headers.id in revoked:
        return Discard("revoked")
    if headers.expires_at is not None and now > headers.expires_at:
        return Discard("expired")
    if headers.eta_at is not None and headers.eta_at > now:
        return Hold(headers.eta_at)
    return _RUN
