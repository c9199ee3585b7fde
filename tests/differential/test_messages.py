"""Ours and the real Celery make the same of the same message, or both refuse it.

The real worker is a process that is only talked to (`celeriac_conformance.drivers.fuzz_driver`). What is meant to be
different is listed in `tests/differential/justified.py`, and nowhere else.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac_protocol.message import Message, Properties
from celeriac_protocol.strategies import (
    arbitrary_messages,
    broken_messages,
    messages,
    mutated_messages,
    plain_signatures,
    task_messages,
)
from celeriac_protocol.task import STANDARD_HEADERS
from tests.differential.account import Account
from tests.differential.justified import JUSTIFIED
from tests.differential.sides import NAMES

EXAMPLES = settings().max_examples
KNOWN = st.sampled_from(NAMES)
PLAIN = messages(tasks=task_messages(names=KNOWN, parts=plain_signatures()))


def _named(message: Message, name: str | None) -> Message:
    if name is None or not message.headers:
        return message
    return replace(message, headers={"id": "an-id", **message.headers, "task": name})


def _mutations(message: Message) -> st.SearchStrategy[list[Message]]:
    """Several mutants of one message: making the message takes longer than comparing it."""
    mutants = mutated_messages(originals=st.just(message), max_mutations=3)
    return st.lists(mutants, min_size=1, max_size=12)


@given(PLAIN)
def test_a_legal_message_is_the_same_to_both(account: Account, message: Message) -> None:
    account.agree(message)


@settings(max_examples=max(10, EXAMPLES // 5))
@given(messages(tasks=task_messages(names=KNOWN | st.just("fuzz.unknown"))))
def test_a_legal_message_with_any_workflow_is_the_same_to_both(
    account: Account, message: Message
) -> None:
    account.agree(message)


@settings(max_examples=max(10, EXAMPLES // 4))
@given(PLAIN.flatmap(_mutations))
def test_mutants_of_a_legal_message_are_the_same_to_both(
    account: Account, mutants: list[Message]
) -> None:
    for message in mutants:
        account.agree(message)


@given(broken_messages(names=KNOWN).map(lambda broken: broken.message))
def test_a_message_with_one_thing_wrong_is_the_same_to_both(
    account: Account, message: Message
) -> None:
    account.agree(message)


@given(st.builds(_named, arbitrary_messages(), st.none() | KNOWN))
def test_arbitrary_headers_properties_and_bytes_are_the_same_to_both(
    account: Account, message: Message
) -> None:
    account.agree(message)


TIMES = (
    *("2000-01-01T00:00:20.001987+00:30", "20000101T000020,5Z", "2000-W05-3T24:00"),
    *("2000-123 12:30-0530", "2100-01-01T12:30:45", "2000-01", "2000W053"),
)


@st.composite
def _misprints(draw: st.DrawFn) -> list[str]:
    """Times with up to three characters written over, put in or left out."""
    texts = []
    for _ in range(draw(st.integers(1, 10))):
        text = draw(st.sampled_from(TIMES))
        for _ in range(draw(st.integers(1, 3))):
            place = draw(st.integers(0, len(text)))
            new = draw(st.sampled_from([*"0123456789+-:.,TZzW _é", "\t", ""]))
            text = text[:place] + new + text[place + draw(st.integers(0, 1)) :]
        texts.append(text)
    return texts


@given(_misprints())
def test_a_misprinted_time_is_the_same_to_both(account: Account, texts: list[str]) -> None:
    for text in texts:
        account.agree(_v2(eta=text))


# -- every field with every odd value --------------------------------------------------------------

ODD: tuple[object, ...] = (
    *(None, True, False, 0, 1, -1, 5, 2**31, 2**63 - 1, 10**30, 0.0, -0.5, 1.5, 1e300),
    *("", " ", "0", "5", "x", "2030", "20300101T000000Z", "2030-01-01 00:00", "1970-02-30"),
    *("2030-W01", "24:00", "é" * 50, "\x00", b"", b"5", b"\xff"),
    *([], [None], [None, None], [0, 0], ["5", "7"], [1, 2, 3], [{}], {}, {"task": "x"}, {"x": 1}),
)
_JSON_ODD = tuple(value for value in ODD if not isinstance(value, bytes))
V1_KEYS = (
    *("id", "args", "kwargs", "group", "group_index", "retries", "eta", "expires", "utc"),
    *("callbacks", "errbacks", "timelimit", "taskset", "chord", "root_id", "parent_id", "shadow"),
    *("lang", "origin", "argsrepr", "kwargsrepr", "ignore_result", "stamps", "x-other"),
)
EMBED_KEYS = ("callbacks", "errbacks", "chain", "chord", "group", "retries", "id", "x-other")


def _message(headers: dict[str, object], body: object) -> Message:
    properties = Properties(content_type="application/json", content_encoding="utf-8")
    return Message(headers, properties, json.dumps(body).encode())


def _v2(body: object = ([2, 3], {"a": 1}, {}), **headers: object) -> Message:
    return _message({"task": "fuzz.probe", "id": "an-id", **headers}, body)


def _v1(headers: dict[str, object] | None = None, **fields: object) -> Message:
    body = {"task": "fuzz.probe", "id": "an-id", "args": [2, 3], "kwargs": {"a": 1}, **fields}
    return _message(headers or {}, body)


@pytest.mark.parametrize("name", [*STANDARD_HEADERS, "compression", "meth", "x-other"])
def test_a_header_with_an_odd_value_is_the_same_to_both(account: Account, name: str) -> None:
    for value in ODD:
        account.agree(_v2(**{name: value}))
        account.agree(_v1({name: value}))


@pytest.mark.parametrize("name", V1_KEYS)
def test_a_field_of_a_protocol_1_body_with_an_odd_value_is_the_same_to_both(
    account: Account, name: str
) -> None:
    for value in _JSON_ODD:
        account.agree(_v1({}, **{name: value}))


@pytest.mark.parametrize("name", EMBED_KEYS)
def test_a_key_of_the_embed_with_an_odd_value_is_the_same_to_both(
    account: Account, name: str
) -> None:
    for value in _JSON_ODD:
        account.agree(_v2([[2, 3], {}, {name: value}]))
        account.agree(_v2([[2, 3], {}, {name: value}], group="a-group"))


@pytest.mark.parametrize("place", range(3))
def test_an_element_of_the_body_with_an_odd_value_is_the_same_to_both(
    account: Account, place: int
) -> None:
    for value in _JSON_ODD:
        body: list[object] = [[2, 3], {"a": 1}, {}]
        body[place] = value
        account.agree(_v2(body))


# -- the list of what is meant ---------------------------------------------------------------------


def test_a_call_of_a_task_that_every_app_has_is_not_compared(account: Account) -> None:
    compared = account.fates.total()
    account.agree(_v1(task="celery.accumulate"))
    assert account.fates.total() == compared


EXPIRED = _v2(expires="2000-01-01T00:00:00")
NEEDED_BY: dict[str, Message] = {
    "their-worker-ends": _v2(timelimit=[1]),
    "links-checked-first": _v2([[2, 3], {}, {"callbacks": [5]}]),
    "embed-checked-first": _v2([[2, 3], {}, False]),
    "unusable-id": _v2(id=None),
    "relatives-are-text": _v2(group=["x"]),
    "stamps-are-a-mapping": _v2(stamps=["x"]),
    "limits-are-two-numbers": _v2(timelimit=["x", None]),
    "keywords-read-when-due": _v2([[2, 3], None, {}], eta="2099-01-01T00:00:00"),
    "times-are-digits": _v2(eta="2000-01-01T12:30:5"),
    "ordinal-day-before-a-blank": _v2(eta="2000123 12:30"),
    "arguments-are-a-list": _v2(["ab", {}, {}]),
    "protocol-1-read-as-a-whole": _v1(task="fuzz.unknown", args=5),
    "headers-before-the-name": _v2(task="fuzz.unknown", eta="garbage"),
    "expired-whatever-the-body": replace(EXPIRED, body=b"{"),
    "headers-before-the-body": replace(_v2(eta="garbage"), body=b"{"),
    "protocol-1-group-index": _v1(group_index=3),
    "protocol-1-taskset": _v1(taskset="a-group"),
    "protocol-1-meth": _v1(),
    "embed-does-not-rename": _v2([[2, 3], {}, {"retries": 7}]),
    "chord-without-group": _v2([[2, 3], {}, {"chord": 5}]),
    "numbers-as-text": _v2(group=7),
    "limits-as-numbers": _v2(timelimit=["5", "7"]),
    "display-as-text": _v2(lang=["js"]),
    "counters-are-integers": _v2(retries="x"),
    "ignore-result-resolved": _v2(ignore_result=None),
    "utc-filled-in": _v2(),
}
"""For each label a message that needs it."""


def test_every_label_is_given_once_and_has_a_message() -> None:
    labels = [each.label for each in JUSTIFIED]
    assert sorted(labels) == sorted(NEEDED_BY)


@pytest.mark.parametrize("label", [each.label for each in JUSTIFIED])
def test_a_disagreement_that_is_meant_is_still_there(account: Account, label: str) -> None:
    before = account.excused[label]
    account.agree(NEEDED_BY[label])
    assert account.excused[label] > before
