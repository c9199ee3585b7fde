"""Broken messages are refused for the right reason, and nothing that arrives is worse than refused."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celeriac_protocol.errors import Hint, RemoteProtocolError
from celeriac_protocol.message import Message, Properties
from celeriac_protocol.serializers import accept_set
from celeriac_protocol.signature import chain_dict, chord_dict, group_dict, signature_dict
from celeriac_protocol.strategies import (
    Broken,
    arbitrary_messages,
    broken_messages,
    messages,
    mutated_messages,
)
from celeriac_protocol.task import (
    Embed,
    TaskHeaders,
    TaskMessage,
    TimeLimit,
    decode,
    read_headers,
)

JSON = accept_set(["json"])


def times(factor: int) -> settings:
    """The profile says how much; there are a hundred faults and countless mutations, so they get a multiple of it."""
    examples = settings().max_examples * factor
    return settings(max_examples=examples, suppress_health_check=[HealthCheck.too_slow])


ADD = signature_dict("proj.add", (2,), options={"task_id": "2f1a", "reply_to": "77aa"})
TYPICAL = {
    2: [
        TaskMessage(headers=TaskHeaders(task="proj.add", id="d16b", root_id="d16b"), args=[2, 3]),
        TaskMessage(
            headers=TaskHeaders(
                task="proj.add",
                id="d16b",
                eta="2030-01-02T03:04:05+00:00",
                expires="2030-01-02T04:04:05",
                group="900e",
                group_index=1,
                timelimit=TimeLimit(60, 30),
                stamped_headers=("tenant",),
                stamps={"tenant": ["a", "b"]},
                custom={"x-trace": "1"},
            ),
            kwargs={"x": 1, "y": {"z": [None, 1.5]}},
            embed=Embed(callbacks=[ADD], errbacks=[ADD], chain=[ADD, chain_dict([ADD])], chord=ADD),
        ),
        TaskMessage(
            headers=TaskHeaders(task="proj.add", id="d16b"),
            embed=Embed(chain=[chord_dict(group_dict([ADD, ADD]), ADD)]),
        ),
    ],
    1: [
        TaskMessage(headers=TaskHeaders(task="proj.add", id="461c"), args=[2, 3], version=1),
        TaskMessage(
            headers=TaskHeaders(task="proj.add", id="461c", eta="2026-11-22T16:57:54.726142+00:00"),
            kwargs={"x": 1},
            embed=Embed(callbacks=[ADD], errbacks=[ADD], chord=ADD),
            version=1,
        ),
    ],
}
MUTATED = {
    version: mutated_messages(originals=messages(tasks=st.sampled_from(tasks)), max_mutations=3)
    for version, tasks in TYPICAL.items()
}


def outcome(message: Message) -> TaskMessage | RemoteProtocolError:
    """Decode; let every exception through that is not a `RemoteProtocolError`."""
    try:
        return decode(message, accept=JSON)
    except RemoteProtocolError as error:
        return error


def assert_says_enough(error: RemoteProtocolError) -> None:
    assert error.field
    assert isinstance(error.hint, Hint)
    assert str(error).startswith(f"{error.field}: expected {error.expected}, got ")
    assert len(str(error)) < 2000


def assert_read_or_refused(message: Message) -> None:
    found = outcome(message)
    if isinstance(found, RemoteProtocolError):
        assert_says_enough(found)
    else:
        assert found.headers.task
        assert found.headers.id


@pytest.mark.parametrize("protocol", [2, 1])
@times(5)
@given(data=st.data())
def test_one_fault_is_named_exactly(protocol: int, data: st.DataObject) -> None:
    broken: Broken = data.draw(broken_messages(protocol=protocol))
    error = outcome(broken.message)
    assert isinstance(error, RemoteProtocolError), broken.label
    assert (type(error), error.field) == (broken.error, broken.field), broken.label
    assert_says_enough(error)


@pytest.mark.parametrize("protocol", [2, 1])
@times(20)
@given(data=st.data())
def test_a_mutated_message_is_read_or_refused(protocol: int, data: st.DataObject) -> None:
    message = data.draw(MUTATED[protocol])
    assert_read_or_refused(message)


@given(message=mutated_messages())
def test_a_mutation_of_any_legal_message_is_read_or_refused(message: Message) -> None:
    assert_read_or_refused(message)


@times(5)
@given(message=arbitrary_messages())
def test_anything_is_read_or_refused(message: Message) -> None:
    assert_read_or_refused(message)


@given(body=st.binary(), content_type=st.none() | st.text(), encoding=st.none() | st.text())
def test_any_bytes_under_any_name_are_read_or_refused(
    body: bytes, content_type: str | None, encoding: str | None
) -> None:
    properties = Properties(content_type=content_type, content_encoding=encoding)
    found = outcome(Message({}, properties, body))
    assert isinstance(found, RemoteProtocolError)


@given(message=arbitrary_messages())
def test_what_the_headers_refuse_the_whole_message_refuses(message: Message) -> None:
    try:
        headers = read_headers(message)
    except RemoteProtocolError as error:
        refusal = error
    else:
        assert (headers is None) == ("task" not in message.headers)
        return
    found = outcome(message)
    assert isinstance(found, RemoteProtocolError)
    assert (type(found), found.field) == (type(refusal), refusal.field)
