"""`AsyncResult`: what a caller holds while a task runs somewhere else.

It knows an id, a backend and perhaps the result of the step before it in a chain. Documents are read on demand and kept
only once they are final.

Spec: app-and-cli#6, results-and-workflows#3
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celeriac.exceptions import IncompleteStream, TimeoutError
from celeriac.result.blocking import assert_will_not_block
from celeriac.result.current import app_or_current
from celeriac.result.failures import value_of
from celeriac_protocol.result import PROPAGATE_STATES, READY_STATES, ResultMeta, State
from celeriac_protocol.times import parse_iso8601

if TYPE_CHECKING:
    from celeriac.backends.base import ResultBackend

__all__ = [
    "AsyncResult",
    "MessageHook",
    "ResultBase",
    "importable_class",
    "result_from_tuple",
    "result_tuple_of",
    "supports_native_join",
]


class ResultBase:
    """Base of everything that stands for an outcome."""

    parent: Any = None
    """Result of what ran before this, in a chain."""

    def as_tuple(self) -> tuple[Any, Any]:
        """Return the tuple form, as stored in documents."""
        raise NotImplementedError


class MessageHook:
    """Hands documents to a caller's `on_message`, each once: only some backends show those that are not final.

    Args:
        on_message: The caller's function, if there is one.
    """

    def __init__(self, on_message: Callable[[dict[str, Any]], Any] | None) -> None:
        self._on_message = on_message
        self._taken: ResultMeta | None = None

    def take(self, meta: ResultMeta) -> None:
        """Hand over a document that the backend shows."""
        self._taken = meta
        if self._on_message is not None:
            self._on_message(meta.to_dict())

    def end(self, meta: ResultMeta) -> None:
        """Hand over a final document, unless the backend has shown it."""
        if meta is not self._taken:
            self.take(meta)


class AsyncResult(ResultBase):
    """The outcome of one task, by id.

    Args:
        id: Task id.
        backend: Where the document is; the app's backend by default.
        task_name: Name of the task, if known.
        app: Default: the current app.
        parent: Result of the step before.

    Raises:
        ValueError: `id` is `None`.
    """

    TimeoutError = TimeoutError

    def __init__(
        self,
        id: str,
        backend: ResultBackend | None = None,
        task_name: str | None = None,
        app: Any = None,
        parent: Any = None,
    ) -> None:
        if id is None:
            raise ValueError(f"AsyncResult requires valid id, not {type(id)}")
        self._app = app
        self._backend = backend
        self.id = id
        self.parent = parent
        self.task_name = task_name
        self.ignored = False
        self._meta: ResultMeta | None = None
        self._value: Any = None
        self._children: list[Any] | None = None
        self._callbacks: list[tuple[Callable[..., Any], Callable[..., Any] | None]] = []

    @property
    def app(self) -> Any:
        """The app this belongs to."""
        if self._app is None:
            self._app = app_or_current()
        return self._app

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @property
    def backend(self) -> ResultBackend:
        """Where the document is."""
        found: ResultBackend = self._backend or self.app.backend
        return found

    @backend.setter
    def backend(self, backend: ResultBackend) -> None:
        self._backend = backend

    @property
    def task_id(self) -> str:
        """The same as `id`."""
        return self.id

    @task_id.setter
    def task_id(self, value: str) -> None:
        self.id = value

    # -- waiting ------------------------------------------------------------------------------------------

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, Any], Any] | None = None,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,
        **_unused: Any,
    ) -> Any:
        """Wait until the task is done and return its value.

        Args:
            timeout: Seconds; `None` waits for ever.
            propagate: Raise the task's exception instead of returning it.
            interval: Seconds between looks, for backends that must poll.
            no_ack: Accepted for the sake of callers; documents are never acknowledged late.
            follow_parents: Raise the exception of an earlier step of the chain that failed.
            callback: Called as ``callback(id, value)`` before returning.
            on_message: Called with each document that arrives while waiting, as a dict: those of states on the way
                too, where the backend pushes them (redis, rpc); else the final one.
            on_interval: Called now and again while waiting.
            disable_sync_subtasks: Refuse to wait inside a task.

        Raises:
            TimeoutError: It took longer.
            RuntimeError: Called inside a task, which may deadlock.
        """
        if self.ignored:
            return None
        if disable_sync_subtasks:
            assert_will_not_block()
        check_parents = propagate and follow_parents and self.parent is not None
        if check_parents:
            # Also where this result is known already: it may hold no more than what an earlier failure made of it.
            self._raise_of_parents()
        if self._meta is None:
            self._wait(timeout, interval, check_parents, on_message, on_interval)
        return self._conclude(propagate, callback)

    wait = get

    def _wait(
        self,
        timeout: float | None,
        interval: float,
        check_parents: bool,
        on_message: Callable[[dict[str, Any]], Any] | None,
        on_interval: Callable[[], Any] | None,
    ) -> None:
        steps: list[Callable[[], Any]] = []
        if check_parents:
            steps.append(self._raise_of_parents)
        if on_interval is not None:
            steps.append(on_interval)

        hook = MessageHook(on_message)

        def on_meta(meta: ResultMeta) -> None:
            hook.end(meta)
            self._keep(meta)

        self.backend.wait(
            [self.id],
            timeout_s=timeout,
            interval_s=interval,
            on_meta=on_meta,
            on_interval=_all_of(steps),
            on_message=hook.take,
        )

    def _conclude(self, propagate: bool, callback: Callable[[str, Any], Any] | None) -> Any:
        meta = self._read()
        value = self._value if self._meta is not None else value_of(meta)
        if propagate and meta.status in PROPAGATE_STATES:
            self.throw(value)
        if callback is not None:
            callback(self.id, value)
        return value

    def _raise_of_parents(self) -> None:
        for node in reversed(list(self._parents())):
            node.maybe_throw()

    def _parents(self) -> Iterator[Any]:
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    # -- the document -------------------------------------------------------------------------------------

    def _read(self) -> ResultMeta:
        if self._meta is not None:
            return self._meta
        meta = self.backend.fetch(self.id)
        if meta.status in READY_STATES:
            self._keep(meta)
        return meta

    def _keep(self, meta: ResultMeta) -> None:
        """Remember a final document, and tell those who asked."""
        if self._meta is not None:
            return
        self._value = value_of(meta)
        self._children = self._results_of(meta)
        self._meta = meta
        waiting, self._callbacks = self._callbacks, []
        for callback, on_error in waiting:
            self._notify(callback, on_error)

    def _results_of(self, meta: ResultMeta) -> list[Any] | None:
        if meta.children is None:
            return None
        return [result_from_tuple(child, app=self.app) for child in meta.children]

    def _current_value(self) -> Any:
        meta = self._read()
        return self._value if self._meta is not None else value_of(meta)

    @property
    def state(self) -> str:
        """PENDING, STARTED, RETRY, FAILURE, SUCCESS, REVOKED or a custom state."""
        return self._read().status

    status = state

    @property
    def result(self) -> Any:
        """The return value, the exception, or what `update_state` was given."""
        return self._current_value()

    info = result

    @property
    def traceback(self) -> str | None:
        """Traceback of a failed task, as text."""
        return self._read().traceback

    @property
    def children(self) -> list[Any] | None:
        """Results of the tasks that this one sent."""
        meta = self._read()
        found = self._children if self._meta is not None else self._results_of(meta)
        return found or None

    @property
    def name(self) -> str | None:
        """Task name, with `result_extended`."""
        return self._read().name

    @property
    def args(self) -> Any:
        """Positional arguments, with `result_extended`."""
        return self._read().args

    @property
    def kwargs(self) -> Any:
        """Keyword arguments, with `result_extended`."""
        return self._read().kwargs

    @property
    def worker(self) -> str | None:
        """Node name of the worker, with `result_extended`."""
        return self._read().worker

    @property
    def retries(self) -> int | None:
        """Number of retries, with `result_extended`."""
        return self._read().retries

    @property
    def queue(self) -> str | None:
        """Routing key it was delivered with, with `result_extended`."""
        return self._read().queue

    @property
    def date_done(self) -> datetime | None:
        """When it was done."""
        found = self._read().date_done
        return parse_iso8601(found) if isinstance(found, str) else found

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | int | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Tell workers not to run the task.

        Args:
            connection: A `kombu.Connection`; by default one of the app's pool.
            terminate: Also stop it if it runs.
            signal: How to stop it; by default TERM.
            wait: Wait for the workers' answers.
            timeout: Seconds to wait for another answer.

        Spec: control-and-events#4.8
        """
        self.app.control.revoke(
            self.id,
            connection=connection,
            terminate=terminate,
            signal=signal,
            reply=wait,
            timeout=timeout,
        )

    def revoke_by_stamped_headers(
        self,
        headers: Any,
        connection: Any = None,
        terminate: bool = False,
        signal: str | int | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Tell workers not to run tasks that carry these stamps; see `revoke` for the other arguments.

        Args:
            headers: Stamp → value or values.
            connection: See `revoke`.
            terminate: See `revoke`.
            signal: See `revoke`.
            wait: See `revoke`.
            timeout: See `revoke`.
        """
        self.app.control.revoke_by_stamped_headers(
            headers,
            connection=connection,
            terminate=terminate,
            signal=signal,
            reply=wait,
            timeout=timeout,
        )

    def ready(self) -> bool:
        """Tell whether the task is done, whatever came of it."""
        return self.state in READY_STATES

    def successful(self) -> bool:
        """Tell whether the task returned."""
        return self.state == State.SUCCESS

    def failed(self) -> bool:
        """Tell whether the task failed."""
        return self.state == State.FAILURE

    def exists(self) -> bool:
        """Tell whether the backend has a document for this id."""
        return self._read().status != State.PENDING

    def forget(self) -> None:
        """Delete the document, and those of the steps before."""
        if self.parent is not None:
            self.parent.forget()
        self._meta = self._value = self._children = None
        self.backend.forget(self.id)

    # -- raising ------------------------------------------------------------------------------------------

    def throw(self, value: Any = None, tb: Any = None) -> None:
        """Raise an exception, by default this task's."""
        exc = self.result if value is None else value
        if not isinstance(exc, BaseException):
            raise RuntimeError(f"task {self.id} is {self.state} but holds no exception: {exc!r}")
        raise exc if tb is None else exc.with_traceback(tb)

    def maybe_throw(
        self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None
    ) -> Any:
        """Raise the task's exception if it has one already; return its value otherwise. Never waits."""
        return self._conclude(propagate, callback)

    maybe_reraise = maybe_throw

    def then(
        self,
        callback: Callable[..., Any],
        on_error: Callable[..., Any] | None = None,
        weak: bool = False,
    ) -> AsyncResult:
        """Call `callback(result)` when this process learns that the task is done.

        Args:
            callback: Called with this object after success, and after failure when there is no `on_error`.
            on_error: Called with this object after failure.
            weak: Accepted for the sake of callers; callbacks are held strongly until called.
        """
        if self._meta is not None:
            self._notify(callback, on_error)
        else:
            self._callbacks.append((callback, on_error))
        return self

    def _notify(self, callback: Callable[..., Any], on_error: Callable[..., Any] | None) -> None:
        failed = self._meta is not None and self._meta.status in PROPAGATE_STATES
        if failed and on_error is not None:
            on_error(self)
        else:
            callback(self)

    # -- the tree -----------------------------------------------------------------------------------------

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[Any, Any]]:
        """Yield (parent, result) for this and everything below it, breadth first.

        Args:
            intermediate: Go on past results that are not ready.

        Raises:
            IncompleteStream: A result is not ready.
        """
        pending: deque[tuple[Any, Any]] = deque([(None, self)])
        while pending:
            parent, node = pending.popleft()
            yield parent, node
            if node.ready():
                pending.extend((node, child) for child in node.children or ())
            elif not intermediate:
                raise IncompleteStream

    def collect(self, intermediate: bool = False, **kwargs: Any) -> Iterator[tuple[Any, Any]]:
        """Yield (result, value) for this and everything below it, waiting for each."""
        for _, node in self.iterdeps(intermediate=intermediate):
            yield node, node.get(**kwargs)

    def get_leaf(self) -> Any:
        """Return the value of the last result below this one."""
        value = None
        for _, node in self.iterdeps():
            value = node.get()
        return value

    def as_tuple(self) -> tuple[Any, Any]:
        """Return the tuple form, as stored in documents."""
        parent = self.parent
        return (self.id, parent.as_tuple() if parent is not None else None), None

    def as_list(self) -> list[str]:
        """Return the ids from this up to the first step."""
        return [self.id, *(self.parent.as_list() if self.parent is not None else ())]

    @property
    def supports_native_join(self) -> bool:
        """Tell whether the backend waits for many ids at once."""
        return supports_native_join(self.backend)

    # -- as a value ---------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return str(self.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, AsyncResult):
            return bool(other.id == self.id)
        if isinstance(other, str):
            return other == self.id
        return NotImplemented

    def __copy__(self) -> AsyncResult:
        return type(self)(self.id, self._backend, self.task_name, self._app, self.parent)

    def __reduce__(self) -> tuple[Any, ...]:
        return importable_class(self), self.__reduce_args__()

    def __reduce_args__(self) -> tuple[Any, ...]:
        return self.id, None, self.task_name, None, self.parent


def importable_class(obj: object) -> type:
    """Return the class under which `obj` can be pickled: the one an app makes for itself cannot be imported."""
    for cls in type(obj).__mro__:
        if getattr(sys.modules.get(cls.__module__), cls.__name__, None) is cls:
            found: type = cls
            return found
    return type(obj)


def _all_of(steps: list[Callable[[], Any]]) -> Callable[[], None] | None:
    if not steps:
        return None

    def run() -> None:
        for step in steps:
            step()

    return run


def supports_native_join(backend: ResultBackend) -> bool:
    """Tell whether a backend learns of many results at once, so that failures are seen in the order they happen."""
    return bool(getattr(backend, "supports_native_join", backend.chords == "native"))


def result_from_tuple(form: Any, app: Any = None) -> Any:
    """Build the result object that a tuple form describes.

    Args:
        form: ``[[id, parent], null]`` for a task, ``[[id, parent], [child, …]]`` for a group; a bare id may stand in
            place of the inner pair. A result object is returned as it is.
        app: Default: the current app.

    Raises:
        ValueError: `form` is none of these.

    Spec: results-and-workflows#1.5
    """
    if isinstance(form, ResultBase):
        return form
    if not isinstance(form, list | tuple) or len(form) != 2:
        raise ValueError(f"not the tuple form of a result: {form!r}")
    app = app_or_current(app)
    identity, children = form
    own_id, parent = identity if isinstance(identity, list | tuple) else (identity, None)
    if parent:
        parent = result_from_tuple(parent, app)
    if children is None:
        return app.AsyncResult(own_id, parent=parent or None)
    return app.GroupResult(
        own_id, [result_from_tuple(child, app) for child in children], parent=parent or None
    )


def result_tuple_of(value: Any) -> Any:
    """Return the tuple form of a result object; anything else as it is. Spec: results-and-workflows#1.3."""
    return value.as_tuple() if isinstance(value, ResultBase) else value
