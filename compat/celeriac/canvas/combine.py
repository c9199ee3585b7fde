"""What ``a | b`` makes, for every combination of kinds. Spec: task-message#8.3, results-and-workflows#6.1."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

from celeriac.canvas.chain import chain
from celeriac.canvas.chord import chord
from celeriac.canvas.group import group
from celeriac.canvas.signature import Signature

__all__ = ["combine"]


def combine(left: Signature, right: Any) -> Any:
    """Return `left` followed by `right`; neither is changed.

    * a group followed by anything is a chord;
    * a chord followed by a task or a chord has a longer body;
    * a group of one is its member, an empty group nothing, when it follows something;
    * everything else is a chain.
    """
    if not isinstance(right, Signature):
        return NotImplemented
    if isinstance(left, group):
        return chord(left, body=right, app=left._app)
    if isinstance(right, group) and len(right.tasks) < 2:
        if not right.tasks:
            return left if isinstance(left, chain) else chain.of([left], app=left._app)
        return combine(left, right.tasks[0])
    if isinstance(left, chain):
        return _after_chain(left, right)
    if isinstance(left, chord):
        return _after_chord(left, right)
    if isinstance(right, chain):
        return chain.of([left, *right.unchain_tasks()], app=left._app)
    return chain.of([left, right], app=left._app)


def _after_chain(left: chain, right: Signature) -> Any:
    if isinstance(right, chain):
        return reduce(or_, right.unchain_tasks(), left)
    steps = left.unchain_tasks()
    if not steps:
        return chain.of([right], app=left._app)
    # A group after a group stays one for now: the chain makes a chord of the two when it is sent.
    if isinstance(steps[-1], group | chord) and not isinstance(right, group):
        steps[-1] = combine(steps[-1], right)
    else:
        steps.append(right)
    return chain.of(steps, app=left._app)


def _after_chord(left: chord, right: Signature) -> Any:
    if isinstance(right, chain):
        return chain.of([left, *right.unchain_tasks()], app=left._app)
    if isinstance(right, group):
        return chain.of([left, right], app=left._app)
    made = left.clone()
    made.body = right if made.body is None else combine(made.body, right)
    return made
