"""Legal task messages of both protocols, as values and as a broker carries them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from celeriac_protocol.message import Message, Properties
from celeriac_protocol.strategies.signatures import SignatureDict, signatures
from celeriac_protocol.strategies.values import (
    arguments,
    host_names,
    iso_times,
    json_scalars,
    json_values,
    keyword_arguments,
    keywords,
    task_ids,
    task_names,
    uuids,
)
from celeriac_protocol.task import Embed, TaskHeaders, TaskMessage, TimeLimit, encode
from celeriac_protocol.times import parse_iso8601

__all__ = ["embeds", "messages", "properties", "task_headers", "task_messages", "time_limits"]

_STAMPS = st.dictionaries(keywords(), json_values(max_leaves=2), max_size=2)
_CUSTOM = st.dictionaries(keywords().map("x-{}".format), json_scalars(), max_size=2)


def properties(*, ids: st.SearchStrategy[str] = task_ids()) -> st.SearchStrategy[Properties]:
    """Basic properties of a call that has not been encoded: no content type yet."""
    return st.builds(
        Properties,
        correlation_id=st.none() | ids,
        reply_to=st.none() | uuids(),
        delivery_mode=st.sampled_from([None, 1, 2]),
        priority=st.none() | st.integers(0, 255),
        expiration=st.none() | st.integers(0, 10**9).map(str),
    )


def time_limits() -> st.SearchStrategy[TimeLimit]:
    """Hard and soft limits in seconds, each set or left to the task."""
    seconds = st.none() | st.integers(1, 86400) | st.floats(0.25, 86400)
    return st.builds(TimeLimit, seconds, seconds)


def _complete(headers: TaskHeaders, stamps: dict[str, object]) -> TaskHeaders:
    """Fill in what follows from other fields: stamp names, and the instants that `eta` and `expires` stand for."""
    return replace(
        headers,
        eta_at=None if headers.eta is None else parse_iso8601(headers.eta),
        expires_at=None if headers.expires is None else parse_iso8601(headers.expires),
        stamped_headers=tuple(stamps) or None,
        stamps=stamps,
    )


def task_headers(
    *,
    ids: st.SearchStrategy[str] = task_ids(),
    names: st.SearchStrategy[str] = task_names(),
    etas: st.SearchStrategy[str | None] = st.none() | iso_times(),
    expiries: st.SearchStrategy[str | None] = st.none() | iso_times(),
    protocol: int = 2,
) -> st.SearchStrategy[TaskHeaders]:
    """What a worker decides by.

    Args:
        ids: The task's own id and those of its relatives.
        names: Task names.
        etas: ISO 8601 text or none.
        expiries: ISO 8601 text or none.
        protocol: 1 leaves at their defaults the fields which protocol 1 has no place for.
    """
    relatives = st.none() | ids
    common: dict[str, st.SearchStrategy[object]] = {
        "task": names,
        "id": ids,
        "eta": etas,
        "expires": expiries,
        "group": relatives,
        "group_index": st.none() | st.integers(0, 1000),
        "retries": st.integers(0, 100),
        "timelimit": time_limits(),
        "custom": _CUSTOM,
    }
    if protocol == 1:
        plain = st.builds(TaskHeaders, lang=st.none(), **common)
        return st.builds(_complete, plain, st.just({}))
    shown = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    full = st.builds(
        TaskHeaders,
        **common,
        lang=st.sampled_from(["py", "js", None]),
        shadow=shown,
        root_id=relatives,
        parent_id=relatives,
        argsrepr=shown,
        kwargsrepr=shown,
        origin=st.none() | st.builds("gen{}@{}".format, st.integers(1, 2**22), host_names()),
        ignore_result=st.sampled_from([None, False, True]),
        replaced_task_nesting=st.integers(0, 3),
    )
    return st.builds(_complete, full, _STAMPS)


def embeds(
    *, parts: st.SearchStrategy[SignatureDict] = signatures(), protocol: int = 2
) -> st.SearchStrategy[Embed]:
    """What happens after the task: callbacks, errbacks, remaining chain steps, the chord's body.

    Args:
        parts: The signatures.
        protocol: 1 has no chain steps.
    """
    several = st.none() | st.lists(parts, max_size=2)
    return st.builds(
        Embed,
        callbacks=several,
        errbacks=several,
        chain=st.none() if protocol == 1 else several,
        chord=st.none() | parts,
    )


def task_messages(
    *,
    ids: st.SearchStrategy[str] = task_ids(),
    names: st.SearchStrategy[str] = task_names(),
    args: st.SearchStrategy[list[object]] = arguments(),
    kwargs: st.SearchStrategy[dict[str, object]] = keyword_arguments(),
    parts: st.SearchStrategy[SignatureDict] = signatures(),
    protocol: int | None = None,
) -> st.SearchStrategy[TaskMessage]:
    """Calls, each in the form in which `decode` returns it.

    So ``decode(encode(task))`` equals ``task``, but for the two properties that name the serializer.

    Args:
        ids: Task ids.
        names: Task names.
        args: Positional arguments.
        kwargs: Keyword arguments.
        parts: The signatures in the embed.
        protocol: 2 or 1; `None` for both.
    """
    if protocol is None:
        both = [
            task_messages(ids=ids, names=names, args=args, kwargs=kwargs, parts=parts, protocol=2),
            task_messages(ids=ids, names=names, args=args, kwargs=kwargs, parts=parts, protocol=1),
        ]
        return st.one_of(both)
    return st.builds(
        TaskMessage,
        headers=task_headers(ids=ids, names=names, protocol=protocol),
        args=args,
        kwargs=kwargs,
        embed=st.just(Embed()) | embeds(parts=parts, protocol=protocol),
        version=st.just(protocol),
        utc=st.booleans() if protocol == 1 else st.just(True),
        properties=properties(ids=ids),
    )


def messages(
    *,
    tasks: st.SearchStrategy[TaskMessage] = task_messages(),
    serializers: st.SearchStrategy[str] = st.just("json"),
    compressions: st.SearchStrategy[str | None] = st.sampled_from([None, None, "zlib", "bzip2"]),
) -> st.SearchStrategy[Message]:
    """Legal messages, encoded.

    Args:
        tasks: The calls.
        serializers: Aliases; other ones than json need their library.
        compressions: Methods, `None` for none.
    """
    return st.builds(
        lambda task, serializer, compression: encode(
            task, serializer=serializer, compression=compression
        ),
        tasks,
        serializers,
        compressions,
    )
