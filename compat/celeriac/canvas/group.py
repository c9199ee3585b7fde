"""`group`: tasks sent at the same time. Spec: results-and-workflows#6.2."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

from celeriac.canvas.signature import Signature, listed, maybe_signature, shorten
from celeriac.result import GroupResult

__all__ = ["group"]


def _members(tasks: tuple[Any, ...]) -> Any:
    """Return the members that a constructor's arguments mean, as a list or tuple."""
    if len(tasks) != 1:
        return tasks
    only = tasks[0]
    if isinstance(only, group):
        return only.tasks
    if isinstance(only, Mapping):
        return [only]
    return only if isinstance(only, list | tuple) else list(only)


@Signature.register_type()
class group(Signature):  # noqa: N801 - the public name
    """Tasks that run at the same time.

    Args:
        *tasks: Signatures, or one iterable of them.
        **options: Call options of every member.
    """

    def __init__(self, *tasks: Any, **options: Any) -> None:
        app = options.pop("app", None)
        members = _members(tasks)
        made = [maybe_signature(member, app=app) for member in members]
        super().__init__(
            "celery.group",
            (),
            {"tasks": tuple(made) if isinstance(members, tuple) else made},
            options=options,
            subtask_type="group",
            app=app,
        )

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> Signature:
        made = cls(list(d["kwargs"]["tasks"]), app=app)
        made.options = dict(d["options"])
        made.immutable = bool(d["immutable"])
        return made

    @property
    def tasks(self) -> Any:
        """The members."""
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
        """Return a copy; arguments are added to every member."""
        _, _, options = self.merged(None, None, opts)
        members = [member.clone(args, kwargs) for member in self.tasks]
        made = group(tuple(members) if isinstance(self.tasks, tuple) else members, app=self._app)
        made.options = options
        made.immutable = self.immutable
        return made

    # -- links --------------------------------------------------------------------------------------------

    def link(self, callback: Any) -> Any:
        """Apply `callback`, without arguments, after the first member."""
        if not self.tasks:
            return None
        immutable = maybe_signature(callback, app=self._app).clone()
        immutable.set_immutable(True)
        return self.tasks[0].link(immutable)

    def link_error(self, errback: Any) -> Any:
        """Apply `errback` when a member fails, for each that does."""
        for member in self.tasks:
            member.link_error(maybe_signature(errback, app=self._app).clone())
        return errback

    def set_immutable(self, immutable: bool) -> None:
        """Make every member immutable, or mutable."""
        for member in self.tasks:
            member.set_immutable(immutable)

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> group:
        """Give members countdowns that differ by `step` seconds, from `start` up to but without `stop`."""
        countdown = start
        for member in self.tasks:
            member.set(countdown=countdown)
            countdown += step
            if stop is not None and countdown >= stop:
                countdown = start
        return self

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
        """Fix the group's id and freeze the members; return the `GroupResult`.

        Groups inside this one are spliced in: their members become members here.
        """
        options = self.options
        own_id = options.get("task_id")
        if not own_id:
            own_id = options["task_id"] = _id or str(uuid4())
        if group_id and "group_id" not in options:
            options["group_id"] = group_id
        if chord:
            options["chord"] = chord
        if group_index is not None:
            options["group_index"] = group_index
        options["root_id"] = root_id
        options["parent_id"] = parent_id
        # Copies: the same signature may be a member twice, and each needs an id of its own.
        pairs = [(index, member.clone()) for index, member in self._indexed(self.tasks)]
        results = [
            member.freeze(
                group_id=group_id,
                chord=chord,
                root_id=root_id,
                parent_id=parent_id,
                group_index=index,
            )
            for index, member in pairs
        ]
        self.tasks = [member for _, member in pairs]
        return self.app.GroupResult(own_id, results)

    _freeze = freeze

    def _indexed(self, tasks: Iterable[Any]) -> Iterator[tuple[int, Signature]]:
        """Yield (index, member), the members of inner groups with the indexes they have there."""
        for index, given in enumerate(tasks):
            member = maybe_signature(given, app=self._app)
            if isinstance(member, group):
                yield from member._indexed(member.tasks)
            else:
                yield index, member

    def apply_async(  # type: ignore[override]
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        add_to_parent: bool = True,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        **options: Any,
    ) -> Any:
        """Publish every member, with arguments and options added.

        Raises:
            TypeError: `link` or `link_error` was given: a group has no value of its own.
        """
        if link is not None:
            raise TypeError("Cannot add link to group: use a chord")
        if link_error is not None:
            raise TypeError("Cannot add link to group: do that on individual tasks")
        app = self.app
        if app.conf.task_always_eager:
            return self.apply(args, kwargs, **options)
        _, _, options = self.merged(None, None, options)
        for callback in listed(options.pop("link", None)):
            self.link(callback)
        options.pop("link_error", None)
        parent = app.current_worker_task
        result = self.send_members(app, args, kwargs, options, producer)
        if parent is not None and add_to_parent:
            parent.add_trail(result)
        return result

    def send_members(
        self,
        app: Any,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any],
        producer: Any = None,
        *,
        before_first: Callable[[GroupResult], None] | None = None,
        before_last: Callable[[], None] | None = None,
    ) -> GroupResult:
        """Freeze and publish the members.

        Args:
            app: The app.
            args: Prepended to the members' arguments.
            kwargs: Laid over their keyword arguments.
            options: Of every member; `chord` is the body they are parts of, `task_id` the group's id.
            producer: What to publish through.
            before_first: Called with the group's result when all ids are known and nothing was sent.
            before_last: Called before the last member is sent.
        """
        shared = dict(options)
        group_id = shared.pop("task_id", None) or str(uuid4())
        chord = shared.pop("chord", None)
        # Where this group itself belongs is not where its members do: each of them knows that when it was frozen.
        for name in ("group_id", "group_index", "reply_to"):
            shared.pop(name, None)
        prepared = []
        for index, member in self._indexed(self.tasks):
            made = member.clone(args, kwargs)
            result = made.freeze(
                group_id=group_id, chord=chord, root_id=shared.get("root_id"), group_index=index
            )
            prepared.append((made, result))
        group_result: GroupResult = app.GroupResult(group_id, [result for _, result in prepared])
        if before_first is not None:
            before_first(group_result)
        for position, (made, _) in enumerate(prepared, 1):
            if before_last is not None and position == len(prepared):
                before_last()
            made.apply_async(producer=producer, add_to_parent=False, chord=chord, **shared)
        return group_result

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Run every member here."""
        app = self.app
        _, _, options = self.merged(None, None, options)
        group_id = options.pop("task_id", None) or str(uuid4())
        options.pop("add_to_parent", None)
        results = [
            member.clone(args, kwargs).apply(**options) for _, member in self._indexed(self.tasks)
        ]
        return app.GroupResult(group_id, results)

    def __call__(self, *partial_args: Any, **options: Any) -> Any:
        """Publish every member, with positional arguments added."""
        return self.apply_async(partial_args, **options)

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        if not self.tasks:
            return "group(<empty>)"
        first, *others = shorten([repr(member) for member in self.tasks])
        inside = ", ".join([first, *others])
        if isinstance(self.tasks, tuple):
            return f"group(({inside}{',' if not others else ''}))"
        return f"group([{inside}])"
