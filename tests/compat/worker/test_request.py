"""The acknowledgement rules, checked for every input sequence."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import pytest

from celeriac.worker.actions import (
    Ack,
    Action,
    Forget,
    Queue,
    Reject,
    Remember,
    Settle,
    Settlement,
    Start,
)
from celeriac.worker.request import Input, Phase, Policy, RequestState, step

POLICIES = [
    Policy(
        acks_late=late,
        acks_on_failure=on_failure,
        acks_on_timeout=on_timeout,
        reject_on_worker_lost=lost,
    )
    for late, on_failure, on_timeout, lost in product((False, True), repeat=4)
]
INTAKE = [
    Input.RUN,
    Input.HOLD,
    Input.LIMIT,
    Input.DISCARD,
    Input.UNKNOWN,
    Input.INVALID,
    Input.UNREADABLE,
    Input.DROPPED,
]


def play(policy: Policy, *inputs: Input) -> tuple[RequestState, list[Action]]:
    state = RequestState()
    done: list[Action] = []
    for event in inputs:
        state, actions = step(state, event, policy)
        done += actions
    return state, done


def settlements(actions: list[Action]) -> list[Action]:
    return [action for action in actions if isinstance(action, Ack | Reject)]


class History(NamedTuple):
    """All of the past that the guarantees speak about."""

    state: RequestState
    settled: int = 0
    started: int = 0
    forgotten: int = 0
    accepted: bool = False
    discarded: bool = False
    disconnected: bool = False


def reachable(policy: Policy) -> dict[History, tuple[Input, ...]]:
    """Every history that any sequence of inputs, however long, can lead to, with a shortest way there."""
    start = History(RequestState())
    found: dict[History, tuple[Input, ...]] = {start: ()}
    todo = [start]
    while todo:
        before = todo.pop(0)
        for event in INTAKE if before is start else Input:
            past = before
            state, actions = step(past.state, event, policy)
            if past.forgotten:
                assert (state, actions) == (past.state, ()), (found[before], event)
            if Ack() in actions and not policy.acks_late and past.state.phase is Phase.SUBMITTED:
                assert event in (Input.ACCEPTED, Input.DROPPED), (found[before], event)
            if Ack() in actions:
                assert (
                    past.accepted or past.discarded or event in (Input.ACCEPTED, Input.DROPPED)
                ), (found[before], event)
            assert Forget() not in actions[:-1], (found[before], event)
            if event is Input.ADOPTED and past.state.comes_again and not past.forgotten:
                # A new delivery has taken the place of the lost one: it is to be settled once.
                past = past._replace(settled=0, disconnected=False)
            now = History(
                state,
                past.settled + len(settlements(list(actions))),
                past.started + actions.count(Start()),
                past.forgotten + actions.count(Forget()),
                past.accepted or event is Input.ACCEPTED,
                past.discarded
                or event in (Input.DISCARD, Input.LOST, Input.LOST_FOR_GOOD, Input.TERMINATED),
                past.disconnected or event is Input.DISCONNECTED,
            )
            if now not in found:
                found[now] = (*found[before], event)
                todo.append(now)
    return found


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_whatever_the_sequence_of_inputs_a_delivery_is_settled_once_or_not_ours_any_more(
    policy: Policy,
) -> None:
    histories = reachable(policy)
    assert len(histories) > 30
    for past, inputs in histories.items():
        assert past.settled <= 1, inputs
        assert past.started <= 1, inputs
        assert past.forgotten == (1 if past.state.phase is Phase.ENDED else 0), inputs
        if past.state.phase is Phase.ENDED and not past.disconnected:
            assert past.settled == 1, inputs


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_every_delivery_can_reach_its_end(policy: Policy) -> None:
    ways_out = [Input.SLOT, Input.ACCEPTED, Input.COMPLETED, Input.SETTLED]
    for past, inputs in reachable(policy).items():
        state = past.state
        if state.phase is Phase.ARRIVED:
            continue
        for event in (Input.RUN, *ways_out):
            state, _ = step(state, event, policy)
        assert state.phase is Phase.ENDED, inputs


def test_an_early_ack_task_is_acked_when_the_pool_accepts_it() -> None:
    _, actions = play(Policy(), Input.RUN, Input.SLOT, Input.ACCEPTED)
    assert actions == [Queue(), Start(), Ack()]


def test_a_late_ack_task_is_acked_only_when_it_completed() -> None:
    before = play(Policy(acks_late=True), Input.RUN, Input.SLOT, Input.ACCEPTED)[1]
    after = play(Policy(acks_late=True), Input.RUN, Input.SLOT, Input.ACCEPTED, Input.COMPLETED)[1]
    assert (settlements(before), settlements(after)) == ([], [Ack()])


@pytest.mark.parametrize(
    ("policy", "event", "expected"),
    [
        (Policy(acks_late=True), Input.FAILED, Ack()),
        (Policy(acks_late=True, acks_on_failure=False), Input.FAILED, Reject(requeue=False)),
        (Policy(acks_late=True), Input.REJECTED, Reject(requeue=False)),
        (Policy(acks_late=True), Input.REQUEUED, Reject(requeue=True)),
        (Policy(acks_late=True, reject_on_worker_lost=True), Input.LOST, Reject(requeue=True)),
    ],
)
def test_the_ack_table_of_late_tasks(policy: Policy, event: Input, expected: Action) -> None:
    _, actions = play(policy, Input.RUN, Input.SLOT, Input.ACCEPTED, event)
    assert settlements(actions) == [expected]


@pytest.mark.parametrize(
    ("policy", "event", "kind", "expected"),
    [
        (Policy(acks_late=True), Input.LOST, Settlement.LOST, [Ack()]),
        (
            Policy(acks_late=True, acks_on_failure=False),
            Input.LOST,
            Settlement.LOST,
            [Reject(requeue=False)],
        ),
        (Policy(acks_late=True), Input.TIMED_OUT, Settlement.TIMED_OUT, [Ack()]),
        (
            Policy(acks_late=True, acks_on_timeout=False),
            Input.TIMED_OUT,
            Settlement.TIMED_OUT,
            [Reject(requeue=True)],
        ),
        (Policy(), Input.LOST, Settlement.LOST, []),
        (Policy(), Input.TIMED_OUT, Settlement.TIMED_OUT, []),
    ],
)
def test_a_cut_off_run_is_recorded_before_its_message_is_settled(
    policy: Policy, event: Input, kind: Settlement, expected: list[Action]
) -> None:
    _, before = play(policy, Input.RUN, Input.SLOT, Input.ACCEPTED)
    state, upto = play(policy, Input.RUN, Input.SLOT, Input.ACCEPTED, event)
    assert upto[len(before) :] == [Settle(kind)]
    assert state.phase is Phase.SETTLING
    _, after = play(policy, Input.RUN, Input.SLOT, Input.ACCEPTED, event, Input.SETTLED)
    assert settlements(after[len(upto) :]) == expected


@pytest.mark.parametrize("waiting", [(Input.HOLD,), (Input.RUN,)])
def test_a_warm_stop_gives_back_what_has_not_started(waiting: tuple[Input, ...]) -> None:
    state, actions = play(Policy(), *waiting, Input.STOPPING)
    assert settlements(actions) == [Reject(requeue=True)]
    assert state.phase is Phase.ENDED


def test_a_warm_stop_leaves_a_running_task_alone() -> None:
    state, actions = play(
        Policy(acks_late=True), Input.RUN, Input.SLOT, Input.ACCEPTED, Input.STOPPING
    )
    assert state.phase is Phase.RUNNING
    assert settlements(actions) == []


def test_after_a_lost_connection_a_running_late_task_is_never_acked() -> None:
    _, actions = play(
        Policy(acks_late=True),
        Input.RUN,
        Input.SLOT,
        Input.ACCEPTED,
        Input.DISCONNECTED,
        Input.COMPLETED,
    )
    assert settlements(actions) == []
    assert actions[-1] == Forget()


def test_a_run_lost_after_its_connection_is_not_recorded_when_the_broker_runs_it_again() -> None:
    policy = Policy(acks_late=True, reject_on_worker_lost=True)
    _, done = play(policy, Input.RUN, Input.SLOT, Input.ACCEPTED, Input.DISCONNECTED, Input.LOST)
    assert done == [Queue(), Start(), Forget()]


@pytest.mark.parametrize("event", [Input.COMPLETED, Input.FAILED])
def test_a_redelivery_of_a_running_task_is_adopted_and_settled_by_its_end(event: Input) -> None:
    upto = (Input.RUN, Input.SLOT, Input.ACCEPTED, Input.DISCONNECTED, Input.ADOPTED)
    assert settlements(play(Policy(acks_late=True), *upto)[1]) == []
    assert settlements(play(Policy(acks_late=True), *upto, event)[1]) == [Ack()]


def test_a_run_that_ends_without_its_connection_says_how_to_settle_the_redelivery() -> None:
    lost = (Input.RUN, Input.SLOT, Input.ACCEPTED, Input.DISCONNECTED)
    assert Remember(Ack()) in play(Policy(acks_late=True), *lost, Input.COMPLETED)[1]
    assert Remember(Reject(requeue=False)) in play(Policy(acks_late=True), *lost, Input.REJECTED)[1]
    given_back = play(Policy(acks_late=True), *lost, Input.REQUEUED)[1]
    assert not any(isinstance(action, Remember) for action in given_back)


def test_an_early_task_that_was_acked_is_not_expected_again() -> None:
    _, actions = play(
        Policy(), Input.RUN, Input.SLOT, Input.ACCEPTED, Input.DISCONNECTED, Input.COMPLETED
    )
    assert settlements(actions) == [Ack()]
    assert not any(isinstance(action, Remember) for action in actions)


def test_a_revoked_task_is_recorded_then_acked_and_never_started() -> None:
    _, actions = play(Policy(), Input.DISCARD, Input.SETTLED, Input.SLOT, Input.ACCEPTED)
    assert actions == [Settle(Settlement.REVOKED), Ack(), Forget()]


def test_an_unknown_task_is_recorded_then_rejected() -> None:
    _, actions = play(Policy(), Input.UNKNOWN, Input.SETTLED)
    assert actions == [Settle(Settlement.UNKNOWN), Reject(requeue=False), Forget()]


def test_a_task_that_was_lost_too_often_is_recorded_instead_of_delivered_again() -> None:
    policy = Policy(acks_late=True, reject_on_worker_lost=True)
    state, actions = step(RequestState(phase=Phase.RUNNING), Input.LOST_FOR_GOOD, policy)
    assert actions == (Settle(Settlement.LOST),)
    _, actions = step(state, Input.SETTLED, policy)
    assert Ack() in actions
