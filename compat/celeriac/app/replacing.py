"""A running task that lets another one take its place, or adds one to its chord. Spec: results-and-workflows#6.7."""

from __future__ import annotations

from collections.abc import Sequence
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
    # A task has one value, so a group's list is collected under the task's id.
    if isinstance(sig, group):
        sig = chord(sig.tasks, _collector(app), app=app)
    elif isinstance(sig, chain) and isinstance(sig.tasks[-1], group):
        sig = sig | _collector(app)
    for callback in _listed(request.callbacks):
        sig.link(maybe_signature(callback, app=app))
    for errback in _listed(request.errbacks):
        sig.link_error(maybe_signature(errback, app=app))
    # The id first: what is appended from the rest of the chain has ids already.
    sig.freeze(request.id)
    nesting = request.replaced_task_nesting + 1
    for step in reversed(request.chain or ()):
        following = maybe_signature(step, app=app, clone=True)
        sig = sig | following.set(replaced_task_nesting=nesting)
    sig.set(
        chord=request.chord,
        group_id=request.group,
        group_index=request.group_index,
        root_id=request.root_id,
        replaced_task_nesting=nesting,
    )
    for part in sig.tasks if isinstance(sig, chain) else getattr(sig, "members", ()):
        part.options["replaced_task_nesting"] = nesting
    return task.on_replace(sig)


def _collector(app: Any) -> Signature:
    made: Signature = app.tasks["celery.accumulate"].s(index=0)
    return made


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
