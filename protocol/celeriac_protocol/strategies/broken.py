"""Messages with something wrong: one labelled fault each, or as much as there is.

`broken_messages` says what a decoder has to answer: which error, pointing at which field. The other strategies make no
such promise. Whatever they give, a decoder returns a value or raises `RemoteProtocolError`, and nothing else.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from hypothesis import strategies as st

from celeriac_protocol.errors import (
    InvalidTaskError,
    RefusedContentError,
    RemoteProtocolError,
    UndecodableBodyError,
    UnknownMessageError,
)
from celeriac_protocol.message import Message, Properties
from celeriac_protocol.strategies.messages import messages, task_messages
from celeriac_protocol.strategies.signatures import plain_signatures
from celeriac_protocol.strategies.values import json_scalars, json_values, task_names
from celeriac_protocol.task import STANDARD_HEADERS, TaskMessage, encode

__all__ = ["Broken", "arbitrary_messages", "broken_messages", "mutated_messages"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A message with one thing wrong, and what a decoder that accepts JSON says about it."""

    label: str
    """What is wrong, in words."""
    message: Message
    error: type[RemoteProtocolError]
    field: str
    """Value of `RemoteProtocolError.field`."""


class _Parts(NamedTuple):
    """A message taken apart, so that a fault can be put in: headers, decoded body, content type."""

    headers: dict[str, object]
    body: object
    content_type: str = "application/json"
    data: bytes | None = None
    """Body bytes instead of `body`."""


_Values: TypeAlias = st.SearchStrategy[object]
_Apply: TypeAlias = Callable[[_Parts, object], _Parts]

_LIST_OR_OBJECT = st.sampled_from([[], ["x"], {}, {"x": 1}])
_NOT_TEXT: _Values = st.sampled_from([None, "", True, 5, 1.5, [], {"x": 1}])
_NOT_AN_ID = st.sampled_from([None, "", True, float("nan"), [], ["x"], {}, {"x": 1}])
_NOT_A_TIME = st.sampled_from(["", "garbage", "2030-13-01", "24", 5, 1.5, True, [], {"x": 1}])
_NOT_LIMITS = st.sampled_from([[1], [1, 2, 3], {"hard": 1}, "x", 5, ["x", None], [None, [1]]])
_NOT_STAMPS = st.sampled_from(["x", 5, True, ["x"]])
_NOT_STAMP_NAMES = st.sampled_from([5, True, {"x": 1}, [1], ["x", None]])
_NOT_A_LIST = st.sampled_from([None, True, 5, "ab", {"x": 1}])
_NOT_A_MAPPING = st.sampled_from([None, True, 5, "ab", [1]])
_NOT_AN_EMBED = st.sampled_from([True, 5, "ab", [1]])
_NOT_SIGNATURES = st.sampled_from([True, 5, "ab", {"task": "t", "options": {}}])
_NOT_A_SIGNATURE = st.sampled_from([None, 5, "ab", ["x"]])
_NOT_JSON = st.sampled_from([b"{", b"\xff", b"\xef\xbb\xbf[]", b"[1,]", b"[" * 20_000])
_UNKNOWN_MARKER = b'{"__type__": "x", "__value__": 1}'
_NOT_A_V2_BODY: _Values = st.sampled_from(
    [None, 5, "abc", [], [[], {}], [[], {}, {}, 4], {}, {"x": 1}]
)
_NOT_A_V1_BODY: _Values = st.sampled_from([None, 5, "abc", [], [[], {}, {}], {}, {"id": "x"}])


class _Fault(NamedTuple):
    """One way to break a message, and the field that a decoder has to name."""

    label: str
    field: str
    values: _Values
    apply: _Apply
    error: type[RemoteProtocolError] = InvalidTaskError


def _header(name: str) -> _Apply:
    return lambda parts, value: parts._replace(headers={**parts.headers, name: value})


def _without_header(name: str) -> _Apply:
    return lambda parts, _: parts._replace(
        headers={key: value for key, value in parts.headers.items() if key != name}
    )


def _element(index: int) -> _Apply:
    def apply(parts: _Parts, value: object) -> _Parts:
        assert isinstance(parts.body, list)
        return parts._replace(body=[*parts.body[:index], value, *parts.body[index + 1 :]])

    return apply


def _embed(name: str) -> _Apply:
    def apply(parts: _Parts, value: object) -> _Parts:
        assert isinstance(parts.body, list)
        args, kwargs, embed = parts.body
        return parts._replace(body=[args, kwargs, {**embed, name: value}])

    return apply


def _key(name: str) -> _Apply:
    def apply(parts: _Parts, value: object) -> _Parts:
        assert isinstance(parts.body, dict)
        return parts._replace(body={**parts.body, name: value})

    return apply


def _without_key(name: str) -> _Apply:
    def apply(parts: _Parts, _: object) -> _Parts:
        assert isinstance(parts.body, dict)
        return parts._replace(body={key: item for key, item in parts.body.items() if key != name})

    return apply


def _whole_body(parts: _Parts, value: object) -> _Parts:
    return parts._replace(body=value)


def _body_bytes(parts: _Parts, value: object) -> _Parts:
    assert isinstance(value, bytes)
    return parts._replace(data=value)


def _content_type(parts: _Parts, value: object) -> _Parts:
    return parts._replace(content_type=str(value))


def _badly_compressed(parts: _Parts, value: object) -> _Parts:
    compressed = zlib.compress(json.dumps(parts.body).encode())
    assert isinstance(value, int)
    headers = {**parts.headers, "compression": "application/x-gzip"}
    return parts._replace(headers=headers, data=compressed[: len(compressed) * value // 100])


_NOTHING: _Values = st.none()
_REFUSED = st.sampled_from(
    ["application/x-python-serialize", "application/x-none", "APPLICATION/JSON"]
)
_SIGNATURE: dict[str, object] = {
    "task": "t",
    "args": [],
    "kwargs": {},
    "options": {},
    "subtask_type": None,
}


def _bad_signatures() -> list[tuple[str, str, object]]:
    """Faults inside a signature: label, path within it, the whole signature."""
    without = {key: value for key, value in _SIGNATURE.items() if key != "options"}
    return [
        (
            "without a task",
            "['task']",
            {key: _SIGNATURE[key] for key in ("args", "kwargs", "options")},
        ),
        ("with a task that is no text", "['task']", {**_SIGNATURE, "task": 5}),
        ("without options", "['options']", without),
        ("with options that are no mapping", "['options']", {**_SIGNATURE, "options": [1]}),
        ("with args that are no list", "['args']", {**_SIGNATURE, "args": "ab"}),
        ("with kwargs that are no mapping", "['kwargs']", {**_SIGNATURE, "kwargs": [1]}),
        ("of an unknown type", "['subtask_type']", {**_SIGNATURE, "subtask_type": "bogus"}),
        ("with a broken link", "['options']['link']", {**_SIGNATURE, "options": {"link": 5}}),
        (
            "that is a chain without tasks",
            "['kwargs']['tasks']",
            {**_SIGNATURE, "subtask_type": "chain"},
        ),
        (
            "that is a chord with a broken body",
            "['kwargs']['body']",
            {**_SIGNATURE, "subtask_type": "chord", "kwargs": {"header": [], "body": 5}},
        ),
    ]


def _common_faults(where: str, put: Callable[[str], _Apply]) -> list[_Fault]:
    """Faults of fields that both protocols have, in the headers of one and the body of the other."""
    faults = [
        _Fault("eta is no time", f"{where}['eta']", _NOT_A_TIME, put("eta")),
        _Fault("expires is no time", f"{where}['expires']", _NOT_A_TIME, put("expires")),
        _Fault("id is no text", f"{where}['id']", _NOT_AN_ID, put("id")),
        _Fault("task is no text", f"{where}['task']", _NOT_TEXT, put("task")),
        _Fault("timelimit is no pair", f"{where}['timelimit']", _NOT_LIMITS, put("timelimit")),
    ]
    names = ("group", "root_id", "parent_id", "shadow")
    return faults + [
        _Fault(f"{name} is a container", f"{where}['{name}']", _LIST_OR_OBJECT, put(name))
        for name in names
    ]


def _embed_faults(where: str, put: Callable[[str], _Apply], names: tuple[str, ...]) -> list[_Fault]:
    faults = []
    for name in names:
        path = f"{where}['{name}']"
        faults += [
            _Fault(f"{name} is no list", path, _NOT_SIGNATURES, put(name)),
            _Fault(
                f"{name} holds something that is no signature",
                f"{path}[0]",
                _NOT_A_SIGNATURE.map(lambda value: [value]),
                put(name),
            ),
        ]
        faults += [
            _Fault(
                f"{name} holds a signature {label}",
                f"{path}[1]{inner}",
                st.just([_SIGNATURE, signature]),
                put(name),
            )
            for label, inner, signature in _bad_signatures()
        ]
    return faults


_UNREADABLE_BODIES = [
    _Fault(
        "content type is not accepted",
        "properties['content_type']",
        _REFUSED,
        _content_type,
        RefusedContentError,
    ),
    _Fault("body is not JSON", "body", _NOT_JSON, _body_bytes, UndecodableBodyError),
    _Fault(
        "body holds a value of an unknown type",
        "body[…]['__type__']",
        st.just(_UNKNOWN_MARKER),
        _body_bytes,
        UndecodableBodyError,
    ),
    _Fault(
        "body breaks off",
        "body",
        st.integers(0, 90),
        _badly_compressed,
        UndecodableBodyError,
    ),
    _Fault(
        "compression is unknown",
        "headers['compression']",
        st.sampled_from(["application/x-none", "x", 5, ["gzip"]]),
        _header("compression"),
        UndecodableBodyError,
    ),
]

_V2_FAULTS = [
    *_UNREADABLE_BODIES,
    *_common_faults("headers", _header),
    _Fault("id is missing", "headers['id']", _NOTHING, _without_header("id")),
    _Fault(
        "stamped_headers is no list of names",
        "headers['stamped_headers']",
        _NOT_STAMP_NAMES,
        _header("stamped_headers"),
    ),
    _Fault("stamps is no mapping", "headers['stamps']", _NOT_STAMPS, _header("stamps")),
    _Fault("body has another shape", "body", _NOT_A_V2_BODY, _whole_body),
    _Fault("args is no list", "body[0]", _NOT_A_LIST, _element(0)),
    _Fault("kwargs is no mapping", "body[1]", _NOT_A_MAPPING, _element(1)),
    _Fault("embed is no mapping", "body[2]", _NOT_AN_EMBED, _element(2)),
    *_embed_faults("body[2]", _embed, ("callbacks", "errbacks", "chain")),
]

_V1_FAULTS = [
    *_UNREADABLE_BODIES,
    *_common_faults("body", _key),
    _Fault("id is missing", "body['id']", _NOTHING, _without_key("id")),
    _Fault("body is no task", "body", _NOT_A_V1_BODY, _whole_body, UnknownMessageError),
    _Fault("args is no list", "body['args']", _NOT_A_LIST, _key("args")),
    _Fault("kwargs is no mapping", "body['kwargs']", _NOT_A_MAPPING, _key("kwargs")),
    *_embed_faults("body", _key, ("callbacks", "errbacks")),
]


def _taken_apart(message: Message) -> _Parts:
    return _Parts(dict(message.headers), json.loads(message.body))


def _put_together(parts: _Parts, properties: Properties) -> Message:
    data = json.dumps(parts.body).encode() if parts.data is None else parts.data
    return Message(parts.headers, replace(properties, content_type=parts.content_type), data)


# Faults inside signatures are put there by the table; the rest may be plain.
_FEW = plain_signatures()


def broken_messages(
    *, protocol: int | None = None, names: st.SearchStrategy[str] = task_names()
) -> st.SearchStrategy[Broken]:
    """Legal messages with one thing wrong, labelled with what.

    Args:
        protocol: 2 or 1; `None` for both.
        names: Task names, where they are not what is wrong.
    """
    versions = (2, 1) if protocol is None else (protocol,)
    return _broken(
        {version: task_messages(protocol=version, names=names, parts=_FEW) for version in versions}
    )


@st.composite
def _broken(draw: st.DrawFn, originals: dict[int, st.SearchStrategy[TaskMessage]]) -> Broken:
    version = draw(st.sampled_from(sorted(originals, reverse=True)))
    fault = draw(st.sampled_from(_V2_FAULTS if version == 2 else _V1_FAULTS))
    message = encode(draw(originals[version]))
    broken = fault.apply(_taken_apart(message), draw(fault.values))
    return Broken(
        label=f"protocol {version}: {fault.label}",
        message=_put_together(broken, message.properties),
        error=fault.error,
        field=fault.field,
    )


_HEADER_NAMES = st.sampled_from([*STANDARD_HEADERS, "compression", "x-other"])
_CONTENT_TYPES = st.sampled_from(
    [None, "application/json", "application/data", "text/plain", "application/x-python-serialize"]
)
_ENCODINGS = st.sampled_from(["utf-8", "binary", "latin-1", "x", ""])
_WILD = json_values(
    scalars=st.one_of(json_scalars(), st.floats(), st.text(max_size=8), st.binary(max_size=8)),
    max_leaves=6,
)
_JSON = json_values(
    scalars=st.one_of(json_scalars(), st.floats(), st.sampled_from(["__type__", "celery.chain"])),
    max_leaves=12,
)


def arbitrary_messages() -> st.SearchStrategy[Message]:
    """Anything a broker can hand over: known headers with any value, any properties, any bytes."""
    documents = st.dictionaries(
        st.sampled_from(
            [
                *STANDARD_HEADERS,
                "args",
                "kwargs",
                "callbacks",
                "errbacks",
                "chord",
                "utc",
                "taskset",
            ]
        ),
        _JSON,
        max_size=6,
    ) | st.tuples(_JSON, _JSON, _JSON)
    bodies = st.one_of(
        st.binary(max_size=64),
        _JSON.map(lambda value: json.dumps(value).encode()),
        documents.map(lambda value: json.dumps(value).encode()),
    )
    return st.builds(
        Message,
        headers=st.dictionaries(_HEADER_NAMES, _WILD, max_size=8),
        properties=st.builds(
            Properties,
            content_type=_CONTENT_TYPES,
            content_encoding=st.none() | _ENCODINGS,
        ),
        body=bodies,
    )


def _mutate_bytes(data: bytes, at: int, change: bytes | None) -> bytes:
    """Cut at a place, or write over what is there."""
    place = at % (len(data) + 1)
    return data[:place] if change is None else data[:place] + change + data[place + len(change) :]


def _replace_within(value: object, at: int, new: object) -> object:
    """Return a JSON value with one node, counted from the root, replaced by another value."""
    count = 0

    def walk(node: object) -> object:
        nonlocal count
        count += 1
        if count == chosen:
            return new
        if isinstance(node, list):
            return [walk(item) for item in node]
        if isinstance(node, dict):
            return {key: walk(item) for key, item in node.items()}
        return node

    chosen = 0
    walk(value)
    chosen, count = at % count + 1, 0
    return walk(value)


_KINDS = ["header", "no header", "property", "bytes", "value", "value"]
_PLACES = st.integers(0, 10_000)
_CHANGES = st.none() | st.binary(min_size=1, max_size=4)


def mutated_messages(
    *, originals: st.SearchStrategy[Message] = messages(), max_mutations: int = 2
) -> st.SearchStrategy[Message]:
    """Legal messages after up to `max_mutations` changes to a header, a property or the body.

    Args:
        originals: Messages to start from.
        max_mutations: How many changes at most; at least one is made.
    """
    kinds = st.lists(st.sampled_from(_KINDS), min_size=1, max_size=max_mutations)
    return _mutated(originals, kinds)


@st.composite
def _mutated(
    draw: st.DrawFn, originals: st.SearchStrategy[Message], kinds: st.SearchStrategy[list[str]]
) -> Message:
    message = draw(originals)
    for kind in draw(kinds):
        if kind == "header":
            headers = {**message.headers, draw(_HEADER_NAMES): draw(_WILD)}
            message = replace(message, headers=headers)
        elif kind == "no header" and message.headers:
            gone = draw(st.sampled_from(sorted(message.headers)))
            kept = {key: value for key, value in message.headers.items() if key != gone}
            message = replace(message, headers=kept)
        elif kind == "property":
            content_type = draw(_CONTENT_TYPES)
            changed = replace(message.properties, content_type=content_type)
            message = replace(message, properties=changed)
        elif kind == "value" and "compression" not in message.headers:
            try:
                body: object = json.loads(message.body)
            except ValueError:
                continue  # an earlier mutation of the bytes left nothing to look into
            body = _replace_within(body, draw(_PLACES), draw(_JSON))
            message = replace(message, body=json.dumps(body).encode())
        else:
            body_now = _mutate_bytes(message.body, draw(_PLACES), draw(_CHANGES))
            message = replace(message, body=body_now)
    return message
