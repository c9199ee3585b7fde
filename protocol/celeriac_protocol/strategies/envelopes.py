"""JSON envelopes, whole and broken: messages as they lie in the lists, files and tables of brokers other than AMQP."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from hypothesis import strategies as st

from celeriac_protocol.errors import BrokenEnvelopeError, RemoteProtocolError
from celeriac_protocol.message import DeliveryInfo, Message
from celeriac_protocol.strategies.messages import messages
from celeriac_protocol.strategies.values import json_values, uuids
from celeriac_protocol.virtual import write_envelope

__all__ = ["BrokenEnvelope", "broken_envelopes", "envelopes", "mutated_envelopes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenEnvelope:
    """An item with one thing wrong, and the field a reader has to name."""

    label: str
    raw: bytes
    field: str
    error: type[RemoteProtocolError] = BrokenEnvelopeError


def _addressed(message: Message, queue: str, tag: str) -> str:
    addressed = replace(message, delivery_info=DeliveryInfo(exchange="", routing_key=queue))
    return write_envelope(addressed, delivery_tag=tag)


def envelopes(
    *,
    originals: st.SearchStrategy[Message] = messages(),
    queues: st.SearchStrategy[str] = st.sampled_from(["celery", "slow"]),
    tags: st.SearchStrategy[str] = uuids(),
) -> st.SearchStrategy[str]:
    """Legal items.

    Args:
        originals: What they hold.
        queues: Queues they are addressed to.
        tags: Delivery tags.
    """
    return st.builds(_addressed, originals, queues, tags)


_Object: TypeAlias = dict[str, object]


class _Fault(NamedTuple):
    label: str
    field: str
    values: st.SearchStrategy[object]
    apply: Callable[[_Object, object], object]


def _put(*path: str) -> Callable[[_Object, object], object]:
    def apply(envelope: _Object, value: object) -> object:
        inner: object = envelope
        for key in path[:-1]:
            assert isinstance(inner, dict)
            inner = inner[key]
        assert isinstance(inner, dict)
        inner[path[-1]] = value
        return envelope

    return apply


_NOT_AN_OBJECT: st.SearchStrategy[object] = st.sampled_from([True, 5, "ab", [], [1]])
_NOT_TEXT: st.SearchStrategy[object] = st.sampled_from([True, 5, [], {"x": 1}])
_NULL_TOO = st.none() | _NOT_AN_OBJECT
_PROPERTIES = "envelope['properties']"
_INFO = f"{_PROPERTIES}['delivery_info']"
_FAULTS = [
    _Fault("the item is no object", "envelope", _NULL_TOO, lambda _, value: value),
    _Fault("properties is no object", _PROPERTIES, _NULL_TOO, _put("properties")),
    _Fault("headers is no object", "envelope['headers']", _NOT_AN_OBJECT, _put("headers")),
    _Fault(
        "delivery_info is no object", _INFO, _NOT_AN_OBJECT, _put("properties", "delivery_info")
    ),
    _Fault(
        "the routing key is no text",
        f"{_INFO}['routing_key']",
        _NOT_TEXT,
        _put("properties", "delivery_info", "routing_key"),
    ),
    _Fault(
        "the content type is no text",
        "envelope['content-type']",
        _NOT_TEXT,
        _put("content-type"),
    ),
]
_NOT_JSON = st.sampled_from([b"", b"{", b"\xff", b"[1,]", b"[" * 20_000])


@st.composite
def broken_envelopes(draw: st.DrawFn) -> BrokenEnvelope:
    """Items with one thing wrong, labelled with what."""
    if draw(st.integers(0, len(_FAULTS))) == 0:
        return BrokenEnvelope(label="not JSON", raw=draw(_NOT_JSON), field="envelope")
    fault = draw(st.sampled_from(_FAULTS))
    broken = fault.apply(json.loads(draw(_ORIGINALS)), draw(fault.values))
    return BrokenEnvelope(label=fault.label, raw=json.dumps(broken).encode(), field=fault.field)


_ORIGINALS = envelopes()
_KEYS = st.sampled_from(
    ["body", "headers", "properties", "content-type", "content-encoding", "x-other"]
)
_PROPERTY_KEYS = st.sampled_from(
    [
        *("delivery_info", "delivery_tag", "body_encoding", "correlation_id", "reply_to"),
        *("priority", "delivery_mode", "expiration", "timestamp", "x-other"),
    ]
)
_WILD = json_values(max_leaves=4)


def mutated_envelopes(
    *, originals: st.SearchStrategy[str] = envelopes()
) -> st.SearchStrategy[bytes]:
    """Legal items after one change: a key or property replaced or gone, or bytes cut off or written over.

    Args:
        originals: Items to start from.
    """
    return _mutated(originals)


@st.composite
def _mutated(draw: st.DrawFn, originals: st.SearchStrategy[str]) -> bytes:
    raw = draw(originals)
    kind = draw(st.sampled_from(["key", "property", "gone", "cut", "bytes"]))
    if kind in ("cut", "bytes"):
        data = raw.encode()
        place = draw(st.integers(0, len(data)))
        change = draw(st.binary(min_size=1, max_size=4)) if kind == "bytes" else b""
        return data[:place] + change + (data[place + len(change) :] if change else b"")
    envelope = json.loads(raw)
    if kind == "key":
        envelope[draw(_KEYS)] = draw(_WILD)
    elif kind == "property":
        envelope["properties"][draw(_PROPERTY_KEYS)] = draw(_WILD)
    else:
        del envelope[draw(st.sampled_from(sorted(envelope)))]
    return json.dumps(envelope).encode()
