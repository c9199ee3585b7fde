"""Pickle: Celery's signatures without Celery, renamed globals, and the restricted reader."""

from __future__ import annotations

import contextlib
import io
import pickle
import pickletools
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac_protocol.errors import EncodeError, RefusedContentError, UndecodableBodyError
from celeriac_protocol.serializers import accept_set, dumps, loads
from celeriac_protocol.serializers.pickle import (
    PickleSerializer,
    add_resolver,
    loads_restricted,
    remove_resolver,
    rename_global,
)

# ruff: noqa: DTZ001 - a naive datetime does as well

ACCEPT = accept_set(["pickle"])
CONTENT_TYPE = "application/x-python-serialize"

SIGNATURE: dict[str, Any] = {
    "task": "t.a",
    "args": (1,),
    "kwargs": {},
    "options": {},
    "subtask_type": None,
    "immutable": False,
}
CELERYS_SIGNATURE = bytes.fromhex(
    "80049573000000000000008c0d63656c6572792e63616e766173948c097369676e61747572659493947d94288c04"
    "7461736b948c03742e61948c0461726773944b0185948c066b7761726773947d948c076f7074696f6e73947d948c"
    "0c7375627461736b5f74797065944e8c09696d6d757461626c65948975859452942e"
)
"""`celery.signature("t.a", (1,))`, pickled by Celery 5.7.0 with kombu's protocol."""


def rebuild(form: dict[str, Any]) -> Call:
    return Call(form)


class Call(dict[str, Any]):
    """A dict with behaviour, as signatures are."""

    def __reduce__(self) -> Any:
        return rebuild, (dict(self),)


class Meta(type):
    """Makes classes unhashable."""

    def __eq__(cls, other: object) -> bool:
        return cls is other

    __hash__ = None  # type: ignore[assignment]


class Unhashable(metaclass=Meta):
    pass


@pytest.fixture
def celerys_name() -> Iterator[None]:
    rename_global(rebuild, "celery.canvas", "signature")
    try:
        yield
    finally:
        rename_global(rebuild, None)


def read(data: bytes) -> Any:
    return loads(data, CONTENT_TYPE, "binary", ACCEPT)


def test_a_pickle_is_read_only_where_it_is_accepted() -> None:
    data = dumps([1], "pickle").data
    assert read(data) == [1]
    with pytest.raises(RefusedContentError):
        loads(data, CONTENT_TYPE, "binary", accept_set(["json", "yaml", "msgpack"]))


def test_it_writes_kombus_protocol_and_keeps_the_tuple() -> None:
    encoded = dumps(((2, 3), {}, {}), "pickle")
    assert encoded[:2] == (CONTENT_TYPE, "binary")
    assert encoded.data == pickle.dumps(((2, 3), {}, {}), protocol=4)
    assert read(encoded.data) == ((2, 3), {}, {})
    assert PickleSerializer(2).dumps([1]) == pickle.dumps([1], protocol=2)


def test_a_signature_of_celery_is_read_as_its_dict_form() -> None:
    form = read(CELERYS_SIGNATURE)
    assert type(form) is dict
    assert form == SIGNATURE


def test_a_resolver_decides_what_a_global_is() -> None:
    asked: list[tuple[str, str]] = []

    def resolve(module: str, name: str) -> object | None:
        asked.append((module, name))
        return Call if name == "signature" else None

    add_resolver(resolve)
    try:
        assert type(read(CELERYS_SIGNATURE)) is Call
        assert read(dumps(datetime(2020, 1, 1), "pickle").data) == datetime(2020, 1, 1)
    finally:
        remove_resolver(resolve)
        remove_resolver(resolve)
    assert asked == [("celery.canvas", "signature"), ("datetime", "datetime")]
    assert type(read(CELERYS_SIGNATURE)) is dict


@pytest.mark.usefixtures("celerys_name")
def test_a_renamed_function_goes_out_byte_for_byte_as_celerys() -> None:
    assert dumps(Call(SIGNATURE), "pickle").data == CELERYS_SIGNATURE


@pytest.mark.usefixtures("celerys_name")
def test_a_renamed_function_is_written_once_and_found_again() -> None:
    data = dumps([Call(SIGNATURE), {"x": Call(SIGNATURE)}, Unhashable, 1.5], "pickle").data
    names = [arg for opcode, arg, _ in pickletools.genops(data) if arg == "celery.canvas"]
    assert len(names) == 1
    assert read(data) == [SIGNATURE, {"x": SIGNATURE}, Unhashable, 1.5]


@pytest.mark.usefixtures("celerys_name")
def test_other_values_are_pickled_as_ever_while_a_name_is_registered() -> None:
    value = [1, {"a": (datetime(2020, 1, 1), Unhashable)}]
    assert dumps(value, "pickle").data == pickle.dumps(value, protocol=4)


def test_without_a_new_name_it_is_written_under_its_own() -> None:
    data = dumps(Call(SIGNATURE), "pickle").data
    assert type(read(data)) is Call


def test_what_cannot_be_pickled_is_named_in_the_error() -> None:
    with pytest.raises(EncodeError):
        dumps(lambda: None, "pickle")


@pytest.mark.parametrize(
    "data",
    [
        b"nope",
        b"\x80\x04",
        CELERYS_SIGNATURE[:-1],
        b"\x80\x04cnope.nowhere\nthing\n.",
        b"\x80\x04ccelery.canvas\n_no_such_thing_\n.",
        b"\x80\x04K\x01K\x02R.",
    ],
)
def test_a_broken_pickle_is_an_undecodable_body(data: bytes) -> None:
    with pytest.raises(UndecodableBodyError):
        read(data)


def test_the_restricted_reader_takes_plain_data() -> None:
    value = [1, 2.5, "a", b"b", None, True, (1,), {"k": {1}}, frozenset({2}), bytearray(b"x"), 1j]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert loads_restricted(pickle.dumps([1, "a", {"k": (2,)}], protocol=protocol)) == [
            1,
            "a",
            {"k": (2,)},
        ]
    assert loads_restricted(pickle.dumps(value, protocol=4)) == value


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"c__builtin__\ngetattr\n.",
        pickle.dumps(datetime(2020, 1, 1)),
        CELERYS_SIGNATURE,
        b"nope",
        b"",
    ],
)
def test_the_restricted_reader_refuses_everything_else(data: bytes) -> None:
    with pytest.raises(UndecodableBodyError):
        loads_restricted(data)


def test_the_restricted_reader_takes_what_it_is_told_to() -> None:
    data = pickle.dumps(datetime(2020, 1, 1))
    allowed: dict[tuple[str, str], object] = {("datetime", "datetime"): datetime}
    assert loads_restricted(data, allowed) == datetime(2020, 1, 1)


@given(st.binary(max_size=60))
def test_the_restricted_reader_gives_a_value_or_a_remote_error(data: bytes) -> None:
    with contextlib.suppress(UndecodableBodyError):
        loads_restricted(b"\x80\x04" + data)


def test_the_captured_signature_is_what_the_documentation_says() -> None:
    out = io.StringIO()
    pickletools.dis(CELERYS_SIGNATURE, out)
    assert "'celery.canvas'" in out.getvalue()
    assert "STACK_GLOBAL" in out.getvalue()
