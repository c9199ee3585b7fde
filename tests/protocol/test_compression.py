"""Compression: the header it names, the streams it reads, and the cap it never passes."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac_protocol.compression import METHODS, compress, content_type_of, decompress
from celeriac_protocol.errors import (
    LocalProtocolError,
    RemoteProtocolError,
    TooLargeError,
    UndecodableBodyError,
)

CAP = 1_000_000
ALIASES = {
    "gzip": "application/x-gzip",
    "zlib": "application/x-gzip",
    "bzip2": "application/x-bz2",
    "bzip": "application/x-bz2",
    "lzma": "application/x-lzma",
    "xz": "application/x-lzma",
    "brotli": "application/x-brotli",
    "zstd": "application/zstd",
    "zstandard": "application/zstd",
}
ONE_EACH = ["gzip", "bzip2", "lzma", "brotli", "zstd"]
BODY = b'[[2, 3], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'


@pytest.mark.parametrize(("alias", "content_type"), ALIASES.items())
def test_an_alias_and_its_content_type_mean_the_same(alias: str, content_type: str) -> None:
    header, data = compress(BODY, alias)
    assert header == content_type
    assert compress(BODY, content_type)[0] == content_type
    assert decompress(data, alias, cap=CAP) == BODY
    assert decompress(data, content_type, cap=CAP) == BODY
    assert content_type_of(alias) == content_type


def test_gzip_is_a_zlib_stream_and_equals_the_captured_one() -> None:
    header, data = compress(BODY, "gzip")
    assert header == "application/x-gzip"
    assert data.startswith(bytes.fromhex("789c8b8e36d2"))
    assert data == zlib.compress(BODY)
    assert len(data) == 59


def test_a_real_gzip_file_is_refused() -> None:
    with pytest.raises(UndecodableBodyError):
        decompress(gzip.compress(BODY), "application/x-gzip", cap=CAP)


@pytest.mark.parametrize("method", ["nope", "", "application/x-nope", "GZIP"])
def test_an_unknown_method_stops_the_producer(method: str) -> None:
    with pytest.raises(LocalProtocolError):
        compress(BODY, method)


@pytest.mark.parametrize("method", ["application/x-nope", "nope", ["gzip"], {"a": 1}, 5, b"gzip"])
def test_an_unknown_method_makes_a_body_undecodable(method: object) -> None:
    with pytest.raises(UndecodableBodyError) as caught:
        decompress(BODY, method, cap=CAP)
    assert caught.value.field == "headers['compression']"


@pytest.mark.parametrize("method", ["", None])
def test_a_falsy_method_means_not_compressed(method: object) -> None:
    assert decompress(BODY, method, cap=0) == BODY


@pytest.mark.parametrize("alias", ONE_EACH)
@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: d[:1], lambda d: b"junk" + d])
def test_a_damaged_stream_is_undecodable(alias: str, damage: Callable[[bytes], bytes]) -> None:
    data = compress(BODY, alias)[1]
    with pytest.raises(UndecodableBodyError):
        decompress(damage(data), alias, cap=CAP)


@pytest.mark.parametrize(
    ("alias", "expected"),
    [("gzip", BODY), ("bzip2", BODY), ("lzma", BODY), ("brotli", None), ("zstd", None)],
)
def test_trailing_garbage_is_handled_as_kombu_does(alias: str, expected: bytes | None) -> None:
    data = compress(BODY, alias)[1] + b"junk"
    if expected is None:
        with pytest.raises(UndecodableBodyError):
            decompress(data, alias, cap=CAP)
    else:
        assert decompress(data, alias, cap=CAP) == expected


@pytest.mark.parametrize(("alias", "times"), [("gzip", 1), ("bzip2", 2), ("lzma", 2), ("zstd", 2)])
def test_a_second_stream_is_handled_as_kombu_does(alias: str, times: int) -> None:
    data = compress(BODY, alias)[1] * 2
    assert decompress(data, alias, cap=CAP) == BODY * times


@pytest.mark.parametrize(
    ("alias", "empty_stream"),
    [
        ("bzip2", bz2.compress(b"")),
        ("lzma", lzma.compress(b"")),
        ("zstd", compress(b"", "zstd")[1]),
    ],
)
def test_thousands_of_empty_streams_are_refused_not_walked(alias: str, empty_stream: bytes) -> None:
    with pytest.raises(UndecodableBodyError, match="more than 64"):
        decompress(empty_stream * 10_000, alias, cap=CAP)


@pytest.mark.parametrize("alias", ONE_EACH)
@pytest.mark.parametrize("size", [1, 1000, 70_000])
def test_the_cap_is_exact(alias: str, size: int) -> None:
    data = compress(b"a" * size, alias)[1]
    assert len(decompress(data, alias, cap=size)) == size
    with pytest.raises(TooLargeError):
        decompress(data, alias, cap=size - 1)


@pytest.mark.parametrize("alias", ONE_EACH)
def test_a_bomb_never_takes_more_memory_than_the_cap_and_a_little(alias: str) -> None:
    bomb = compress(bytes(50_000_000), alias)[1]
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            decompress(bomb, alias, cap=CAP)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Beyond the output: bzip2 works on blocks of 900 kB, xz keeps the dictionary its header asks for, 8 MiB here.
    assert peak < 3 * CAP + (9_000_000 if alias == "lzma" else 4_000_000)


@pytest.mark.parametrize("alias", ["bzip2", "lzma", "zstd"])
def test_two_streams_share_one_cap(alias: str) -> None:
    data = compress(b"a" * 600, alias)[1] * 2
    with pytest.raises(TooLargeError):
        decompress(data, alias, cap=1000)


def test_a_dictionary_of_gigabytes_is_refused() -> None:
    data = bytearray(lzma.compress(BODY, format=lzma.FORMAT_ALONE))
    assert decompress(bytes(data), "lzma", cap=CAP) == BODY
    # Bytes 1 to 4 of this old format are the size of the dictionary, which the reader has to allocate.
    data[1:5] = (1 << 31).to_bytes(4, "little")
    with pytest.raises(UndecodableBodyError, match="Memory usage limit"):
        decompress(bytes(data), "lzma", cap=CAP)


@pytest.mark.parametrize("alias", ONE_EACH)
@given(st.binary(max_size=2000))
def test_decompression_undoes_compression(alias: str, body: bytes) -> None:
    header, data = compress(body, alias)
    assert decompress(data, header, cap=len(body)) == body


@settings(max_examples=200)
@given(st.binary(max_size=200), st.sampled_from(sorted(METHODS)), st.integers(0, 50))
def test_any_bytes_give_at_most_the_cap_or_a_remote_error(
    data: bytes, method: str, cap: int
) -> None:
    try:
        out = decompress(data, method, cap=cap)
    except RemoteProtocolError:
        return
    assert len(out) <= cap


@given(st.data(), st.sampled_from(ONE_EACH))
def test_a_flipped_byte_gives_at_most_the_cap_or_a_remote_error(
    data: st.DataObject, alias: str
) -> None:
    body = bytearray(compress(BODY * 20, alias)[1])
    position = data.draw(st.integers(0, len(body) - 1))
    body[position] ^= data.draw(st.integers(1, 255))
    try:
        out = decompress(bytes(body), alias, cap=2000)
    except RemoteProtocolError:
        return
    assert len(out) <= 2000
