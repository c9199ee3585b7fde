"""Monitoring events of every type Celery sends, with the fields of each."""

from __future__ import annotations

from hypothesis import strategies as st

from celeriac_protocol.events import EVENT_TYPES, Event, EventField
from celeriac_protocol.strategies.values import json_values, node_names, task_ids

__all__ = ["events"]

_BY_KIND: dict[str, st.SearchStrategy[object]] = {
    "text": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    "integer": st.integers(0, 2**31),
    "number": st.floats(0, 1e9) | st.integers(0, 10**9),
    "flag": st.booleans(),
    "three numbers": st.lists(st.floats(0, 100), min_size=3, max_size=3),
    "any": json_values(max_leaves=3),
}
_TEXT_FIELDS = {"uuid", "id", "topic"}


def _field(field: EventField, ids: st.SearchStrategy[str]) -> st.SearchStrategy[object]:
    values = ids if field.name in _TEXT_FIELDS else _BY_KIND[field.kind]
    return values if field.required else st.none() | values


def events(
    *,
    types: st.SearchStrategy[str] = st.sampled_from(sorted(EVENT_TYPES)),
    ids: st.SearchStrategy[str] = task_ids(),
    hosts: st.SearchStrategy[str] = node_names(),
) -> st.SearchStrategy[Event]:
    """Events, each with all the fields of its type.

    Args:
        types: Names out of `EVENT_TYPES`.
        ids: Task ids, and the ids of elections.
        hosts: Node names of the senders.
    """
    known = {
        name: st.fixed_dictionaries({field.name: _field(field, ids) for field in kind.fields})
        for name, kind in EVENT_TYPES.items()
    }

    def of(name: str) -> st.SearchStrategy[Event]:
        return st.builds(
            Event,
            type=st.just(name),
            hostname=hosts,
            utcoffset=st.none() | st.integers(-14, 14),
            pid=st.none() | st.integers(1, 2**22),
            clock=st.none() | st.integers(1, 2**40),
            timestamp=st.none() | st.floats(0, 4e9),
            fields=known[name],
        )

    return types.flatmap(of)
