"""Whatever is delivered, the loop's side of a message ends in one decision and no exception."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac.brokers.base import Delivery
from celeriac.worker.delivery import Request, Unreadable, read_delivery
from celeriac.worker.intake import Decision, Discard, Hold, Run, Unknown, decide
from celeriac.worker.payload import Payload
from celeriac.worker.request import Input, Phase, RequestState, step
from celeriac_protocol import task as wire
from celeriac_protocol.errors import Hint, RemoteProtocolError
from celeriac_protocol.message import Message
from celeriac_protocol.strategies import (
    arbitrary_messages,
    broken_messages,
    messages,
    mutated_messages,
)

ACCEPT = frozenset({"application/json"})
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class _Task:
    acks_late = reject_on_worker_lost = False
    acks_on_failure_or_timeout = True
    acks_on_failure = acks_on_timeout = None


class _AnyName(dict[str, Any]):
    """A registry in which every third name is registered."""

    def get(self, key: str, default: Any = None) -> Any:
        return _Task() if key in self else default

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and len(key) % 3 != 0


def read(message: Message) -> Request:
    return read_delivery(Delivery("tag", message), 1, _AnyName(), ACCEPT)


def entry(request: Request, decision: Decision | None) -> Input:
    if decision is None:
        assert isinstance(request.broken, Unreadable)
        if request.broken.has_id:
            return Input.INVALID
        return Input.DROPPED if request.broken.error.hint is Hint.DROP else Input.UNREADABLE
    kinds = {Run: Input.RUN, Hold: Input.HOLD, Discard: Input.DISCARD, Unknown: Input.UNKNOWN}
    return kinds[type(decision)]


def check(message: Message) -> None:
    request = read(message)
    decision = None
    if request.broken is None:
        decision = decide(request.headers, known=_AnyName(), revoked=frozenset({"r"}), now=NOW)
        assert request.headers.id
        assert isinstance(request.name, str)
    state, actions = step(RequestState(), entry(request, decision), request.policy)
    assert actions
    assert state.phase is not Phase.ARRIVED
    payload = Payload.of(message)
    assert payload.message() == message
    error: RemoteProtocolError | None = None
    try:
        found = wire.decode(payload.message(), accept=ACCEPT)
    except RemoteProtocolError as exc:
        error = exc
    if error is not None:
        assert error.field
        assert str(error)
    else:
        assert request.broken is None
        assert found.headers.id == request.headers.id


@settings(max_examples=settings().max_examples * 10)
@given(messages())
def test_a_legal_message_is_decided(message: Message) -> None:
    check(message)


@settings(max_examples=settings().max_examples * 10)
@given(mutated_messages())
def test_a_mutated_message_is_decided(message: Message) -> None:
    check(message)


@given(broken_messages().map(lambda broken: broken.message))
def test_a_message_with_one_thing_wrong_is_decided(message: Message) -> None:
    check(message)


@given(arbitrary_messages())
def test_arbitrary_headers_properties_and_bytes_are_decided(message: Message) -> None:
    check(message)


@given(st.lists(mutated_messages(), max_size=4), st.sampled_from(list(Input)))
def test_the_table_takes_whatever_comes_next(batch: list[Message], event: Input) -> None:
    for message in batch:
        request = read(message)
        decision = (
            None
            if request.broken is not None
            else decide(request.headers, known=_AnyName(), revoked=frozenset(), now=NOW)
        )
        state, first = step(RequestState(), entry(request, decision), request.policy)
        later, second = step(state, event, request.policy)
        assert len(first) + len(second) <= 4
        assert later.phase in Phase
