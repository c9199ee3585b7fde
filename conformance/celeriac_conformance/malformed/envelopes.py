"""Items of a Redis list that are no envelope, or a strange one."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

from celeriac_conformance.malformed.entry import (
    FREE,
    ID,
    MARKER,
    REFUSED,
    RUN,
    Malformed,
    envelope,
    envelope_with,
    good_body,
)

__all__ = ["envelopes"]


def envelopes() -> Iterator[Malformed]:
    """Yield raw list items."""
    items = {
        "empty": b"",
        "not-json": b"hello",
        "null": b"null",
        "list": b"[1, 2]",
        "number": b"7",
        "text": b'"hello"',
        "empty-mapping": b"{}",
        "cut-short": b'{"body": "W10=", "headers": {"task": "coll',
        "binary": bytes(range(256)),
        "bad-utf8": b'{"body": "\xff"}',
        "nested-100000-deep": b"[" * 100_000,
        "nul-bytes": b"\x00" * 64,
        "pickle": b"\x80\x04]\x94.",
    }
    for name, raw in items.items():
        yield envelope(f"envelope-{name}", REFUSED, raw)
    yield envelope_with("envelope-body-encoding-absent", RUN)
    yield envelope_with(
        "envelope-body-encoding-unknown", REFUSED, properties={"body_encoding": "rot13"}
    )
    yield envelope_with("envelope-body-encoding-number", REFUSED, properties={"body_encoding": 5})
    yield envelope_with(
        "envelope-bad-base64", REFUSED, properties={"body_encoding": "base64"}, body="!!!not base64"
    )
    yield envelope_with("envelope-without-body", REFUSED, drop=("body",))
    yield envelope_with("envelope-body-null", REFUSED, body=None)
    yield envelope_with("envelope-body-number", REFUSED, body=7)
    yield envelope_with("envelope-body-list", FREE, body=[[MARKER], {}, {}])
    yield envelope_with("envelope-without-properties", REFUSED, drop=("properties",))
    good = {
        "content-type": "application/json",
        "headers": {"task": "collect", "id": ID},
        "body": good_body().decode(),
    }
    for label, value in (("null", None), ("list", []), ("text", "x")):
        raw = json.dumps({**good, "properties": value}).encode()
        yield envelope(f"envelope-properties-{label}", REFUSED, raw)
    yield envelope_with("envelope-without-delivery-info", RUN, drop=("properties.delivery_info",))
    yield envelope_with("envelope-delivery-info-null", FREE, properties={"delivery_info": None})
    yield envelope_with("envelope-delivery-info-list", FREE, properties={"delivery_info": [1]})
    yield envelope_with("envelope-delivery-info-empty", FREE, properties={"delivery_info": {}})
    yield envelope_with("envelope-without-delivery-tag", RUN, drop=("properties.delivery_tag",))
    yield envelope_with("envelope-delivery-tag-number", FREE, properties={"delivery_tag": 5})
    yield envelope_with("envelope-delivery-tag-null", FREE, properties={"delivery_tag": None})
    yield envelope_with(
        "envelope-delivery-tag-mapping", FREE, properties={"delivery_tag": {"a": 1}}
    )
    yield envelope_with(
        "envelope-delivery-tag-not-unique", RUN, properties={"delivery_tag": "celery"}
    )
    yield envelope_with("envelope-headers-list", REFUSED, headers=[1])
    yield envelope_with("envelope-headers-text", REFUSED, headers="x")
    yield envelope_with("envelope-headers-null", REFUSED, headers=None)
    v1 = json.dumps({"task": "collect", "id": ID, "args": [MARKER], "kwargs": {}})
    yield envelope_with("envelope-headers-null-with-v1-body", RUN, headers=None, body=v1)
    yield envelope_with("envelope-without-headers-with-v1-body", FREE, drop=("headers",), body=v1)
    yield envelope_with("envelope-without-content-type", FREE, drop=("content-type",))
    yield envelope_with("envelope-content-type-number", REFUSED, content_type=5)
    yield envelope_with("envelope-content-encoding-number", FREE, content_encoding=5)
    yield envelope_with("envelope-unknown-keys", RUN, surprise={"a": [1]})
    text = base64.b64encode(good_body()[:-3]).decode()
    yield envelope_with(
        "envelope-base64-of-cut-json", REFUSED, properties={"body_encoding": "base64"}, body=text
    )
