"""`chord`: a group of tasks, and one that gets the list of their values. Spec: results-and-workflows#6.3, #6.5."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from celeriac.canvas.group import group
from celeriac.canvas.signature import Signature, listed, maybe_signature, shorten
from celeriac.result import GroupResult

__all__ = ["chord", "count_parts", "refuse_chords"]

_NOT_OF_THE_BODY = frozenset({"parent_id", "countdown", "eta", "link", "link_error", "router"})
"""Options of a chord that its body does not take over; links are added to its own."""
_NOT_OF_THE_HEADER = frozenset(
    {
        "task_id",
        "chain",
        "link",
        "link_error",
        "chord",
        "add_to_parent",
        "group_id",
        "group_index",
        "replaced_task_nesting",
    }
)
"""Options of a chord that are about its body alone."""


def _tasks_of(header: Any) -> Any:
    """Return the header's tasks for what a caller gave as header."""
    if isinstance(header, Mapping):
        header = maybe_signature(header)
    if isinstance(header, Signature):
        if header.subtask_type in ("group", "chain"):
            return header.kwargs["tasks"]
        return [header]
    return header if isinstance(header, list | tuple) else list(header)


@Signature.register_type()
class chord(Signature):  # noqa: N801 - the public name
    """A header of tasks that run at the same time, and a body called with the list of their values.

    Args:
        header: Signatures, or a group.
        body: Signature; may be left for the call.
        task: Name of the task.
        args: Prepended to the arguments of every header task.
        kwargs: Keyword arguments for every header task.
        app: Default: the body's, else a header task's, else the current app.
        **options: Call options of header and body.
    """

    def __init__(
        self,
        header: Any,
        body: Any = None,
        task: str = "celery.chord",
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        app: Any = None,
        **options: Any,
    ) -> None:
        tasks = _tasks_of(header)
        made = [maybe_signature(member, app=app) for member in tasks]
        super().__init__(
            task,
            args or (),
            {
                "kwargs": dict(kwargs or {}),
                "header": tuple(made) if isinstance(tasks, tuple) else made,
                "body": maybe_signature(body, app=app),
            },
            options=options,
            subtask_type="chord",
            app=app,
        )

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> Signature:
        given = d["kwargs"]
        header = given["header"]
        made = cls([], given.get("body"), d["task"], d["args"], given.get("kwargs"), app=app)
        if isinstance(header, Mapping):
            # A frozen header is a group with an id of its own.
            made.kwargs["header"] = maybe_signature(header, app=app)
        else:
            made.kwargs["header"] = [maybe_signature(task, app=app) for task in header]
        made.options = dict(d["options"])
        made.immutable = bool(d["immutable"])
        return made

    @property
    def tasks(self) -> Any:
        """The header: a list, or a group once frozen."""
        return self.kwargs["header"]

    @tasks.setter
    def tasks(self, value: Any) -> None:
        self.kwargs["header"] = value

    @property
    def body(self) -> Any:
        """What gets the list of values."""
        return self.kwargs["body"]

    @body.setter
    def body(self, value: Any) -> None:
        self.kwargs["body"] = value

    @property
    def members(self) -> list[Any]:
        """The header's tasks as a list, those of groups inside it in their place."""
        return list(_spliced(_tasks_of(self.tasks), self._app))

    def _parts(self) -> Iterable[Any]:
        return [self.body, *_tasks_of(self.tasks)]

    def clone(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **opts: Any,
    ) -> Any:
        """Return a copy; arguments are added to every header task."""
        given = None if self.immutable else args
        _, _, options = self.merged(None, None, opts)
        made = chord([], app=self._app)
        made.args = (*(given or ()), *self.args)
        tasks = self.tasks
        made.kwargs["kwargs"] = {**self.kwargs["kwargs"], **(kwargs or {})}
        made.kwargs["header"] = (
            tasks.clone()
            if isinstance(tasks, Signature)
            else type(tasks)(task.clone() for task in tasks)
        )
        made.kwargs["body"] = None if self.body is None else self.body.clone()
        made.options = options
        made.immutable = self.immutable
        return made

    # -- links --------------------------------------------------------------------------------------------

    def link(self, callback: Any) -> Any:
        """Apply `callback` with the body's value."""
        self.body.link(callback)
        return callback

    def link_error(self, errback: Any) -> Any:
        """Apply `errback` when the body fails, or cannot run.

        With the setting `task_allow_error_cb_on_chord_header` also for each header task that fails.
        """
        if self.app.conf.task_allow_error_cb_on_chord_header:
            for task in _tasks_of(self.tasks):
                task.link_error(maybe_signature(errback, app=self._app).clone(immutable=True))
        if self.body is not None:
            self.body.link_error(errback)
        return errback

    def set_immutable(self, immutable: bool) -> None:
        """Make every header task immutable, or mutable."""
        for task in _tasks_of(self.tasks):
            task.set_immutable(immutable)

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
        """Freeze body and header; `_id`, group and chord belong to the body. Return the body's result."""
        app = self.app
        body = self.body = maybe_signature(self.body, app=app)
        result = body.freeze(
            _id, group_id=group_id, chord=chord, root_id=root_id, group_index=group_index
        )
        header = self._header(app)
        header_result = header.freeze(
            self.options.get("task_id"), root_id=root_id, parent_id=parent_id
        )
        self.tasks = header
        self.options["task_id"] = header_result.id
        beginning = result
        while beginning.parent is not None:
            beginning = beginning.parent
        beginning.parent = header_result
        return result

    _freeze = freeze

    def _header(self, app: Any) -> group:
        """Return the header as a flat group that has the id it was frozen with."""
        header = group(self.members, app=app)
        if isinstance(self.tasks, group):
            header.options = dict(self.tasks.options)
        return header

    def apply_async(  # type: ignore[override]
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        producer: Any = None,
        publisher: Any = None,
        connection: Any = None,
        router: Any = None,
        result_cls: Any = None,
        body: Any = None,
        **options: Any,
    ) -> Any:
        """Send the header; the worker that finishes the last of it sends the body.

        Args:
            args: Prepended to the arguments of every header task.
            kwargs: Laid over their keyword arguments.
            task_id: Id of the body.
            producer: What to publish through.
            publisher: Old name of `producer`.
            connection: Accepted for the sake of callers.
            router: Object asked for the destination instead of the app's.
            result_cls: Accepted for the sake of callers.
            body: Used instead of the own one.
            options: Call options of header and body; `interval` and `max_retries` of the polling task, where the
                backend needs one.

        Returns:
            The body's result.

        Raises:
            NotImplementedError: The result backend cannot do chords.
            TypeError: There is no body.
        """
        given_body = self.body if body is None else body
        if given_body is None:
            raise TypeError("a chord needs a body")
        app = self.app
        if app.conf.task_always_eager:
            return self.apply(args, kwargs, body=given_body, task_id=task_id, **options)
        own = {key: value for key, value in self.options.items() if key != "task_id"}
        options = {**own, **options}
        if self.immutable:
            args = kwargs = None
        if router is not None:
            options["router"] = router
        return self._send(
            maybe_signature(given_body, app=app, clone=True),
            (*(args or ()), *self.args),
            {**self.kwargs["kwargs"], **(kwargs or {})},
            task_id,
            producer or publisher,
            options,
        )

    def _send(
        self,
        body: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        task_id: str | None,
        producer: Any,
        options: dict[str, Any],
    ) -> Any:
        app = self.app
        interval, max_retries = options.pop("interval", None), options.pop("max_retries", None)
        for callback in listed(options.get("link")):
            body.link(callback)
        for errback in listed(options.get("link_error")):
            body.link_error(errback)
        body.options.update({k: v for k, v in options.items() if k not in _NOT_OF_THE_BODY})
        header = self._header(app)
        group_id = header.options.get("task_id") or self.options.get("task_id") or str(uuid4())
        root_id, parent_id = options.get("root_id"), options.get("parent_id")
        result = body.freeze(task_id, group_id=group_id, root_id=root_id)
        if not header.tasks:
            result.parent = app.GroupResult(group_id, [])
            body.apply_async(
                ([],), producer=producer, **({"parent_id": parent_id} if parent_id else {})
            )
            return result
        refuse_chords(app)
        size = sum(count_parts(task) for task in header.tasks)
        if app.backend.chords == "native":
            # Later workers read the size from the backend; those of 4.0 to 5.0 only from here, and fail without it.
            body["chord_size"] = size
        shared = {key: value for key, value in options.items() if key not in _NOT_OF_THE_HEADER}
        parent = app.current_worker_task
        result.parent = header.send_members(
            app,
            args,
            kwargs,
            {**shared, "root_id": root_id, "chord": body, "task_id": group_id},
            producer,
            before_first=lambda group: _begin(app, group, header, body, interval, max_retries),
            before_last=lambda: app.backend.start_chord(group_id, size),
        )
        if parent is not None and options.get("add_to_parent", True):
            parent.add_trail(result.parent)
        return result

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        propagate: bool = True,
        body: Any = None,
        **options: Any,
    ) -> Any:
        """Run header and body here; return the body's result."""
        app = self.app
        given_body = maybe_signature(self.body if body is None else body, app=app, clone=True)
        task_id = options.pop("task_id", None)
        for callback in listed(options.pop("link", None)):
            given_body.link(callback)
        for errback in listed(options.pop("link_error", None)):
            given_body.link_error(errback)
        header = group(self.members, app=app).apply(
            (*(args or ()), *self.args), {**self.kwargs["kwargs"], **(kwargs or {})}
        )
        values = header.get(propagate=propagate)
        result = given_body.apply((values,), **({"task_id": task_id} if task_id else {}))
        result.parent = header
        return result

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Send the header; `body` is used instead of the own one."""
        return self.apply_async((), body=body, **options)

    def __length_hint__(self) -> int:
        return sum(count_parts(task) for task in self.members)

    def __len__(self) -> int:
        return self.__length_hint__()

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        if self.body is None:
            return f"<chord without body: {self.tasks!r}>"
        if self.body.subtask_type == "chain":
            first, *others = self.body.tasks
            texts = [first.reprcall(self.tasks), *(repr(task) for task in others)]
            return f"%({' | '.join(shorten(_shortened(texts)))})"
        return f"%{_shortened([self.body.reprcall(self.tasks)])[0]}"


def _shortened(texts: list[str]) -> list[str]:
    """Take the module of the body out of the header's texts in the first."""
    head, paren, tail = texts[0].partition("(")
    prefix = head.rpartition(".")[0]
    if prefix:
        tail = tail.replace(f"{prefix}.", "")
    return [f"{head}{paren}{tail}", *texts[1:]]


def _spliced(tasks: Iterable[Any], app: Any) -> Iterable[Any]:
    for given in tasks:
        task = maybe_signature(given, app=app)
        if isinstance(task, group):
            yield from _spliced(task.tasks, app)
        else:
            yield task


def count_parts(task: Any) -> int:
    """Return how many parts a header task contributes. Spec: results-and-workflows#6.5."""
    kind = task.get("subtask_type")
    if kind == "group":
        return sum(count_parts(member) for member in task["kwargs"]["tasks"])
    if kind == "chord":
        return count_parts(task["kwargs"]["body"])
    if kind == "chain":
        counts = (count_parts(step) for step in reversed(task["kwargs"]["tasks"]))
        return next((count for count in counts if count), 0)
    return 1


def refuse_chords(app: Any) -> None:
    """Raise `NotImplementedError` when the result backend cannot do chords."""
    backend = app.backend
    if backend.chords == "refused":
        raise NotImplementedError(backend.no_chords_text)


def _begin(
    app: Any,
    header_result: GroupResult,
    header: group,
    body: Any,
    interval: float | None,
    max_retries: int | None,
) -> None:
    """Prepare the backend, when all ids are known and nothing was sent."""
    backend = app.backend
    group_id = str(header_result.id)
    if any(isinstance(member, GroupResult) for member in header_result.results):
        # The value of such a part is a list: whoever joins the chord needs the shape.
        backend.store_group(group_id, header_result.as_tuple())
    if backend.chords != "unlock":
        return
    # The task that polls shares queue and priority with the body.
    task = body._task()
    options = {**({} if task is None else task.own_options()), **body.options}
    queue = app.amqp.router.route(options, body.task, (), {}, task=task).get("queue")
    app.tasks["celery.chord_unlock"].apply_async(
        (group_id, body),
        {
            "interval": interval,
            "max_retries": max_retries,
            "result": [member.as_tuple() for member in header_result.results],
            "_chord_unlock_exchange_type": getattr(queue and queue.exchange, "type", "direct"),
        },
        countdown=1,
        queue=queue,
        priority=options.get("priority"),
        add_to_parent=False,
    )
