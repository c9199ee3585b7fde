"""What follows a finished task, as data: which signatures to apply with which arguments.

Pure: given the outcome and what the message embedded, these functions say what is to be published. Applying a
signature (freezing, upgrading, publishing) is canvas's business; doing it at the right moment is the tracer's.

Spec: results-and-workflows#4.6, #6, task-message#7.3, #8.4, #8.6
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from celeriac_protocol.signature import group_dict

__all__ = [
    "Apply",
    "ErrbackPlan",
    "PendingStep",
    "after_failure",
    "after_success",
    "pending_steps",
    "steps_of",
]


@dataclass(frozen=True, slots=True)
class Apply:
    """Apply one signature."""

    signature: Mapping[str, Any]
    args: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ErrbackPlan:
    """Errbacks split by style."""

    called: tuple[Mapping[str, Any], ...]
    """Called in place with (request, exc, traceback)."""
    sent: Apply | None
    """All others, as one group of messages with the failed id."""


@dataclass(frozen=True, slots=True)
class PendingStep:
    """A task that will never run because a step before it failed."""

    task_id: str
    group: str | None
    group_index: int | None
    chord: Mapping[str, Any] | None
    reply_to: str | None = None
    """Where the rpc backend sends what became of it."""


def after_success(
    *,
    callbacks: Sequence[Mapping[str, Any]] | None,
    chain: Sequence[Mapping[str, Any]] | None,
    retval: Any,
    task_id: str,
    root_id: str | None,
    priority: int | None = None,
) -> list[Apply]:
    """Return what to apply when a task returned, in order: callbacks first, then the next chain step.

    Args:
        callbacks: The message's `link` signatures.
        chain: Remaining steps in reverse order.
        retval: The return value, prepended to each signature's own arguments.
        task_id: The finished task; parent of everything that follows.
        root_id: Its root; the task itself when it has none.
        priority: Passed on with `task_inherit_parent_priority`, else `None`.
    """
    inherited: dict[str, Any] = {"parent_id": task_id, "root_id": root_id or task_id}
    if priority is not None:
        inherited["priority"] = priority
    plan: list[Apply] = []
    if callbacks:
        if len(callbacks) == 1:
            plan.append(Apply(callbacks[0], (retval,), dict(inherited)))
        else:
            plain = [sig for sig in callbacks if sig.get("subtask_type") != "group"]
            groups = [sig for sig in callbacks if sig.get("subtask_type") == "group"]
            plan += [Apply(sig, (retval,), dict(inherited)) for sig in groups]
            if len(plain) == 1:
                plan.append(Apply(plain[0], (retval,), dict(inherited)))
            elif plain:
                plan.append(Apply(group_dict(plain), (retval,), dict(inherited)))
    if chain:
        plan.append(Apply(chain[-1], (retval,), {"chain": list(chain[:-1]), **inherited}))
    return plan


def after_failure(
    *,
    errbacks: Sequence[Mapping[str, Any]] | None,
    task_id: str,
    root_id: str | None,
    takes_context: Callable[[Mapping[str, Any]], bool],
) -> ErrbackPlan:
    """Split the errbacks of a failed task by style.

    Args:
        errbacks: The message's `link_error` signatures.
        task_id: The failed id (the body's id for a failed chord).
        root_id: Its root.
        takes_context: Tells whether the errback is registered here, not bound, and able to take
            ``(request, exc, traceback)``.
    """
    called: list[Mapping[str, Any]] = []
    sent: list[Mapping[str, Any]] = []
    for errback in errbacks or ():
        (called if takes_context(errback) else sent).append(errback)
    options = {"parent_id": task_id, "root_id": root_id or task_id}
    return ErrbackPlan(
        called=tuple(called),
        sent=Apply(group_dict(sent), (task_id,), options) if sent else None,
    )


def pending_steps(chain: Sequence[Mapping[str, Any]] | None) -> Iterator[PendingStep]:
    """Yield every task that a failed step keeps from running, nearest first, bodies of pending chords included."""
    for signature in reversed(chain or ()):
        yield from steps_of(signature)


def steps_of(signature: Mapping[str, Any]) -> Iterator[PendingStep]:
    """Yield every task in a frozen signature that has an id, those chained behind it included."""
    kind = signature.get("subtask_type")
    kwargs = signature.get("kwargs") or {}
    if kind == "chord":
        body = kwargs.get("body")
        if isinstance(body, Mapping):
            yield from steps_of(body)
        return
    if kind in ("chain", "group"):
        for task in kwargs.get("tasks") or ():
            if isinstance(task, Mapping):
                yield from steps_of(task)
        return
    options = signature.get("options") or {}
    if options.get("task_id"):
        yield PendingStep(
            task_id=options["task_id"],
            group=options.get("group_id"),
            group_index=options.get("group_index"),
            chord=options.get("chord"),
            reply_to=options.get("reply_to"),
        )
    yield from pending_steps(options.get("chain"))
