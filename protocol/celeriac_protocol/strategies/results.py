"""Result documents in every state, stored exceptions, and the tuple form of results."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hypothesis import strategies as st

from celeriac_protocol.result import ExceptionForm, ResultMeta, ResultNode, State
from celeriac_protocol.strategies.values import (
    arguments,
    instants,
    json_scalars,
    json_values,
    keyword_arguments,
    keywords,
    node_names,
    task_ids,
    task_names,
)

__all__ = ["exception_forms", "result_metas", "result_nodes"]

_WELL_KNOWN: Final = [
    ("ValueError", "builtins"),
    ("ZeroDivisionError", "builtins"),
    ("NotRegistered", "celery.exceptions"),
    ("TaskRevokedError", "celery.exceptions"),
    ("TimeLimitExceeded", "billiard.exceptions"),
    ("WorkerLostError", "billiard.exceptions"),
    ("Shop.OutOfStock", "shop.errors"),
]
_STORED: Final = [State.STARTED, State.RETRY, State.SUCCESS, State.FAILURE, State.REVOKED]
_FAILED: Final = frozenset({State.RETRY, State.FAILURE, State.REVOKED})
_READY: Final = frozenset({State.SUCCESS, State.FAILURE, State.REVOKED})
_STAMPS = st.dictionaries(keywords().map("stamp_{}".format), json_scalars(), max_size=2)


def exception_forms(
    *, arguments: st.SearchStrategy[list[object]] = arguments(values=json_scalars(), max_size=3)
) -> st.SearchStrategy[ExceptionForm]:
    """Exceptions as documents hold them, well-known ones and classes no reader has."""
    return st.builds(
        lambda names, args: ExceptionForm(names[0], tuple(args), names[1]),
        st.sampled_from(_WELL_KNOWN),
        arguments,
    )


def result_nodes(
    *, ids: st.SearchStrategy[str] = task_ids(), max_leaves: int = 5
) -> st.SearchStrategy[ResultNode]:
    """Results that name each other: single ones, chains (by parent) and groups (with members).

    Args:
        ids: Task and group ids.
        max_leaves: How many results without relatives at most.
    """
    return st.recursive(
        st.builds(ResultNode, ids, st.none(), st.none()),
        lambda inner: st.builds(
            ResultNode,
            ids,
            st.none() | inner,
            st.none() | st.lists(inner, max_size=3).map(tuple),
        ),
        max_leaves=max_leaves,
    )


def _complete(meta: ResultMeta, form: ExceptionForm, stamps: dict[str, object]) -> ResultMeta:
    """Make the parts agree: an exception where the state asks for one, stamps where the document has them."""
    changes: dict[str, object] = {}
    if meta.status in _FAILED:
        changes["result"] = form.to_dict()
    if meta.status not in _READY:
        changes["date_done"] = None
    if meta.extended:
        changes.update(stamped_headers=tuple(stamps) or None, stamps=stamps)
    else:
        changes.update(dict.fromkeys(("name", "args", "kwargs", "worker", "retries", "queue")))
    return replace(meta, **changes)  # type: ignore[arg-type]  # keys and types as in the class


def result_metas(
    *,
    ids: st.SearchStrategy[str] = task_ids(),
    states: st.SearchStrategy[str] = st.sampled_from([*_STORED, "PROGRESS"]),
    values: st.SearchStrategy[object] = json_values(),
) -> st.SearchStrategy[ResultMeta]:
    """Documents as a worker stores them, each in the form in which `ResultMeta.from_dict` returns it.

    Args:
        ids: Task ids.
        states: Names of states, the user's own included.
        values: Return values, and what custom states carry.
    """
    relatives = st.none() | ids
    metas = st.builds(
        ResultMeta,
        task_id=ids,
        status=states,
        result=values,
        traceback=st.none() | st.just("Traceback (most recent call last):\n  …"),
        children=st.none()
        | st.lists(result_nodes(max_leaves=3).map(ResultNode.to_list), max_size=2),
        date_done=st.none() | instants(),
        group_id=relatives,
        parent_id=relatives,
        name=st.none() | task_names(),
        args=st.none() | arguments(values=json_scalars()),
        kwargs=st.none() | keyword_arguments(values=json_scalars()),
        worker=st.none() | node_names(),
        retries=st.none() | st.integers(0, 10),
        queue=st.none() | keywords(),
        extended=st.booleans(),
    )
    return st.builds(_complete, metas, exception_forms(), _STAMPS)
