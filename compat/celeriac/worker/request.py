"""One delivery's life in this worker, from arrival to acknowledgement, as a table.

`step` is pure: phase and input in, phase and actions out. Everything about *when a message is settled* is here and
nowhere else; `worker/loop.py` performs the actions and feeds results back in.

What it guarantees, whatever the order of inputs (checked exhaustively in the tests):

* a delivery is settled (acked or rejected) at most once, and exactly once unless its connection is gone;
* an early-ack task is acked before it can have run to an end, a late-ack task only after its result was stored;
* nothing that never started is acked, unless it was discarded on purpose;
* after the end no action follows.

Spec: results-and-workflows#4.3-4.5, pains D
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import TypeAlias

from celeriac.worker.actions import (
    Ack,
    Action,
    Forget,
    Hold,
    Queue,
    Reject,
    Remember,
    Settle,
    Settlement,
    Start,
)

__all__ = ["Input", "Phase", "Policy", "RequestState", "step"]


class Phase(Enum):
    """Where a delivery stands."""

    ARRIVED = "arrived"
    HELD = "held"
    """Waiting for its eta."""
    LIMITED = "limited"
    """Waiting for its task's rate limit."""
    READY = "ready"
    """Waiting for a free slot."""
    SUBMITTED = "submitted"
    """Handed to the pool, not known to have started."""
    RUNNING = "running"
    SETTLING = "settling"
    """Bookkeeping without a run (revoked, unknown, lost, timed out) is under way."""
    ENDED = "ended"


class Input(Enum):
    """What can happen to a delivery."""

    RUN = "run"
    """Intake: run it now."""
    HOLD = "hold"
    """Intake: eta in the future."""
    LIMIT = "limit"
    """Intake: its task starts no more often than this for now."""
    DISCARD = "discard"
    """Intake: revoked or expired."""
    UNKNOWN = "unknown"
    """Intake: no such task."""
    INVALID = "invalid"
    """The message breaks the layout, and an id is known: its caller is told."""
    UNREADABLE = "unreadable"
    """The message breaks the layout, no id is known, or nothing shall be stored: reject."""
    DROPPED = "dropped"
    """The same where Celery acknowledges (bodies that cannot be decoded)."""
    SLOT = "slot"
    """A pool slot is free for it."""
    ACCEPTED = "accepted"
    """The pool is about to start it."""
    COMPLETED = "completed"
    """Outcome: success, retry or ignore."""
    FAILED = "failed"
    """Outcome: the task raised."""
    REJECTED = "rejected"
    """Outcome: `Reject(requeue=False)`."""
    REQUEUED = "requeued"
    """Outcome: `Reject(requeue=True)`."""
    LOST = "lost"
    """The child died."""
    LOST_FOR_GOOD = "lost-for-good"
    """The same, once too often for the task to be tried again."""
    TERMINATED = "terminated"
    """The child died because remote control wanted the task to end."""
    TIMED_OUT = "timed-out"
    """The hard limit passed; the run is over."""
    SETTLED = "settled"
    """The bookkeeping is done."""
    DISCONNECTED = "disconnected"
    """The connection of the delivery is gone: it can no longer be settled."""
    ADOPTED = "adopted"
    """The broker delivered it again while it runs here: the new delivery takes the place of the old one."""
    STOPPING = "stopping"
    """Warm shutdown: what has not started goes back."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How the task wants its message acknowledged. Spec: results-and-workflows#4.4."""

    acks_late: bool = False
    acks_on_failure: bool = True
    acks_on_timeout: bool = True
    reject_on_worker_lost: bool = False


@dataclass(frozen=True, slots=True)
class RequestState:
    """All that `step` knows about a delivery."""

    phase: Phase = Phase.ARRIVED
    settled: bool = False
    """Acked, rejected, or no longer ours to settle."""
    comes_again: bool = False
    """Its connection was lost before it was settled: the broker delivers it again."""
    then: Ack | Reject | None = None
    """What settles the delivery once the bookkeeping is done."""


_Result: TypeAlias = tuple[RequestState, tuple[Action, ...]]
_ACK = Ack()
_DISCARD = Reject(requeue=False)
_GIVE_BACK = Reject(requeue=True)


@lru_cache(maxsize=4096)
def step(state: RequestState, event: Input, policy: Policy) -> _Result:
    """Return the next state and what to do, in order.

    An input that makes no sense in a phase (a late answer for an ended request, say) changes nothing. There are few
    states and inputs and no effects, so each answer is worked out once.
    """
    handler = _TABLE.get((state.phase, event))
    return handler(state, policy) if handler is not None else (state, ())


def _to(phase: Phase, *actions: Action) -> Callable[[RequestState, Policy], _Result]:
    return lambda state, policy: (replace(state, phase=phase), actions)


def _end(state: RequestState, settle: Ack | Reject | None) -> _Result:
    """End the request; settle the delivery if it still is ours to settle."""
    done = replace(state, phase=Phase.ENDED, settled=True, then=None)
    if state.comes_again and settle is not None and settle != _GIVE_BACK:
        return done, (Remember(settle), Forget())
    if settle is None or state.settled:
        return done, (Forget(),)
    return done, (settle, Forget())


def _end_with(settle: Ack | Reject | None) -> Callable[[RequestState, Policy], _Result]:
    return lambda state, policy: _end(state, settle)


def _settle(
    kind: Settlement, then: Callable[[Policy], Ack | Reject]
) -> Callable[[RequestState, Policy], _Result]:
    def handler(state: RequestState, policy: Policy) -> _Result:
        return replace(state, phase=Phase.SETTLING, then=then(policy)), (Settle(kind),)

    return handler


def _accepted(state: RequestState, policy: Policy) -> _Result:
    if policy.acks_late or state.settled:
        return replace(state, phase=Phase.RUNNING), ()
    return replace(state, phase=Phase.RUNNING, settled=True), (_ACK,)


def _failed(state: RequestState, policy: Policy) -> _Result:
    return _end(state, _ACK if policy.acks_on_failure else _DISCARD)


def _lost(state: RequestState, policy: Policy) -> _Result:
    if (
        policy.acks_late
        and policy.reject_on_worker_lost
        and (not state.settled or state.comes_again)
    ):
        return _end(state, _GIVE_BACK)
    return _lost_for_good(state, policy)


_lost_for_good = _settle(Settlement.LOST, lambda p: _ACK if p.acks_on_failure else _DISCARD)


def _finish_settling(state: RequestState, policy: Policy) -> _Result:
    return _end(state, state.then)


def _cut_off(state: RequestState, policy: Policy) -> _Result:
    """The run goes on; its delivery, if it was not settled yet, will be made again by the broker."""
    comes_again = state.comes_again or not state.settled
    return replace(state, settled=True, comes_again=comes_again), ()


def _adopted(state: RequestState, policy: Policy) -> _Result:
    """Go on under the new delivery. Spec: transports#8 R3."""
    if not state.comes_again:
        return state, ()
    if state.phase is Phase.RUNNING and not policy.acks_late:
        return replace(state, settled=True, comes_again=False), (_ACK,)
    return replace(state, settled=False, comes_again=False), ()


_TABLE: dict[tuple[Phase, Input], Callable[[RequestState, Policy], _Result]] = {
    (Phase.ARRIVED, Input.RUN): _to(Phase.READY, Queue()),
    (Phase.ARRIVED, Input.HOLD): _to(Phase.HELD, Hold()),
    (Phase.ARRIVED, Input.LIMIT): _to(Phase.LIMITED),
    (Phase.ARRIVED, Input.DISCARD): _settle(Settlement.REVOKED, lambda p: _ACK),
    (Phase.ARRIVED, Input.UNKNOWN): _settle(Settlement.UNKNOWN, lambda p: _DISCARD),
    (Phase.ARRIVED, Input.INVALID): _settle(Settlement.INVALID, lambda p: _DISCARD),
    (Phase.ARRIVED, Input.UNREADABLE): _end_with(_DISCARD),
    (Phase.ARRIVED, Input.DROPPED): _end_with(_ACK),
    (Phase.HELD, Input.RUN): _to(Phase.READY, Queue()),
    (Phase.HELD, Input.HOLD): _to(Phase.HELD, Hold()),
    (Phase.HELD, Input.LIMIT): _to(Phase.LIMITED),
    (Phase.HELD, Input.DISCARD): _settle(Settlement.REVOKED, lambda p: _ACK),
    (Phase.HELD, Input.DISCONNECTED): _end_with(None),
    (Phase.HELD, Input.STOPPING): _end_with(_GIVE_BACK),
    (Phase.LIMITED, Input.RUN): _to(Phase.READY, Queue()),
    (Phase.LIMITED, Input.DISCARD): _settle(Settlement.REVOKED, lambda p: _ACK),
    (Phase.LIMITED, Input.DISCONNECTED): _end_with(None),
    (Phase.LIMITED, Input.STOPPING): _end_with(_GIVE_BACK),
    (Phase.READY, Input.SLOT): _to(Phase.SUBMITTED, Start()),
    (Phase.READY, Input.DISCARD): _settle(Settlement.REVOKED, lambda p: _ACK),
    (Phase.READY, Input.DISCONNECTED): _end_with(None),
    (Phase.READY, Input.STOPPING): _end_with(_GIVE_BACK),
    (Phase.SUBMITTED, Input.ACCEPTED): _accepted,
    (Phase.SUBMITTED, Input.UNREADABLE): _end_with(_DISCARD),
    (Phase.SUBMITTED, Input.DROPPED): _end_with(_ACK),
    (Phase.SUBMITTED, Input.LOST): _lost,
    (Phase.SUBMITTED, Input.LOST_FOR_GOOD): _lost_for_good,
    (Phase.SUBMITTED, Input.TERMINATED): _settle(Settlement.REVOKED, lambda p: _ACK),
    (Phase.SUBMITTED, Input.DISCONNECTED): _cut_off,
    (Phase.SUBMITTED, Input.ADOPTED): _adopted,
    (Phase.RUNNING, Input.COMPLETED): _end_with(_ACK),
    (Phase.RUNNING, Input.FAILED): _failed,
    (Phase.RUNNING, Input.REJECTED): _end_with(_DISCARD),
    (Phase.RUNNING, Input.REQUEUED): _end_with(_GIVE_BACK),
    (Phase.RUNNING, Input.LOST): _lost,
    (Phase.RUNNING, Input.LOST_FOR_GOOD): _lost_for_good,
    (Phase.RUNNING, Input.TERMINATED): _settle(Settlement.REVOKED, lambda p: _ACK),
    (Phase.RUNNING, Input.TIMED_OUT): _settle(
        Settlement.TIMED_OUT, lambda p: _ACK if p.acks_on_timeout else _GIVE_BACK
    ),
    (Phase.RUNNING, Input.DISCONNECTED): _cut_off,
    (Phase.RUNNING, Input.ADOPTED): _adopted,
    (Phase.SETTLING, Input.SETTLED): _finish_settling,
    (Phase.SETTLING, Input.LOST): _finish_settling,
    (Phase.SETTLING, Input.DISCONNECTED): _cut_off,
    (Phase.SETTLING, Input.ADOPTED): _adopted,
}
