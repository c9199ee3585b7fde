"""How running a task ended, in a form that crosses a pipe: plain values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from celeriac_protocol.errors import Hint, Reason

__all__ = [
    "Failed",
    "Ignored",
    "Outcome",
    "Refused",
    "Rejected",
    "Retrying",
    "Settled",
    "Succeeded",
]


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The task returned; result stored, callbacks sent."""

    result_repr: str | None
    """`repr` of the return value, cut to the task's `resultrepr_maxsize`; what events and logs show. `None`, like the
    runtime, when it did so before and was not run again."""
    runtime_s: float | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The task raised; FAILURE stored, errbacks done."""

    exception_repr: str
    traceback: str
    runtime_s: float


@dataclass(frozen=True, slots=True)
class Retrying:
    """The task raised `Retry`; its next message is already published."""

    exception_repr: str
    traceback: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """The task raised `Ignore`: nothing is stored, nothing follows."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The task raised `Reject`."""

    reason: str
    requeue: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """The body could not be read; the task never started. Fields as in `RemoteProtocolError`."""

    field: str
    text: str
    reason: Reason
    hint: Hint
    stored: bool
    """A FAILURE document was stored under the task's id."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Bookkeeping for a task that no slot ran is done; `error` says what of it could not be done."""

    error: str | None = None


Outcome: TypeAlias = Succeeded | Failed | Retrying | Ignored | Rejected | Refused | Settled
