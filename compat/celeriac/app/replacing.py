"""A running task that lets another one take its place, or adds one to its chord. Spec: results-and-workflows#6.7."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from celeriac.canvas import Signature, chain, chord, group, maybe_signature
from celeriac.exceptions import Ignore, ImproperlyConfigured
from celeriac.result import allow_join_result

if TYPE_CHECKING:
    from celeriac.app.task import Task

__all__ = ["add_to_chord", "replace", "send"]


def replace(task: Task, sig: Signature) -> Any:
    """Prepare `sig` to take the place of the running call, then hand it to `task.on_replace`.

    Args:
        task: The running task.
        sig: What replaces it. A group becomes a chord that returns the list of its results.

    Raises:
        Ignore: Sent.
        ImproperlyConfigured: `sig` has a chord of its own, or is an empty chain.
    """
    request = task.request
    app = task.app
    if "chord" in sig.options:
        raise ImproperlyConfigured("A signature replacing a task must not be part of a chord")
    if isinstance(sig, chain) and not sig.tasks:
        raise ImproperlyConfigured("Cannot replace with an empty chain")
    sig = sig.clone()
    if isinstance(sig, group):
        sig = chord(sig.tasks, app.tasks["celery.accumulate"].s(index=0), app=app)
    for callback in _listed(request.callbacks):
        sig.link(maybe_signature(callback, app=app))
    for errback in _listed(request.errbacks):
        sig.link_error(maybe_signature(errback, app=app))
    nesting = request.replaced_task_nesting + 1
    sig.freeze(
        request.id,
        group_id=request.group,
        chord=request.chord,
        root_id=request.root_id,
        group_index=request.group_index,
    )
    _nest(sig, nesting)
    remaining = [_nested_step(step, nesting) for step in request.chain or ()]
    if remaining:
        _append_steps(sig, remaining)
    return task.on_replace(sig)


def send(task: Task, sig: Signature) -> Any:
    """Run a prepared replacement: here when eager, else on the broker.

    Raises:
        Ignore: Sent.
    """
    if task.request.is_eager:
        with allow_join_result():
            return sig.apply().get()
    sig.apply_async()
    raise Ignore("Replaced by new task")


def _listed(value: Any) -> Sequence[Any]:
    if not value:
        return ()
    return value if isinstance(value, list | tuple) else [value]


def _nest(sig: Signature, nesting: int) -> None:
    """Note on every task of the replacement how often the original was replaced."""
    if isinstance(sig, chain):
        for step in sig.tasks:
            _nest(step, nesting)
    elif isinstance(sig, chord):
        for member in sig.tasks:
            _nest(member, nesting)
    sig.options["replaced_task_nesting"] = nesting


def _nested_step(step: Mapping[str, Any], nesting: int) -> dict[str, Any]:
    options = {**(step.get("options") or {}), "replaced_task_nesting": nesting}
    return {**step, "options": options}


def _append_steps(sig: Signature, remaining: list[dict[str, Any]]) -> None:
    """Let the rest of the replaced task's chain, in reverse order, follow the replacement."""
    if isinstance(sig, chain):
        _append_steps(sig.tasks[-1], remaining)
    elif isinstance(sig, chord):
        _append_steps(sig.body, remaining)
    else:
        sig.options["chain"] = [*remaining, *_listed(sig.options.get("chain"))]


def add_to_chord(task: Task, sig: Signature, *, lazy: bool = False) -> Any:
    """Do what `Task.add_to_chord` says."""
    request = task.request
    if not request.chord:
        raise ValueError("Current task is not member of any chord")
    sig.set(
        group_id=request.group, group_index=request.group_index, chord=request.chord,
        root_id=request.root_id,
    )  # fmt: skip
    result = sig.freeze()
    task.backend.extend_chord(request.group)
    return result if lazy else sig.apply_async()
