"""The bounded text of arguments. Expected texts were taken from Celery 5.7.0."""

# ruff: noqa: DTZ001 - naive datetimes are part of what is tested

from __future__ import annotations

import collections
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac_protocol.reprs import saferepr


class Hostile:
    def __repr__(self) -> str:
        raise ValueError("x")


class DoublyHostile:
    class AngryError(Exception):
        def __repr__(self) -> str:
            raise self

    def __repr__(self) -> str:
        raise self.AngryError


class Phrase:
    def __repr__(self) -> str:
        return "ab cd ef"


class Word(StrEnum):
    YES = "yes"


Pair = collections.namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((2, 3), "(2, 3)"),
        ({}, "{}"),
        ((1,), "(1,)"),
        ((), "()"),
        ([1, 2], "[1, 2]"),
        ({"a": 1}, "{'a': 1}"),
        ({1}, "{1}"),
        (set(), "set()"),
        (frozenset(), "frozenset()"),
        (frozenset({1}), "frozenset({1})"),
        (Pair(1, 2), "(1, 2)"),
        (collections.OrderedDict(a=1), "{'a': 1}"),
        (collections.deque([1]), "deque([1])"),
        ("it's", "'it\\'s'"),
        ("a\nb\tc\\d", "'a\nb\tc\\d'"),
        ("é", "'é'"),
        (b"text", "b'text'"),
        (b"it's", "b'it's'"),
        (b"\xff\xfe", "b'fffe'"),
        (bytearray(b"x"), "bytearray(b'x')"),
        (None, "None"),
        (True, "True"),
        (1.5, "1.5"),
        (1 + 2j, "(1+2j)"),
        (Decimal("1.5"), "Decimal('1.5')"),
        (range(3), "range(0, 3)"),
        (datetime(2020, 1, 1), "datetime.datetime(2020, 1, 1, 0, 0)"),
        (Word.YES, "'yes'"),
        ({1: 2, "b": (1, 2)}, "{1: 2, 'b': (1, 2)}"),
    ],
)
def test_a_small_value_reads_like_its_repr(value: object, text: str) -> None:
    assert saferepr(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (([[[]]],), "([[[...]]],)"),
        ([[[(), [], {}, set(), {1}, (1,)]]], "[[[(...), [...], {...}, set(), {...}, (...,)]]]"),
        ({"a": {"b": {"c": {"d": 1}}}}, "{'a': {'b': {'c': {...}}}}"),
        ([[[{"x": frozenset({1})}]]], "[[[{...}]]]"),
    ],
)
def test_the_fourth_level_of_nesting_is_left_out(value: object, text: str) -> None:
    assert saferepr(value) == text


def test_the_nesting_limit_can_be_set_and_switched_off() -> None:
    assert saferepr([[1]], maxlevels=1) == "[[...]]"
    assert saferepr([[[[[1]]]]], maxlevels=0) == "[[[[[1]]]]]"
    assert saferepr({(1, (2,)): [3]}, maxlevels=1) == "{(1, (...,)): [...]}"


@pytest.mark.parametrize(
    ("value", "limit", "text"),
    [
        (["ab", "cd"], 1, "[, ...]"),
        (["ab", "cd"], 2, "['a...', ...]"),
        (["ab", "cd"], 5, "['ab', ...]"),
        (["ab", "cd"], 6, "['ab', , ...]"),
        (["ab", "cd"], 8, "['ab', 'c...']"),
        (["ab", "cd"], 10, "['ab', 'cd']"),
        (("abcdefghijkl",), 9, "('abcdefgh...',)"),
        ([[1, 2], [3, 4]], 6, "[[1, 2...], ...]"),
        ([[1, 2], [3, 4]], 10, "[[1, 2], [, ...]]"),
        ({"a": 1, "b": 2}, 3, "{'a', ...}"),
        ({"a": 1, "b": 2}, 5, "{'a': , ...}"),
        ({("x", (1,)): 5}, 3, "{('x...', ...), ...}"),
        (["a'b'c"], 3, "['a\\'...']"),
        ("ab cd ef", 6, "'ab cd...'"),
        ("ab cd ef", 5, "'ab...'"),
        (b"ab cd ef", 6, "b'ab cd ...'"),
        ([b"\xc3\xa9\xc3\xa9"], 4, "[b'c3a9c3...']"),
        ([range(3)], 11, "[range(0,...]"),
        ([Phrase(), 1], 8, "[ab cd..., ...]"),
        ([set(), 1], 6, "[set()..., ...]"),
        ([frozenset({1, 2}), 5], 5, "[frozenset({, ...})]"),
    ],
)
def test_a_used_up_budget_is_marked_and_every_bracket_closed(
    value: object, limit: int, text: str
) -> None:
    assert saferepr(value, limit) == text


def test_an_over_long_string_of_a_call_gives_1031_characters() -> None:
    text = saferepr(("x" * 5000,))
    assert len(text) == 1031
    assert text.endswith("x...',)")


def test_recursion_is_named_and_a_shared_value_is_not_recursion() -> None:
    looped: list[object] = [1]
    looped.append(looped)
    assert saferepr(looped) == f"[1, <Recursion on list with id={id(looped)}>]"
    shared = [1]
    assert saferepr([shared, shared]) == "[[1], [1]]"


def test_a_failing_repr_becomes_part_of_the_text() -> None:
    bad = Hostile()
    assert saferepr([bad]) == f"[<Unrepresentable {Hostile!r}{id(bad):#x}: ValueError('x')>]"
    assert saferepr(DoublyHostile()).endswith(": AngryError>")


def test_nesting_without_a_bound_ends_before_the_interpreter_does() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    text = saferepr(deep, limit=None, maxlevels=0)
    assert text.startswith("[[[[")
    assert text.endswith("...")
    while deep:
        deep = deep.pop()  # type: ignore[assignment]


VALUES = st.recursive(
    st.none() | st.integers(-99, 99) | st.text(alphabet="ab '", max_size=9) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=20,
)


@given(VALUES, st.integers(1, 200))
def test_a_text_passes_its_limit_by_little(value: object, limit: int) -> None:
    # The last token, an ellipsis after it, one ", ..." and closing brackets of four levels.
    assert len(saferepr(value, limit)) <= 2 * limit + 30


@given(VALUES)
def test_a_text_within_its_limit_is_the_unlimited_one(value: object) -> None:
    assert saferepr(value, 10_000) == saferepr(value, None)


@given(st.lists(st.integers() | st.booleans() | st.none(), max_size=6).map(tuple))
def test_plain_tuples_read_exactly_like_their_repr(value: tuple[object, ...]) -> None:
    assert saferepr(value) == repr(value)
