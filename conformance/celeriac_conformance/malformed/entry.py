"""One malformed message: what is wrong, who can carry it, how it may end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from celeriac_conformance.broker_taps import RawMessage

__all__ = [
    "AMQP",
    "BOTH",
    "EMBED",
    "FAILED",
    "FREE",
    "HELD",
    "ID",
    "JSON",
    "MARKER",
    "REDIS",
    "REFUSED",
    "RUN",
    "Malformed",
    "envelope",
    "envelope_with",
    "good_body",
    "v1",
    "v2",
]

ID = "@ID@"
MARKER = "@MARKER@"

RUN = frozenset({"run"})
"""The task runs and nothing is wrong with that."""
FAILED = frozenset({"failed"})
"""A failure is stored under the id, whether or not the function ran."""
REFUSED = frozenset({"refused", "failed"})
"""It never runs; a failure may be stored where the id is known."""
FREE = frozenset({"run", "refused", "failed"})
"""Any of these, by the worker's own rule."""
HELD = frozenset({"held"})
"""It is kept for later, and in nobody's way."""

BOTH = frozenset({"redis", "amqp"})
REDIS = frozenset({"redis"})
AMQP = frozenset({"amqp"})

EMBED: Mapping[str, Any] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
JSON: Mapping[str, Any] = {"content_type": "application/json", "content_encoding": "utf-8"}
_BOMB_BYTES = 300 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Malformed:
    """One entry of the table."""

    name: str
    allowed: frozenset[str]
    """How it may end: run, failed, refused or held."""
    kinds: frozenset[str] = BOTH
    """Brokers that can carry it."""
    headers: Mapping[str, Any] | None = None
    properties: Mapping[str, Any] = field(default_factory=lambda: JSON)
    body: bytes = b""
    transform: Callable[[bytes], bytes] | None = None
    """Applied to the body after the placeholders are filled in."""
    envelope: bytes | None = None
    """The whole item of a Redis list, instead of the fields above."""

    def message(self, task_id: str, marker: str) -> RawMessage:
        """Return the message with placeholders filled in."""
        body = _fill_bytes(self.body, task_id, marker)
        headers = None if self.headers is None else _fill(self.headers, task_id, marker)
        properties = _fill(self.properties, task_id, marker)
        body = self.transform(body) if self.transform else body
        return RawMessage(body=body, headers=headers, properties=properties)

    def raw_envelope(self, task_id: str, marker: str) -> bytes | None:
        """Return the raw list item with placeholders filled in, if that is what this entry is."""
        return None if self.envelope is None else _fill_bytes(self.envelope, task_id, marker)


def _fill_bytes(value: bytes, task_id: str, marker: str) -> bytes:
    return value.replace(ID.encode(), task_id.encode()).replace(MARKER.encode(), marker.encode())


def _fill(value: Any, task_id: str, marker: str) -> Any:
    if isinstance(value, str):
        return value.replace(ID, task_id).replace(MARKER, marker)
    if isinstance(value, Mapping):
        return {
            _fill(key, task_id, marker): _fill(item, task_id, marker) for key, item in value.items()
        }
    if isinstance(value, list):
        return [_fill(item, task_id, marker) for item in value]
    return value


def good_body(args: Any = None, kwargs: Any = None, embed: Any = EMBED) -> bytes:
    """Write a v2 body that calls `collect` with the marker, with some part replaced."""
    given = [MARKER] if args is None else args
    return json.dumps([given, {} if kwargs is None else kwargs, embed]).encode()


def v2(
    name: str, allowed: frozenset[str], *, drop: tuple[str, ...] = (), **fields: Any
) -> Malformed:
    """Make an entry from a good v2 message: `headers` are laid over the good ones, `drop` removes some."""
    headers = {
        "lang": "py",
        "task": "collect",
        "id": ID,
        "timelimit": [None, None],
        **fields.pop("headers", {}),
    }
    for header in drop:
        del headers[header]
    return Malformed(name=name, allowed=allowed, headers=headers, **{"body": good_body(), **fields})


def v1(name: str, allowed: frozenset[str], *, drop: tuple[str, ...] = (), **body: Any) -> Malformed:
    """Make an entry from a good v1 message: keywords are laid over the good body."""
    content = {"task": "collect", "id": ID, "args": [MARKER], "kwargs": {}, **body}
    for key in drop:
        del content[key]
    return Malformed(name=name, allowed=allowed, headers={}, body=json.dumps(content).encode())


def envelope(name: str, allowed: frozenset[str], raw: bytes) -> Malformed:
    """Make an entry from the bytes of a Redis list item."""
    return Malformed(name=name, allowed=allowed, kinds=REDIS, envelope=raw)


def envelope_with(
    name: str,
    allowed: frozenset[str],
    *,
    drop: tuple[str, ...] = (),
    properties: Any = None,
    **changes: Any,
) -> Malformed:
    """Make an entry from a good envelope whose body is plain text; keywords (with ``_`` for ``-``) are laid over it."""
    good = {
        "body": good_body().decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": "collect", "id": ID},
        "properties": {
            "delivery_info": {"exchange": "", "routing_key": "celery"},
            "delivery_tag": f"tag-{ID}",
            **(properties or {}),
        },
    }
    good.update({key.replace("_", "-"): value for key, value in changes.items()})
    for key in drop:
        place: Any = good
        *way, last = key.split(".")
        for step in way:
            place = place[step]
        del place[last]
    return envelope(name, allowed, json.dumps(good).encode())
