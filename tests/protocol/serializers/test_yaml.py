"""YAML, the safe part, with aliases counted as if written out."""

from __future__ import annotations

import contextlib
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac_protocol.errors import EncodeError, RemoteProtocolError, UndecodableBodyError
from celeriac_protocol.serializers import accept_set, dumps, loads

ACCEPT = accept_set(["yaml"])

NESTED_ALIASES = b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 10)) for n in range(9)
)
NESTED_MERGES = b"a: &a {k: v}\n" + b"".join(
    b"%c: &%c\n  <<: [*%c,*%c]\n" % (98 + n, 98 + n, 97 + n, 97 + n) for n in range(24)
)


def read(data: bytes) -> object:
    return loads(data, "application/x-yaml", "utf-8", ACCEPT)


def test_a_plain_call_is_written_byte_for_byte_as_celery_does() -> None:
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    encoded = dumps(((1, 2), {}, embed), "yaml")
    assert encoded == (
        "application/x-yaml",
        "utf-8",
        b"- - 1\n  - 2\n- {}\n- callbacks: null\n  chain: null\n  chord: null\n  errbacks: null\n",
    )
    assert read(encoded.data) == [[1, 2], {}, embed]


def test_signatures_and_other_classes_cannot_travel() -> None:
    class Signature(dict[str, object]):
        pass

    for value in (Signature(), object(), 1j):
        with pytest.raises(EncodeError):
            dumps(value, "yaml")


def test_a_shared_value_travels_as_an_alias() -> None:
    shared = [1]
    data = dumps([shared, shared], "yaml").data
    assert b"&id001" in data
    assert read(data) == [[1], [1]]


def test_dates_and_binary_are_part_of_yaml() -> None:
    value = [date(2020, 1, 2), b"\xff", {"é"}]
    assert read(dumps(value, "yaml").data) == value


def test_a_byte_order_mark_decides_the_encoding() -> None:
    assert read("\ufeff[é]".encode("utf-16-le")) == ["é"]
    assert read("\ufeff[é]".encode()) == ["é"]


def test_a_document_of_nothing_is_none() -> None:
    assert read(b"# nothing\n") is None


@pytest.mark.parametrize("data", [NESTED_ALIASES, NESTED_MERGES])
def test_a_document_that_explodes_is_refused_before_it_does(data: bytes) -> None:
    with pytest.raises(UndecodableBodyError, match="aliases written out"):
        read(data)


@pytest.mark.parametrize("data", [b"&a [*a]", b"&a {x: *a}", b"? &a [*a]\n: 1"])
def test_a_document_that_contains_itself_is_refused(data: bytes) -> None:
    with pytest.raises(UndecodableBodyError, match="contain itself"):
        read(data)


@pytest.mark.parametrize(
    "data",
    [
        b"[",
        b"[" * 3000,
        b"- " * 3000,
        b"!!python/object:os.system x",
        b"!!python/name:os.system",
        b"\xff",
        b"{[]: 1}",
        b"2001-99-99",
        b"a\n---\nb",
        b"*x",
        b"%YAML 9",
        b"1" * 5000,
    ],
)
def test_a_broken_document_is_an_undecodable_body(data: bytes) -> None:
    with pytest.raises(UndecodableBodyError):
        read(data)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES.filter(lambda value: value not in ("", b"")))
def test_plain_values_survive(value: object) -> None:
    with contextlib.suppress(EncodeError):
        assert read(dumps(value, "yaml").data) == value


@given(
    st.binary(max_size=40) | st.text(alphabet="[]{}&*a:-? !|>'\"\n#1.", max_size=40).map(str.encode)
)
def test_any_bytes_give_a_value_or_a_remote_error(data: bytes) -> None:
    try:
        value = read(data)
    except RemoteProtocolError:
        return
    assert repr(value)
