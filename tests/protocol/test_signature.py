"""Signatures: the forms we build, the faults we name, and what a tolerant reader fills in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from celeriac_protocol.errors import InvalidTaskError
from celeriac_protocol.signature import (
    SIGNATURE_KEYS,
    chain_dict,
    check_signature,
    check_signatures,
    chord_dict,
    chunks_dict,
    group_dict,
    map_dict,
    normalize,
    signature_dict,
    starmap_dict,
)
from tests.protocol.sample_files import sample

ADD = signature_dict("t.add", [1, 1])
SUM = signature_dict("t.sum")


def test_a_signature_is_built_in_wire_order() -> None:
    form = signature_dict("proj.add", (3,), {"k": 1}, {"task_id": "x"}, "chain", immutable=True)
    assert tuple(form) == SIGNATURE_KEYS
    assert json.dumps(signature_dict("proj.add", (5,))) == (
        '{"task": "proj.add", "args": [5], "kwargs": {}, "options": {}, "subtask_type": null, '
        '"immutable": false}'
    )


def test_chord_size_is_written_only_when_given_and_before_immutable() -> None:
    assert list(signature_dict("t", chord_size=None)) == [
        "task", "args", "kwargs", "options", "subtask_type", "chord_size", "immutable",
    ]  # fmt: skip
    assert signature_dict("t", chord_size=2)["chord_size"] == 2


def test_what_is_built_shares_no_container_with_what_it_was_built_from() -> None:
    args, options = [1], {"queue": "q"}
    form = signature_dict("t", args, None, options)
    args.append(2)
    options["queue"] = "other"
    assert (form["args"], form["options"]) == ([1], {"queue": "q"})


def test_the_primitives_have_the_documented_forms() -> None:
    assert chain_dict([ADD, SUM]) == {
        "task": "celery.chain", "args": [], "kwargs": {"tasks": [ADD, SUM]}, "options": {},
        "subtask_type": "chain", "immutable": False,
    }  # fmt: skip
    assert group_dict(iter([ADD]), {"task_id": "g"}) == {
        "task": "celery.group", "args": [], "kwargs": {"tasks": [ADD]}, "options": {"task_id": "g"},
        "subtask_type": "group", "immutable": False,
    }  # fmt: skip
    assert chord_dict([ADD], SUM) == {
        "task": "celery.chord", "args": [],
        "kwargs": {"kwargs": {}, "header": [ADD], "body": SUM}, "options": {},
        "subtask_type": "chord", "immutable": False,
    }  # fmt: skip
    assert chord_dict(group_dict([ADD]), SUM, {"k": 1})["kwargs"] == {
        "kwargs": {"k": 1}, "header": group_dict([ADD]), "body": SUM,
    }  # fmt: skip
    assert list(chord_dict([ADD], SUM)["kwargs"]) == ["kwargs", "header", "body"]  # type: ignore[call-overload]
    assert map_dict(ADD, range(2)) == {
        "task": "celery.map", "args": [], "kwargs": {"task": ADD, "it": [0, 1]}, "options": {},
        "subtask_type": None, "immutable": True,
    }  # fmt: skip
    assert starmap_dict(ADD, [(1, 2)])["task"] == "celery.starmap"
    assert chunks_dict(ADD, [(1, 2)], 10)["kwargs"] == {"task": ADD, "it": [(1, 2)], "n": 10}


GOOD = {
    "plain": ADD,
    "missing all that may be": {"task": "t", "options": {}},
    "null args and kwargs": {"task": "t", "args": None, "kwargs": None, "options": {}},
    "unknown keys": {**ADD, "more": 1, "chord_size": None},
    "empty chain": chain_dict([]),
    "nested": chain_dict([ADD, group_dict([ADD, chord_dict(group_dict([ADD]), SUM)])]),
    "bare link": signature_dict("t", options={"link": ADD, "link_error": [ADD, SUM]}),
    "null options": signature_dict(
        "t", options={"link": None, "link_error": None, "chord": None, "chain": None, "priority": None}
    ),
    "5.7 chord body with the rest of the chain": signature_dict(
        "t", options={"chain": [ADD], "root_id": "r", "chord": SUM}
    ),
    "doubly wrapped chord kwargs": {
        **chord_dict([ADD], SUM), "kwargs": {"kwargs": {"kwargs": {}}, "header": [], "body": SUM},
    },
    "tuples, as pickle keeps them": {**ADD, "args": (1,), "options": {"link": (ADD,)}},
}  # fmt: skip


@pytest.mark.parametrize("form", GOOD.values(), ids=GOOD)
def test_a_legal_signature_passes_as_it_is(form: dict[str, Any]) -> None:
    assert check_signature(form, "x") is form


BAD: list[tuple[object, str, str]] = [
    (None, "x", "null"),
    ("t.add", "x", "a text"),
    ([ADD], "x", "a list"),
    ({"options": {}}, "x['task']", "no task"),
    ({**ADD, "task": 5}, "x['task']", "task a number"),
    ({**ADD, "task": ""}, "x['task']", "task empty"),
    ({"task": "t"}, "x['options']", "no options"),
    ({**ADD, "options": None}, "x['options']", "options null"),
    ({**ADD, "options": []}, "x['options']", "options a list"),
    ({**ADD, "args": "ab"}, "x['args']", "args a text"),
    ({**ADD, "args": {}}, "x['args']", "args a mapping"),
    ({**ADD, "kwargs": [1]}, "x['kwargs']", "kwargs a list"),
    ({**ADD, "kwargs": {1: 2}}, "x['kwargs']", "kwargs with a number for a key"),
    ({**ADD, "subtask_type": "bogus"}, "x['subtask_type']", "unknown type"),
    ({**ADD, "subtask_type": []}, "x['subtask_type']", "type a list"),
    ({**ADD, "subtask_type": "chain"}, "x['kwargs']['tasks']", "chain without tasks"),
    (group_dict(["add", "args"]), "x['kwargs']['tasks'][0]", "the key names of 4.0.2"),  # type: ignore[list-item]
    (chain_dict([ADD, {"task": "t"}]), "x['kwargs']['tasks'][1]['options']", "a bad step"),
    (chord_dict([ADD, 5], SUM), "x['kwargs']['header'][1]", "a bad header task"),  # type: ignore[list-item]
    (chord_dict([ADD], None), "x['kwargs']['body']", "no body"),  # type: ignore[arg-type]
    ({**chord_dict([], SUM), "kwargs": {"body": SUM}}, "x['kwargs']['header']", "no header"),
    (signature_dict("t", options={"link": "x"}), "x['options']['link']", "link a text"),
    (signature_dict("t", options={"link_error": [5]}), "x['options']['link_error'][0]", "bad errback"),
    (signature_dict("t", options={"chord": [SUM]}), "x['options']['chord']", "chord a list"),
    (signature_dict("t", options={"chain": SUM}), "x['options']['chain']", "chain no list"),
    (
        chain_dict([chord_dict([signature_dict("t", options={"chord": {"task": "t"}})], SUM)]),
        "x['kwargs']['tasks'][0]['kwargs']['header'][0]['options']['chord']['options']",
        "deep inside",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("form", "field"), [row[:2] for row in BAD], ids=[row[2] for row in BAD])
def test_a_fault_is_named_by_its_whole_path(form: object, field: str) -> None:
    with pytest.raises(InvalidTaskError) as caught:
        check_signature(form, "x")
    assert caught.value.field == field


def test_the_first_fault_in_reading_order_is_the_one_reported() -> None:
    with pytest.raises(InvalidTaskError) as caught:
        check_signatures([chain_dict([ADD, {}]), {}], "body[2]['callbacks']")
    assert caught.value.field == "body[2]['callbacks'][0]['kwargs']['tasks'][1]['task']"


def test_a_list_is_required_where_a_list_belongs() -> None:
    with pytest.raises(InvalidTaskError) as caught:
        check_signatures(ADD, "body[2]['callbacks']")
    assert (caught.value.field, caught.value.expected) == (
        "body[2]['callbacks']", "a list of signatures",
    )  # fmt: skip
    assert check_signatures((ADD,), "x") == (ADD,)


def test_nesting_far_past_the_recursion_limit_is_no_trouble() -> None:
    form = signature_dict("t")
    for _ in range(20_000):
        form = signature_dict("t", options={"link": [form]})
    assert check_signature(form, "x") is form
    bottom: Any = {"task": "t"}
    for _ in range(20_000):
        bottom = signature_dict("t", options={"link": bottom})
    with pytest.raises(InvalidTaskError) as caught:
        check_signature(bottom, "x")
    assert caught.value.field.endswith("['link']['options']")


def test_shared_and_cyclic_structures_are_walked_once() -> None:
    form = signature_dict("t")
    form["options"] = {"link": form}
    assert check_signature(form, "x") is form
    bomb = signature_dict("t")
    for _ in range(200):
        bomb = group_dict([bomb, bomb])
    assert check_signature(bomb, "x") is bomb


def test_normalizing_fills_what_may_be_missing_and_keeps_the_rest() -> None:
    assert normalize({"options": {}, "task": "t", "more": 1}) == {
        "task": "t", "args": [], "kwargs": {}, "options": {}, "subtask_type": None,
        "immutable": False, "more": 1,
    }  # fmt: skip
    assert list(normalize({"options": {}, "task": "t"})) == list(SIGNATURE_KEYS)
    old = {**SUM, "chord_size": 2, "immutable": 1, "args": None, "kwargs": None}
    assert normalize(old) == {**SUM, "immutable": True, "chord_size": 2}


@pytest.mark.parametrize(
    ("wrapped", "plain"),
    [
        ({}, {}),
        (None, {}),
        ({"kwargs": {}}, {}),
        ({"kwargs": {"kwargs": {"kwargs": {"x": 1}}}}, {"x": 1}),
        ({"kwargs": {}, "x": 1}, {"kwargs": {}, "x": 1}),
        ({"kwargs": 5}, {"kwargs": 5}),
        ({"kwargs": None}, {}),
    ],
)
def test_the_keyword_arguments_of_a_chord_are_unwrapped(wrapped: object, plain: object) -> None:
    form = chord_dict([ADD], SUM)
    form["kwargs"] = {"kwargs": wrapped, "header": [ADD], "body": SUM}
    assert normalize(form)["kwargs"] == {"kwargs": plain, "header": [ADD], "body": SUM}


def test_normalizing_a_broken_signature_names_the_fault() -> None:
    with pytest.raises(InvalidTaskError) as caught:
        normalize({"task": "t"}, "body[2]['chord']")
    assert caught.value.field == "body[2]['chord']['options']"


def test_the_signatures_of_the_captured_workflows_are_legal() -> None:
    for step in json.loads(sample("chain")["body"])[2]["chain"]:
        assert normalize(step) == step
    chord = json.loads(sample("chord")["body"])[2]["chord"]
    assert normalize(chord) == check_signature(chord, "x")
