"""`Signature`: a call someone intends to make. It is a dict, because it travels inside messages as one.

Freezing gives a signature its id and notes where it belongs, before anything is sent: that is how the sender of a chain
knows the id of its last step. Applying merges what the signature holds with what the caller adds, and hands the call to
the task, or publishes it by name when no task of that name is registered here.

Spec: task-message#8, results-and-workflows#6
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from uuid import uuid4

from celeriac.result.current import app_or_current
from celeriac_protocol.signature import normalize

if TYPE_CHECKING:
    from celeriac.result import AsyncResult, EagerResult

__all__ = ["Signature", "listed", "maybe_signature", "shorten", "signature", "subtask"]

SignatureType = TypeVar("SignatureType", bound="Signature")

_OWN_WINS = frozenset({"group_id", "stamped_headers"})
"""Options that keep their own value whatever the caller adds."""


def listed(value: Any) -> list[Any]:
    """Return one thing, several or none as a list. A signature is one thing, though it is a dict."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


class Signature(dict[str, Any]):
    """Arguments, options and the name of a task.

    Args:
        task: The task, its name, or a dict form to copy.
        args: Positional arguments.
        kwargs: Keyword arguments.
        options: What `apply_async` takes.
        type: The task, when `task` is its name.
        subtask_type: Name of the kind of signature; `None` for a plain call.
        immutable: Results of earlier tasks are not prepended.
        app: Default: the current app.
        **ex: More options.
    """

    TYPES: ClassVar[dict[str, type[Signature]]] = {}

    def __init__(
        self,
        task: Any = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        type: Any = None,
        subtask_type: str | None = None,
        immutable: bool = False,
        app: Any = None,
        **ex: Any,
    ) -> None:
        self._app = app
        self._type = type
        if isinstance(task, dict):
            super().__init__(task)
            return
        if task is not None and not isinstance(task, str):
            self._type = task
            if app is None:
                self._app = task.app
            task = task.name
        super().__init__(
            task=task,
            args=tuple(args or ()),
            kwargs=dict(kwargs or {}),
            options={**(options or {}), **ex},
            subtask_type=subtask_type,
            immutable=immutable,
        )

    # -- registry of kinds --------------------------------------------------------------------------------

    @classmethod
    def register_type(
        cls, name: str | None = None
    ) -> Callable[[type[SignatureType]], type[SignatureType]]:
        """Register a class for dict forms of that `subtask_type`; a decorator."""

        def register(subclass: type[SignatureType]) -> type[SignatureType]:
            cls.TYPES[name or subclass.__name__] = subclass
            return subclass

        return register

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> Signature:
        """Make a signature of the right kind from a dict form, whatever version wrote it.

        Raises:
            InvalidTaskError: The form lacks a task or options, or a part has the wrong type.
        """
        form = normalize(d)
        kind: Any = cls.TYPES.get(str(form["subtask_type"]))
        if kind is not None and kind is not cls:
            made: Signature = kind.from_dict(form, app=app)
            return made
        return Signature(form, app=app)

    # -- fields -------------------------------------------------------------------------------------------

    @property
    def task(self) -> str:
        """Name of the task."""
        return self["task"]  # type: ignore[no-any-return]

    @task.setter
    def task(self, value: str) -> None:
        self["task"] = value

    @property
    def args(self) -> Any:
        """Positional arguments."""
        return self["args"]

    @args.setter
    def args(self, value: Any) -> None:
        self["args"] = value

    @property
    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments."""
        return self["kwargs"]  # type: ignore[no-any-return]

    @kwargs.setter
    def kwargs(self, value: dict[str, Any]) -> None:
        self["kwargs"] = value

    @property
    def options(self) -> dict[str, Any]:
        """Call options."""
        return self["options"]  # type: ignore[no-any-return]

    @options.setter
    def options(self, value: dict[str, Any]) -> None:
        self["options"] = value

    @property
    def subtask_type(self) -> str | None:
        """Kind of signature."""
        return self["subtask_type"]  # type: ignore[no-any-return]

    @subtask_type.setter
    def subtask_type(self, value: str | None) -> None:
        self["subtask_type"] = value

    @property
    def immutable(self) -> bool:
        """Whether results of earlier tasks are kept out."""
        return self["immutable"]  # type: ignore[no-any-return]

    @immutable.setter
    def immutable(self, value: bool) -> None:
        self["immutable"] = value

    @property
    def id(self) -> str | None:
        """Task id, once frozen."""
        return self.options.get("task_id")

    @property
    def parent_id(self) -> str | None:
        """Id of the parent, if noted."""
        return self.options.get("parent_id")

    @property
    def root_id(self) -> str | None:
        """Id of the root, if noted."""
        return self.options.get("root_id")

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.task

    @property
    def app(self) -> Any:
        """The app that applies it: its own, that of a part of it, or the current one."""
        if self._app is None:
            self._app = self._known_app() or app_or_current()
        return self._app

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    def _known_app(self) -> Any:
        """Return the app it was made with, or a part of it, or `None`."""
        if self._app is not None:
            return self._app
        parts = (part for part in self._parts() if isinstance(part, Signature))
        return next((app for part in parts if (app := part._known_app()) is not None), None)

    def _parts(self) -> Iterable[Any]:
        """Return the signatures this one is made of."""
        return ()

    @property
    def type(self) -> Any:
        """The task; `NotRegistered` when there is none of that name."""
        return self._type if self._type is not None else self.app.tasks[self.task]

    # -- making others ------------------------------------------------------------------------------------

    def merged(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        force: bool = False,
    ) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Return arguments, keyword arguments and options with those of a caller added.

        Args:
            args: Go before the own ones.
            kwargs: Go over the own ones.
            options: Go over the own ones, but for the group id and the stamps.
            force: Add arguments to an immutable signature too.
        """
        own = self.options
        if options:
            kept = _OWN_WINS.union(own.get("stamped_headers") or ())
            merged = {
                **own,
                **{k: v for k, v in options.items() if not (k in kept and k in own)},
            }
        else:
            merged = dict(own)
        if self.immutable and not force:
            return self.args, self.kwargs, merged
        return (
            (*args, *self.args) if args else self.args,
            {**self.kwargs, **kwargs} if kwargs else self.kwargs,
            merged,
        )

    def clone(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **opts: Any,
    ) -> Any:
        """Return a deep copy with arguments and options added."""
        args, kwargs, options = self.merged(args, kwargs, opts)
        form = {
            **self,
            "args": args,
            "kwargs": copy.deepcopy(dict(kwargs)),
            "options": copy.deepcopy(options),
        }
        # Our own form needs no checks; other kinds know how to put themselves together.
        plain = type(self) is Signature
        made = Signature(form, app=self._app) if plain else self.from_dict(form, app=self._app)
        made._type = self._type
        return made

    partial = clone

    def replace(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return a copy with whole parts replaced."""
        made = self.clone()
        if args is not None:
            made.args = args
        if kwargs is not None:
            made.kwargs = kwargs
        if options is not None:
            made.options = options
        return made

    def set(self, immutable: bool | None = None, **options: Any) -> Any:
        """Set options in place; return this."""
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Make it immutable, or mutable."""
        self.immutable = immutable

    # -- links --------------------------------------------------------------------------------------------

    def append_to_list_option(self, key: str, value: Any) -> Any:
        """Add to an option that is a list, unless it is in there; return `value`."""
        items = self._list_option(key)
        if value not in items:
            items.append(value)
        return value

    def extend_list_option(self, key: str, value: Any) -> None:
        """Add several to an option that is a list."""
        self._list_option(key).extend(listed(value))

    def _list_option(self, key: str) -> list[Any]:
        items = self.options.get(key)
        if not isinstance(items, list):
            items = self.options[key] = listed(items)
        return items

    def link(self, callback: Any) -> Any:
        """Apply `callback` with the return value; return `callback`."""
        return self.append_to_list_option("link", callback)

    def link_error(self, errback: Any) -> Any:
        """Apply `errback` on failure; return `errback`."""
        return self.append_to_list_option("link_error", errback)

    def on_error(self, errback: Any) -> Any:
        """Apply `errback` on failure; return this."""
        self.link_error(errback)
        return self

    def flatten_links(self) -> list[Any]:
        """Return this and all its callbacks, and theirs, as one list."""
        found: list[Any] = [self]
        for callback in listed(self.options.get("link")):
            found.extend(maybe_signature(callback, app=self._app).flatten_links())
        return found

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
        """Fix the id and the place in a workflow; return the result.

        Args:
            _id: Id, unless it has one.
            group_id: Group it is in, unless it knows one.
            chord: Body of the chord it is a part of.
            root_id: First task of the workflow.
            parent_id: Task that sends it.
            group_index: Its place in the group.
        """
        options = self.options
        task_id = options.get("task_id")
        if not task_id:
            task_id = options["task_id"] = _id or str(uuid4())
        if root_id:
            options["root_id"] = root_id
        if parent_id:
            options["parent_id"] = parent_id
        if "reply_to" not in options:
            options["reply_to"] = self.app.thread_oid
        if group_id and "group_id" not in options:
            options["group_id"] = group_id
        if chord:
            options["chord"] = chord
        if group_index is not None:
            options["group_index"] = group_index
        return self.AsyncResult(task_id)

    _freeze = freeze

    def AsyncResult(self, task_id: str) -> AsyncResult:  # noqa: N802 - the public name
        """Return the result of a task with that id."""
        task = self._task()
        made: AsyncResult = (self.app if task is None else task).AsyncResult(task_id)
        return made

    def _task(self) -> Any:
        """Return the task, or `None` when there is none of that name here."""
        if self._type is None:
            self._type = self.app.tasks.get(self.task)
        return self._type

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        route_name: str | None = None,
        **options: Any,
    ) -> Any:
        """Publish the call, with arguments and options added."""
        options = {key: value for key, value in options.items() if value is not None}
        args, kwargs, options = self.merged(args, kwargs, options)
        if route_name is not None:
            options["route_name"] = route_name
        task = self._task()
        if task is None:
            return self.app.send_task(self.task, args, kwargs, **options)
        return task.apply_async(args, kwargs, **options)

    def delay(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        """Publish the call, with arguments added."""
        return self.apply_async(partial_args, partial_kwargs)

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> EagerResult:
        """Run the call here, with arguments and options added."""
        args, kwargs, options = self.merged(args, kwargs, options)
        result: EagerResult = self.type.apply(args, kwargs, **options)
        return result

    def __call__(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        """Call the task here and now, as a function."""
        args, kwargs, _ = self.merged(partial_args, partial_kwargs)
        return self.type(*args, **kwargs)

    def __invert__(self) -> Any:
        """Publish the call and wait for its value."""
        return self.apply_async().get()

    def __or__(self, other: Any) -> Any:
        from celeriac.canvas.combine import combine

        return combine(self, other)

    def __ior__(self, other: Any) -> Any:
        return self.__or__(other)

    # -- stamps -------------------------------------------------------------------------------------------

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> None:
        """Stamp this and everything in it.

        Args:
            visitor: Chooses the stamps of each part.
            append_stamps: Keep values that are there already: both go into one list, the new one first.
            headers: Stamps.

        Spec: task-message#9
        """
        from celeriac.canvas.stamping import stamp

        stamp(self, visitor, append_stamps, headers)

    def stamp_links(self, visitor: Any, append_stamps: bool = False, **headers: Any) -> None:
        """Stamp the callbacks and errbacks, and theirs."""
        from celeriac.canvas.stamping import stamp_links

        stamp_links(self, visitor, append_stamps, headers)

    # -- as a value ---------------------------------------------------------------------------------------

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """Return the call as text, with arguments added."""
        positional, keywords, _ = self.merged(args, kwargs, force=True)
        texts = [repr(value) for value in positional]
        texts += [f"{key}={value!r}" for key, value in keywords.items()]
        return f"{self.task}({', '.join(texts)})"

    def __repr__(self) -> str:
        return self.reprcall()

    def __json__(self) -> dict[str, Any]:
        return dict(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return signature, (dict(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        made._app, made._type = self._app, self._type
        made.update({key: copy.deepcopy(value, memo) for key, value in self.items()})
        return made


def signature(varies: Any, *args: Any, **kwargs: Any) -> Any:
    """Make a signature.

    Args:
        varies: A task or the name of one, followed by `args`, `kwargs` and options; or a signature, which is copied, or
            the dict form of one.
        args: See `Signature`.
        kwargs: See `Signature`.
    """
    app = kwargs.get("app")
    if isinstance(varies, dict):
        if isinstance(varies, Signature):
            return varies.clone()
        return Signature.from_dict(varies, app=app)
    return Signature(varies, *args, **kwargs)


subtask = signature


def maybe_signature(d: Any, app: Any = None, clone: bool = False) -> Any:
    """Return a dict form as a signature; a signature (or a copy of it) and `None` as they are.

    Args:
        d: What may be a signature.
        app: Given to a signature that has none.
        clone: Copy a signature.
    """
    if d is None:
        return None
    if isinstance(d, Signature):
        made = d.clone() if clone else d
    elif isinstance(d, Mapping):
        made = signature(dict(d), app=app)
    else:
        return d
    if app is not None and made._app is None:
        made._app = app
    return made


def shorten(texts: Iterable[str]) -> Iterator[str]:
    """Yield texts of calls, the module of the first taken out of the others."""
    prefix: str | None = None
    for text in texts:
        if prefix is None:
            prefix = text.split("(", 1)[0].rpartition(".")[0]
            yield text
        else:
            yield text.replace(f"{prefix}.", "") if prefix else text
