"""Values that travel inside messages: names, ids, times, arguments.

What these strategies give survives one trip through the JSON serializer unchanged, so a property can say "the same"
and mean `==`. What does not survive (tuples become lists, other keys than text become text, `NaN` is not itself) is
left out on purpose; `celeriac_protocol.strategies.broken` is the place for surprises.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import strategies as st

__all__ = [
    "arguments",
    "host_names",
    "instants",
    "iso_times",
    "json_scalars",
    "json_values",
    "keyword_arguments",
    "keywords",
    "node_names",
    "task_ids",
    "task_names",
    "typed_values",
    "uuids",
]

_SMALLEST, _LARGEST = -(2**63), 2**63 - 1
_CHARACTERS = st.characters(exclude_categories=["Cs"])
_TEXT = st.text(_CHARACTERS, max_size=20)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
# Not `from_regex`, which takes four times as long; words are in every part of a message.
_WORD = st.builds(
    "{}{}".format, st.sampled_from(_LETTERS), st.text(_LETTERS + "0123456789_", max_size=7)
)
_MARKED = {"__type__", "__value__"}


def uuids() -> st.SearchStrategy[str]:
    """Ids as Celery makes them: version 4 UUIDs as text."""
    return st.uuids(version=4).map(str)


def task_ids() -> st.SearchStrategy[str]:
    """Task ids: mostly UUIDs, now and then any other non-empty text, which is as legal."""
    return uuids() | st.text(_CHARACTERS, min_size=1, max_size=20)


def task_names() -> st.SearchStrategy[str]:
    """Registered names as modules and functions give them: ``proj.tasks.add``."""
    return st.lists(_WORD, min_size=1, max_size=3).map(".".join)


def host_names() -> st.SearchStrategy[str]:
    """Host names, with and without a domain."""
    return st.lists(_WORD.map(lambda word: word.replace("_", "-")), min_size=1, max_size=3).map(
        lambda labels: ".".join(label.strip("-") for label in labels)
    )


def node_names(*, hosts: st.SearchStrategy[str] = host_names()) -> st.SearchStrategy[str]:
    """Names of workers: ``celery@host``."""
    return st.builds("{}@{}".format, _WORD, hosts)


def keywords() -> st.SearchStrategy[str]:
    """Names of keyword arguments."""
    return _WORD


def json_scalars() -> st.SearchStrategy[object]:
    """Null, booleans, 64-bit integers, finite floats and text without lone surrogates."""
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(_SMALLEST, _LARGEST),
        st.floats(allow_nan=False, allow_infinity=False),
        _TEXT,
    )


def json_values(
    *, scalars: st.SearchStrategy[object] = json_scalars(), max_leaves: int = 8
) -> st.SearchStrategy[object]:
    """Lists and objects of scalars, nested; never an object that the JSON serializer would take for a marked value.

    Args:
        scalars: What the leaves are.
        max_leaves: How many of them at most.
    """
    return st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(_TEXT, inner, max_size=4).filter(lambda value: set(value) != _MARKED)
        ),
        max_leaves=max_leaves,
    )


def typed_values(*, max_leaves: int = 8) -> st.SearchStrategy[object]:
    """JSON values whose leaves may also be times, decimals, UUIDs and bytes, which travel as marked objects."""
    return json_values(
        scalars=st.one_of(
            json_scalars(),
            st.datetimes(timezones=st.none() | st.just(UTC)),
            st.dates(),
            st.times(),
            st.decimals(allow_nan=False),
            st.uuids(),
            st.binary(max_size=20),
        ),
        max_leaves=max_leaves,
    )


def arguments(
    *, values: st.SearchStrategy[object] = json_values(), max_size: int = 4
) -> st.SearchStrategy[list[object]]:
    """Positional arguments."""
    return st.lists(values, max_size=max_size)


def keyword_arguments(
    *, values: st.SearchStrategy[object] = json_values(), max_size: int = 3
) -> st.SearchStrategy[dict[str, object]]:
    """Keyword arguments."""
    return st.dictionaries(keywords(), values, max_size=max_size)


def instants() -> st.SearchStrategy[datetime]:
    """Aware moments between 1970 and 2100, in whole-minute offsets from UTC."""
    offsets = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
    return st.datetimes(
        min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - hypothesis adds the time zone
        max_value=datetime(2100, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC) | offsets,
    )


def iso_times(*, moments: st.SearchStrategy[datetime] = instants()) -> st.SearchStrategy[str]:
    """Times as producers write them: with an offset, or without one, which means UTC."""
    return st.one_of(
        moments.map(datetime.isoformat),
        moments.map(lambda moment: moment.replace(tzinfo=None).isoformat()),
    )
