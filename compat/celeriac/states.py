"""Task states and their order, as `celery.states` has them. Spec: app-and-cli#9.3, results-and-workflows#1.2."""

from __future__ import annotations

from celeriac_protocol.result import (
    EXCEPTION_STATES,
    PROPAGATE_STATES,
    READY_STATES,
    UNREADY_STATES,
    State,
    precedence,
)

__all__ = [
    "ALL_STATES",
    "EXCEPTION_STATES",
    "FAILURE",
    "IGNORED",
    "NONE_PRECEDENCE",
    "PENDING",
    "PRECEDENCE",
    "PRECEDENCE_LOOKUP",
    "PROPAGATE_STATES",
    "READY_STATES",
    "RECEIVED",
    "REJECTED",
    "RETRY",
    "REVOKED",
    "STARTED",
    "SUCCESS",
    "UNREADY_STATES",
    "precedence",
    "state",
]

PENDING = State.PENDING
RECEIVED = State.RECEIVED
STARTED = State.STARTED
SUCCESS = State.SUCCESS
FAILURE = State.FAILURE
REVOKED = State.REVOKED
REJECTED = State.REJECTED
RETRY = State.RETRY
IGNORED = State.IGNORED

ALL_STATES = frozenset({PENDING, RECEIVED, STARTED, SUCCESS, FAILURE, RETRY, REVOKED})

NONE_PRECEDENCE = precedence(None)
PRECEDENCE_LOOKUP: dict[str | None, int] = {
    name: precedence(name) for name in (*ALL_STATES, REJECTED, None)
}
PRECEDENCE: list[str | None] = sorted(PRECEDENCE_LOOKUP, key=PRECEDENCE_LOOKUP.__getitem__)
"""Most final first; `None` is where every custom state stands."""


class state(str):  # noqa: N801 - the public name
    """A state that compares by precedence: ``state("STARTED") < state("SUCCESS")``."""

    __slots__ = ()

    def __gt__(self, other: str) -> bool:
        return precedence(self) < precedence(other)

    def __ge__(self, other: str) -> bool:
        return precedence(self) <= precedence(other)

    def __lt__(self, other: str) -> bool:
        return precedence(self) > precedence(other)

    def __le__(self, other: str) -> bool:
        return precedence(self) >= precedence(other)
