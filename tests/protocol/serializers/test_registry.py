"""Choosing a serializer by alias, a decoder by content type, and refusing what was not asked for."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac_protocol.errors import (
    EncodeError,
    Hint,
    LocalProtocolError,
    RefusedContentError,
    UndecodableBodyError,
)
from celeriac_protocol.serializers import (
    Encoded,
    MissingLibraryError,
    accept_set,
    dumps,
    get,
    label,
    loads,
    register,
    unregister,
)

JSON_ONLY = frozenset({"application/json"})
EVERYTHING = frozenset(
    {"application/json", "application/x-yaml", "application/x-msgpack", "application/nope"}
)


class Shouting:
    """Upper-case text, for want of a shorter serializer."""

    name = "shouting"
    content_type = "text/x-shouting"
    content_encoding = "us-ascii"

    def dumps(self, value: object) -> bytes:
        return str(value).upper().encode("ascii")

    def loads(self, data: bytes, content_encoding: str) -> object:
        if content_encoding == "absent-library":
            raise MissingLibraryError("needs something")
        return data.decode(content_encoding)

    def require(self) -> None:
        return None


def test_dumps_names_how_to_read_the_body() -> None:
    assert dumps([1]) == Encoded("application/json", "utf-8", b"[1]")


def test_only_an_alias_selects_an_encoder() -> None:
    for name in ("application/json", "nope", ""):
        with pytest.raises(LocalProtocolError, match="expected one of"):
            dumps([1], name)


def test_raw_passes_text_and_bytes_through() -> None:
    assert dumps("é", "raw") == Encoded("application/data", "utf-8", "é".encode())
    assert dumps(b"\xff", "raw") == Encoded("application/data", "binary", b"\xff")
    with pytest.raises(EncodeError):
        dumps([1], "raw")
    with pytest.raises(EncodeError):
        dumps("\ud800", "raw")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-python-serialize",
        "application/JSON",
        "application/json; charset=utf-8",
        "text/plain",
        "\ud800",
    ],
)
def test_an_unaccepted_content_type_is_refused_before_decoding(content_type: str) -> None:
    with pytest.raises(RefusedContentError) as caught:
        loads(b"\x80\x04.", content_type, "binary", JSON_ONLY)
    assert caught.value.hint is Hint.REJECT
    assert caught.value.field == "properties['content_type']"


@pytest.mark.parametrize("content_type", [None, "", "application/data", "application/text"])
def test_plain_data_is_let_through_as_text(content_type: str | None) -> None:
    assert loads("é".encode(), content_type, None, JSON_ONLY) == "é"
    assert loads(b"\xe9", content_type, "ISO-8859-1", JSON_ONLY) == "é"
    assert loads(b"\xff", content_type, "BINARY", JSON_ONLY) == b"\xff"


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "nope", "zlib", "hex", "idna", "punycode", "unicode_escape", "x" * 10_000, "a\0b"],
)
def test_text_in_no_known_character_set_is_undecodable(encoding: str) -> None:
    with pytest.raises(UndecodableBodyError):
        loads(b"\xff\xff", "application/data", encoding, JSON_ONLY)


def test_json_ignores_the_content_encoding() -> None:
    for encoding in (None, "", "nonsense", "binary"):
        assert loads(b"[1]", "application/json", encoding, JSON_ONLY) == [1]


def test_an_empty_body_comes_back_as_it_is() -> None:
    assert loads(b"", "application/json", "utf-8", JSON_ONLY) == b""


def test_accept_set_takes_aliases_and_content_types() -> None:
    assert accept_set(["json", "application/x-nope"]) == {"application/json", "application/x-nope"}
    assert accept_set([]) == frozenset()
    with pytest.raises(LocalProtocolError):
        accept_set(["nope"])


def test_a_registered_serializer_is_found_by_both_names_until_it_goes() -> None:
    serializer = Shouting()
    register(serializer)
    try:
        assert get("shouting") is serializer
        assert dumps("abc", "shouting").data == b"ABC"
        accepted = accept_set(["shouting"])
        assert loads(b"ABC", "text/x-shouting", "us-ascii", accepted) == "ABC"
        with pytest.raises(UndecodableBodyError, match="a valid shouting document"):
            loads(b"\xff", "text/x-shouting", "us-ascii", accepted)
        with pytest.raises(UndecodableBodyError) as caught:
            loads(b"A", "text/x-shouting", "absent-library", accepted)
        assert caught.value.hint is Hint.REQUEUE
        with pytest.raises(EncodeError, match="UnicodeEncodeError"):
            dumps("é", "shouting")
        assert label("text/x-shouting") == "shouting (text/x-shouting)"
    finally:
        unregister("shouting")
    assert label("text/x-shouting") == "text/x-shouting (text/x-shouting)"
    with pytest.raises(LocalProtocolError):
        get("shouting")


@given(
    st.binary(max_size=60),
    st.none() | st.sampled_from([*sorted(EVERYTHING), "application/data", "x/y"]) | st.text(),
    st.none() | st.sampled_from(["utf-8", "utf-16", "binary", "utf-7", "idna"]) | st.text(),
)
def test_any_body_gives_a_value_or_a_remote_error(
    data: bytes, content_type: str | None, content_encoding: str | None
) -> None:
    with contextlib.suppress(RefusedContentError, UndecodableBodyError):
        loads(data, content_type, content_encoding, EVERYTHING)
