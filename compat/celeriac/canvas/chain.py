"""`chain`: tasks that run one after the other. Spec: results-and-workflows#6.1.

Before a chain is sent its steps are laid flat: nested chains are spliced, groups of one become their member, a group
followed by something becomes a chord, and what follows the body of a chord becomes a step of its own. Then all steps
are frozen, and the first is sent with the others in its message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

from celeriac.canvas.chord import chord, refuse_chords
from celeriac.canvas.group import group
from celeriac.canvas.mapped import chunks
from celeriac.canvas.signature import Signature, listed, maybe_signature, shorten

__all__ = ["chain", "flattened"]

_chord = chord  # where a parameter takes the name


class _Composing(type):
    """Calling the class composes what it is given: ``chain(a, b)`` is ``a | b``, which may be a chord."""

    def __call__(cls, *tasks: Any, **options: Any) -> Any:
        if not options and tasks and (len(tasks) > 1 or _is_list(tasks[0])):
            parts = list(tasks[0]) if len(tasks) == 1 else list(tasks)
            if len(parts) > 1:
                first, *others = (maybe_signature(part) for part in parts)
                if _is_trivial_group(first):
                    # Only here: ``group(a) | b`` with an operator is a chord.
                    first = chain.of([], app=first._app) | first
                return reduce(or_, others, first)
            tasks = tuple(parts)
        return super().__call__(*tasks, **options)


def _is_trivial_group(task: Any) -> bool:
    """Tell whether `task` is a group of one task, or of none."""
    return isinstance(task, group) and (
        not task.tasks or (len(task.tasks) == 1 and not isinstance(task.tasks[0], group))
    )


def _is_list(value: Any) -> bool:
    return not isinstance(value, Mapping) and isinstance(value, Iterable)


@Signature.register_type()
class chain(Signature, metaclass=_Composing):  # noqa: N801 - the public name
    """Tasks that run one after the other, each with the value of the one before.

    Args:
        *tasks: Signatures, or one iterable of them.
        **options: Call options, of the first task.
    """

    def __init__(self, *tasks: Any, **options: Any) -> None:
        app = options.pop("app", None)
        if len(tasks) == 1 and _is_list(tasks[0]):
            tasks = tuple(tasks[0])
        super().__init__(
            "celery.chain",
            (),
            {"tasks": [maybe_signature(task, app=app) for task in tasks]},
            options=options,
            subtask_type="chain",
            app=app,
        )

    @classmethod
    def of(cls, tasks: Iterable[Any], app: Any = None) -> chain:
        """Make a chain of exactly these tasks, without composing them."""
        made: chain = type.__call__(cls, app=app)
        made.tasks = [maybe_signature(task, app=app) for task in tasks]
        return made

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> Signature:
        made = cls.of(d["kwargs"]["tasks"], app=app)
        made.args = tuple(d["args"])
        made.options = dict(d["options"])
        made.immutable = bool(d["immutable"])
        return made

    @property
    def tasks(self) -> Any:
        """The steps, first one first."""
        return self.kwargs["tasks"]

    @tasks.setter
    def tasks(self, value: Any) -> None:
        self.kwargs["tasks"] = value

    def _parts(self) -> Iterable[Any]:
        return list(self.tasks)

    def clone(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **opts: Any,
    ) -> Any:
        """Return a copy; arguments are added to the first step."""
        _, _, options = self.merged(None, None, opts)
        tasks = [task.clone() for task in self.tasks]
        if tasks and not self.immutable and (args or kwargs):
            tasks[0] = tasks[0].clone(args, kwargs)
        made = chain.of(tasks, app=self._app)
        made.options = options
        made.immutable = self.immutable
        return made

    def unchain_tasks(self) -> list[Any]:
        """Return copies of the steps, with the links of the chain on them."""
        tasks = [task.clone() for task in self.tasks]
        if tasks:
            for errback in listed(self.options.get("link_error")):
                for task in tasks:
                    task.link_error(errback)
            for callback in listed(self.options.get("link")):
                tasks[-1].append_to_list_option("link", callback)
        return tasks

    # -- freezing and applying ----------------------------------------------------------------------------

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> Any:
        """Freeze every step; `_id`, group and chord belong to the last. Return the last step's result."""
        steps = flattened([task.clone() for task in self.tasks], self.app)
        results = _freeze_steps(
            steps,
            last_id=_id or self.options.get("task_id"),
            group_id=group_id,
            chord=chord,
            root_id=root_id,
            group_index=group_index,
        )
        self.tasks = steps
        if not results:
            return None
        self.options["task_id"] = results[-1].id
        return results[-1]

    _freeze = freeze

    def apply_async(  # type: ignore[override]
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Send the first step, with arguments and options added and the other steps in its message.

        Returns:
            The result of the last step, `None` for an empty chain.
        """
        if self.immutable:
            args = kwargs = None
        if self.app.conf.task_always_eager:
            return self.apply(args, kwargs, **options)
        _, _, options = self.merged(None, None, options)
        return self.run(args, kwargs, **options)

    def run(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        group_id: str | None = None,
        chord: Any = None,
        task_id: str | None = None,
        link: Any = None,
        link_error: Any = None,
        publisher: Any = None,
        producer: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        app: Any = None,
        group_index: int | None = None,
        chain: Sequence[Any] | None = None,
        **options: Any,
    ) -> Any:
        """Send the first step; `chain` holds steps, in reverse order, that follow this chain as a whole."""
        app = app or self.app
        steps = flattened([task.clone() for task in self.tasks], app)
        if not steps:
            return None
        if args or kwargs:
            steps[0] = steps[0].clone(args, kwargs)
        for errback in listed(link_error):
            for step in steps:
                step.link_error(errback)
        for callback in listed(link):
            steps[-1].append_to_list_option("link", callback)
        results = _freeze_steps(
            steps,
            last_id=task_id,
            group_id=group_id,
            chord=chord,
            root_id=root_id,
            group_index=group_index,
        )
        pending = [*(chain or ()), *reversed(steps[1:])]
        if root_id:
            options["root_id"] = root_id
        if parent_id:
            options["parent_id"] = parent_id
        options.pop("reply_to", None)
        steps[0].apply_async(chain=pending, producer=producer or publisher, **options)
        return results[-1]

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Run the steps here, one after the other; return the result of the last."""
        _, _, options = self.merged(None, None, options)
        task_id = options.pop("task_id", None)
        for name in ("chain", "root_id", "parent_id", "group_id", "group_index", "chord"):
            options.pop(name, None)
        link, link_error = options.pop("link", None), options.pop("link_error", None)
        steps = flattened([task.clone() for task in self.tasks], self.app)
        last: Any = None
        for position, step in enumerate(steps, 1):
            for errback in listed(link_error):
                step.link_error(errback)
            if position == len(steps):
                for callback in listed(link):
                    step.link(callback)
                if task_id:
                    step.options["task_id"] = task_id
            made = step.clone((last.get(),)) if last is not None else step.clone(args, kwargs)
            result = made.apply(**options)
            result.parent, last = last, result
        return last

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Send the first step, with arguments added."""
        return self.apply_async(args, kwargs) if self.tasks else None

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        if not self.tasks:
            return f"<{type(self).__name__}@{id(self):#x}: empty>"
        return " | ".join(shorten([repr(task) for task in self.tasks]))


def flattened(tasks: Iterable[Any], app: Any) -> list[Any]:
    """Return the steps a chain of `tasks` really has. The tasks are used up: hand over copies."""
    steps: list[Any] = []
    for task in tasks:
        for step in _unfolded(maybe_signature(task, app=app), app):
            _append(steps, step, app)
    return steps


def _unfolded(task: Any, app: Any) -> list[Any]:
    if isinstance(task, chain):
        return flattened(task.unchain_tasks(), app)
    if isinstance(task, group):
        members = list(task.tasks)
        if len(members) > 1:
            return [task]
        return flattened(members, app)
    if isinstance(task, chord):
        return _split(task, app)
    if isinstance(task, chunks):
        # A step has one value, so it is not the group that is sent but the task that sends it.
        return [Signature(dict(task), app=app)]
    return [task]


def _split(task: chord, app: Any) -> list[Any]:
    """Return a chord, and what follows the first task of its body as steps of their own."""
    body = maybe_signature(task.body, app=app)
    if isinstance(body, chain | chord):
        first, *rest = flattened([body], app)
        task.body = first
        return [task, *rest]
    return [task]


def _append(steps: list[Any], step: Any, app: Any) -> None:
    previous = steps[-1] if steps else None
    if isinstance(previous, group):
        # The key is in the messages of Celery too, even without a value.
        steps[-1] = chord(previous, body=step, app=app, root_id=None)
        return
    # A chord whose body is a group: what follows waits for that group, as in any chain.
    holder = previous if isinstance(previous, chord) else None
    while holder is not None and isinstance(holder.body, chord):
        holder = holder.body
    if holder is not None and isinstance(holder.body, group):
        holder.body = chord(holder.body, body=step, app=app)
        return
    steps.append(step)


def _freeze_steps(
    steps: list[Any],
    *,
    last_id: str | None,
    group_id: str | None,
    chord: Any,
    root_id: str | None,
    group_index: int | None,
) -> list[Any]:
    """Freeze all steps; return their results, each with the one before as the parent of its beginning."""
    for step in steps:
        if isinstance(step, _chord):
            refuse_chords(step.app)
    results: list[Any] = []
    for position, step in enumerate(steps, 1):
        if position == len(steps):
            result = step.freeze(
                last_id, group_id=group_id, chord=chord, root_id=root_id, group_index=group_index
            )
        else:
            result = step.freeze(root_id=root_id)
        if results:
            beginning = result
            while beginning.parent is not None:
                beginning = beginning.parent
            beginning.parent = results[-1]
        results.append(result)
    return results
