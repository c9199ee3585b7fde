"""Signatures in the dict form in which they travel inside other messages."""

from __future__ import annotations

from typing import TypeAlias

from hypothesis import strategies as st

from celeriac_protocol.signature import (
    chain_dict,
    chord_dict,
    chunks_dict,
    group_dict,
    map_dict,
    signature_dict,
    starmap_dict,
)
from celeriac_protocol.strategies.values import (
    arguments,
    iso_times,
    json_scalars,
    keyword_arguments,
    task_names,
    uuids,
)

__all__ = ["SignatureDict", "plain_signatures", "signature_options", "signatures", "workflows"]

SignatureDict: TypeAlias = dict[str, object]

_SECONDS = st.integers(1, 3600) | st.floats(0.125, 3600)
_FEW_ARGUMENTS = arguments(values=json_scalars(), max_size=2)
_FEW_KEYWORDS = keyword_arguments(values=json_scalars(), max_size=1)


def _some(entries: dict[str, st.SearchStrategy[object]]) -> st.SearchStrategy[dict[str, object]]:
    """Up to three of the entries: most options are absent from most signatures, and drawing each would be slow."""
    pairs = st.one_of([st.tuples(st.just(name), strategy) for name, strategy in entries.items()])
    return st.lists(pairs, max_size=3).map(dict)


def signature_options(
    *, ids: st.SearchStrategy[str] = uuids()
) -> st.SearchStrategy[dict[str, object]]:
    """Call options of a signature that was frozen or not; no nested signatures.

    Args:
        ids: Task ids, group ids and the ids of relatives.
    """
    return _some(
        {
            "task_id": ids,
            "reply_to": uuids(),
            "root_id": st.none() | ids,
            "parent_id": st.none() | ids,
            "group_id": st.none() | ids,
            "group_index": st.none() | st.integers(0, 100),
            "countdown": _SECONDS,
            "eta": iso_times(),
            "expires": iso_times() | _SECONDS,
            "time_limit": _SECONDS,
            "soft_time_limit": _SECONDS,
            "queue": st.sampled_from(["celery", "slow"]),
            "priority": st.none() | st.integers(0, 9),
            "serializer": st.just("json"),
            "retries": st.integers(0, 5),
            "headers": _FEW_KEYWORDS,
            "ignore_result": st.booleans(),
        }
    )


def plain_signatures(
    *,
    tasks: st.SearchStrategy[str] = task_names(),
    args: st.SearchStrategy[list[object]] = _FEW_ARGUMENTS,
    kwargs: st.SearchStrategy[dict[str, object]] = _FEW_KEYWORDS,
    options: st.SearchStrategy[dict[str, object]] = signature_options(),
) -> st.SearchStrategy[SignatureDict]:
    """Calls of one task, with nothing nested in them."""
    return st.builds(signature_dict, tasks, args, kwargs, options, immutable=st.booleans())


def _linked(inner: st.SearchStrategy[SignatureDict]) -> st.SearchStrategy[SignatureDict]:
    """Calls with nested signatures in the options: links as a list or bare, chain steps, a chord body."""
    several = st.lists(inner, min_size=1, max_size=2)
    nested = _some(
        {
            "link": inner | several,
            "link_error": inner | several,
            "chain": several,
            "chord": st.none() | inner,
        }
    )
    return plain_signatures(options=nested)


def workflows(
    *,
    parts: st.SearchStrategy[SignatureDict] = plain_signatures(),
    ids: st.SearchStrategy[str] = uuids(),
) -> st.SearchStrategy[SignatureDict]:
    """Chains, groups, chords, maps, starmaps and chunks of `parts`.

    Args:
        parts: The signatures they are made of.
        ids: `task_id` of the workflow itself, where it was frozen; for a group this is the group id.
    """
    own = _some({"task_id": ids, "reply_to": uuids()})
    tasks = st.lists(parts, min_size=1, max_size=3)
    groups = st.builds(group_dict, tasks, own)
    rows = st.lists(_FEW_ARGUMENTS, max_size=3)
    return st.one_of(
        st.builds(chain_dict, tasks, own),
        groups,
        st.builds(chord_dict, groups | tasks, parts, _FEW_KEYWORDS, own),
        st.builds(map_dict, parts, _FEW_ARGUMENTS, own),
        st.builds(starmap_dict, parts, rows, own),
        st.builds(chunks_dict, parts, rows, st.integers(1, 10), own),
    )


def signatures(
    *, leaves: st.SearchStrategy[SignatureDict] = plain_signatures(), max_leaves: int = 4
) -> st.SearchStrategy[SignatureDict]:
    """Any legal signature: plain calls, workflows of them, and links nested in either.

    Args:
        leaves: The plain calls.
        max_leaves: How many of them at most.
    """
    return st.recursive(
        leaves, lambda inner: _linked(inner) | workflows(parts=inner), max_leaves=max_leaves
    )
