"""What native chords share: how a part is stored, and how the body's argument is put together.

Spec: results-and-workflows#6.5
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from celeriac.backends.base import ChordPart, ChordState, ResultBackend
from celeriac.backends.codec import Codec
from celeriac_protocol.errors import RemoteProtocolError
from celeriac_protocol.result import PROPAGATE_STATES, ResultMeta, ResultNode, read_result_tuple

__all__ = ["ChordValues", "chord_values", "decode_part", "encode_part", "is_complete"]

_PART_VERSION = 1


@dataclass(frozen=True, slots=True)
class ChordValues:
    """The argument of a chord's body, or the part because of which there is none."""

    values: list[Any]
    """In header order; a nested group is a list of its own. Values are as stored, exceptions in encoded form."""
    culprit: ChordPart | None = None
    """The first part, in header order, that failed or was revoked."""


def encode_part(codec: Codec, part: ChordPart) -> bytes:
    """Return the element kept in the chord's collection: ``[1, id, state, result]``."""
    return codec.encode([_PART_VERSION, part.task_id, part.state, part.result])


def decode_part(codec: Codec, data: bytes, group_index: int | None) -> ChordPart:
    """Read an element of the chord's collection.

    Raises:
        RemoteProtocolError: It is not ``[version, id, state, result]``.
    """
    element = codec.decode(data)
    if not isinstance(element, list | tuple) or len(element) != 4:
        raise RemoteProtocolError("chord part", "[version, id, state, result]", element)
    _, task_id, state, result = element
    return ChordPart(task_id=str(task_id), state=str(state), result=result, group_index=group_index)


def is_complete(parts: tuple[ChordPart, ...], size: int) -> bool:
    """Tell whether `size` different tasks have reported.

    Peers up to 5.6 have no list of counted parts: a redelivered task whose second result differs is in the
    collection twice and must not stand in for a part that is still missing.
    """
    return len({part.task_id for part in parts}) >= size


def chord_values(backend: ResultBackend, state: ChordState, *, timeout_s: float) -> ChordValues:
    """Put the body's argument together.

    Args:
        backend: Where the members' documents are.
        state: What `add_chord_part` returned.
        timeout_s: How long to wait for the documents of a header with nested groups.

    Raises:
        TimeoutError: `celeriac.exceptions.TimeoutError`: a member's document did not appear.
    """
    if state.group is None:
        culprit = next((part for part in state.parts if part.state in PROPAGATE_STATES), None)
        return ChordValues([part.result for part in state.parts], culprit)

    node = read_result_tuple(state.group)
    metas: dict[str, ResultMeta] = {}
    backend.wait(
        list(_leaves(node)),
        timeout_s=timeout_s,
        on_meta=lambda meta: metas.update({meta.task_id: meta}),
    )
    for index, task_id in enumerate(_leaves(node)):
        meta = metas[task_id]
        if meta.status in PROPAGATE_STATES:
            part = ChordPart(task_id, meta.status, meta.result, index)
            return ChordValues(_shaped(node, metas), part)
    return ChordValues(_shaped(node, metas))


def _leaves(node: ResultNode) -> Iterator[str]:
    if node.children is None:
        yield node.id
        return
    for child in node.children:
        yield from _leaves(child)


def _shaped(node: ResultNode, metas: dict[str, ResultMeta]) -> list[Any]:
    return [
        metas[child.id].result if child.children is None else _shaped(child, metas)
        for child in node.children or ()
    ]
