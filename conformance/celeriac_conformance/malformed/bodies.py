"""Bodies that are not what the headers say, or not what a call looks like."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zlib
from collections.abc import Iterator
from typing import Any

from celeriac_conformance.malformed.entry import (
    EMBED,
    FAILED,
    FREE,
    JSON,
    MARKER,
    REFUSED,
    RUN,
    Malformed,
    good_body,
    v2,
)

__all__ = ["bodies", "contents"]

_BOMB_BYTES = 300 * 1024 * 1024


def bodies() -> Iterator[Malformed]:
    """Yield messages whose body is wrong once decoded, or cannot be decoded."""
    texts = {
        "empty": b"",
        "null": b"null",
        "number": b"7",
        "boolean": b"true",
        "text": b'"abcd"',
        "text-of-three": b'"abc"',
        "empty-list": b"[]",
        "one-item": b'[["@MARKER@"]]',
        "two-items": b'[["@MARKER@"], {}]',
        "four-items": b'[["@MARKER@"], {}, {}, {}]',
        "empty-mapping": b"{}",
        "broken-json": b'[["@MARKER@"], {}, {',
        "trailing-garbage": b'[["@MARKER@"], {}, {}] x',
        "not-json": b"hello",
        "bad-utf8": b'[["\xff\xfe"], {}, {}]',
        "byte-order-mark": b"\xef\xbb\xbf" + b'[["@MARKER@"], {}, {}]',
        "utf-16": '[["@MARKER@"], {}, {}]'.encode("utf-16"),
        "unknown-typed-value": b'[[{"__type__": "nope", "__value__": 1}], {}, {}]',
        "bad-typed-value": b'[[{"__type__": "datetime", "__value__": "yesterday"}], {}, {}]',
        "bad-typed-uuid": b'[[{"__type__": "uuid", "__value__": {"hex": 5}}], {}, {}]',
        "number-of-5000-digits": b"[[" + b"9" * 5000 + b"], {}, {}]",
        "bare-nul-bytes": b"\x00\x00\x00",
    }
    for name, text in texts.items():
        yield v2(f"body-{name}", REFUSED, body=text)
    yield v2(
        "body-nested-5000-deep",
        FREE,
        body=b'[["@MARKER@", ' + b"[" * 5000 + b"]" * 5000 + b"], {}, {}]",
    )
    yield v2("body-nested-200000-deep", REFUSED, body=b"[" * 200_000)
    yield v2("body-not-a-number", RUN, body=b'[["@MARKER@", NaN, -Infinity], {}, {}]')
    yield v2("body-lone-surrogate", FREE, body=b'[["@MARKER@", "\\ud800"], {}, {}]')
    yield v2("body-duplicate-keys", RUN, body=b'[["@MARKER@"], {"a": 1, "a": 2}, {}]')
    parts: tuple[tuple[str, Any], ...] = (("number", 7), ("null-inside", None), ("boolean", True))
    for label, value in parts:
        # A null args element cannot be told from "not given" in `good_body`, so it is written out.
        text = json.dumps([value, {}, EMBED]).encode()
        yield v2(f"args-{label}", REFUSED, body=text)
    yield v2("args-text", FREE, body=good_body(args="ab"))
    yield v2("args-mapping", FREE, body=good_body(args={"a": 1}))
    parts = (("list", [1]), ("text", "ab"), ("number", 7))
    for label, value in parts:
        yield v2(f"kwargs-{label}", REFUSED, body=good_body(kwargs=value))
    yield v2("kwargs-null", REFUSED, body=json.dumps([[MARKER], None, EMBED]).encode())
    yield v2(
        "kwargs-unknown-name", FAILED, headers={"task": "add"}, body=good_body([1, 2], {"nope": 1})
    )
    yield v2("too-many-args", FAILED, headers={"task": "add"}, body=good_body([1, 2, 3]))
    parts = (("text", "abc"), ("number", 7), ("list", [1]))
    for label, value in parts:
        yield v2(f"embed-{label}", REFUSED, body=good_body(embed=value))
    yield v2("embed-null", RUN, body=good_body(embed=None))
    yield v2("embed-empty-list", RUN, body=good_body(embed=[]))
    yield v2(
        "embed-unknown-keys", RUN, body=good_body(embed={**EMBED, "surprise": [1, {"deep": None}]})
    )
    yield v2(
        "embed-replaces-headers",
        FREE,
        body=good_body(embed={**EMBED, "retries": "many", "id": 7, "delivery_info": 1}),
    )


def contents() -> Iterator[Malformed]:
    """Yield messages whose content type, encoding or compression is wrong."""
    pickled = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94."
    types = {
        "pickle": "application/x-python-serialize",
        "yaml": "application/x-yaml",
        "unregistered": "application/x-nope",
        "upper-case": "APPLICATION/JSON",
        "with-charset": "application/json; charset=utf-8",
        "signed-without-setup": "application/data",
        "plain-text": "text/plain",
    }
    for name, content_type in types.items():
        body = pickled if name == "pickle" else good_body()
        properties = {**JSON, "content_type": content_type}
        yield v2(
            f"content-type-{name}",
            FREE if name == "plain-text" else REFUSED,
            properties=properties,
            body=body,
        )
    yield v2("content-type-absent", FREE, properties={"content_encoding": "utf-8"})
    yield v2("content-type-empty", FREE, properties={**JSON, "content_type": ""})
    for name, encoding in (("nonsense", "x-nope"), ("binary", "binary"), ("empty", "")):
        yield v2(f"content-encoding-{name}", RUN, properties={**JSON, "content_encoding": encoding})
    yield v2("content-encoding-absent", RUN, properties={"content_type": "application/json"})
    garbage = b"\x78\x9cnot really compressed"
    for name in ("x-gzip", "x-bz2", "x-lzma", "zstd", "x-brotli"):
        yield v2(
            f"compression-corrupt-{name}",
            REFUSED,
            headers={"compression": f"application/{name}"},
            body=garbage,
        )
    yield v2("compression-unknown", REFUSED, headers={"compression": "application/x-nope"})
    for label, value in (("number", 7), ("list", ["gzip"]), ("mapping", {"a": 1})):
        yield v2(f"compression-{label}", REFUSED, headers={"compression": value})
    yield v2("compression-empty", RUN, headers={"compression": ""})
    yield v2("compression-null", RUN, headers={"compression": None})
    yield v2("compression-alias", RUN, headers={"compression": "gzip"}, transform=zlib.compress)
    yield v2(
        "compression-real-gzip",
        REFUSED,
        headers={"compression": "application/x-gzip"},
        transform=gzip.compress,
    )
    cut = {"x-gzip": zlib.compress, "x-bz2": bz2.compress, "x-lzma": lzma.compress}
    for name, method in cut.items():
        yield v2(
            f"compression-cut-short-{name}",
            REFUSED,
            headers={"compression": f"application/{name}"},
            transform=lambda body, method=method: method(body)[:-6],
        )
    yield v2(
        "compression-bomb", REFUSED, headers={"compression": "application/x-gzip"}, transform=_bomb
    )


def _bomb(body: bytes) -> bytes:
    """Compress a valid body padded with blanks to far more than any worker should take."""
    packer = zlib.compressobj(9)
    block = b" " * (1024 * 1024)
    parts = [packer.compress(block) for _ in range(_BOMB_BYTES // len(block))]
    return b"".join([*parts, packer.compress(body), packer.flush()])
