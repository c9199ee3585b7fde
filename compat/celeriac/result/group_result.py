"""`ResultSet` and `GroupResult`: many results handled as one. Spec: app-and-cli#6, results-and-workflows#3."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from celeriac.exceptions import TimeoutError
from celeriac.result.async_result import (
    AsyncResult,
    MessageHook,
    ResultBase,
    importable_class,
    result_from_tuple,
    supports_native_join,
)
from celeriac.result.blocking import assert_will_not_block
from celeriac.result.current import app_or_current
from celeriac_protocol.result import ResultMeta

if TYPE_CHECKING:
    from celeriac.backends.base import ResultBackend

__all__ = ["GroupResult", "ResultSet"]

Callback = Callable[[str, Any], Any]


class ResultSet(ResultBase):
    """Results in an order.

    Args:
        results: What is in it.
        app: Default: that of the first result, else the current app.
    """

    def __init__(self, results: Iterable[Any], app: Any = None, **_unused: Any) -> None:
        self._app = app
        self.results: list[Any] = list(results)
        self._callbacks: list[tuple[Callable[..., Any], Callable[..., Any] | None]] = []

    @property
    def app(self) -> Any:
        """The app this belongs to."""
        if self._app is None:
            self._app = self.results[0].app if self.results else app_or_current()
        return self._app

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @property
    def backend(self) -> ResultBackend:
        """Where the documents are."""
        found: ResultBackend = self.results[0].backend if self.results else self.app.backend
        return found

    # -- a collection -------------------------------------------------------------------------------------

    def add(self, result: Any) -> None:
        """Append a result that is not in it yet."""
        if result not in self.results:
            self.results.append(result)

    def remove(self, result: Any) -> None:
        """Take out a result, or the result of that id.

        Raises:
            KeyError: It is not in it.
        """
        if isinstance(result, str):
            result = self.app.AsyncResult(result)
        try:
            self.results.remove(result)
        except ValueError:
            raise KeyError(result) from None

    def discard(self, result: Any) -> None:
        """Take out a result if it is in it."""
        if result in self.results:
            self.remove(result)

    def update(self, results: Iterable[Any]) -> None:
        """Append those of `results` that are not in it yet."""
        for result in results:
            self.add(result)

    def clear(self) -> None:
        """Take everything out."""
        self.results[:] = []

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __getitem__(self, index: Any) -> Any:
        return self.results[index]

    def __len__(self) -> int:
        return len(self.results)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ResultSet):
            return other.results == self.results
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(str(result.id) for result in self.results)}]>"

    # -- state --------------------------------------------------------------------------------------------

    def successful(self) -> bool:
        """Tell whether all tasks returned."""
        return all(result.successful() for result in self.results)

    def failed(self) -> bool:
        """Tell whether any task failed."""
        return any(result.failed() for result in self.results)

    def waiting(self) -> bool:
        """Tell whether any task is not done."""
        return any(not result.ready() for result in self.results)

    def ready(self) -> bool:
        """Tell whether all tasks are done."""
        return all(result.ready() for result in self.results)

    def completed_count(self) -> int:
        """Return how many tasks returned."""
        return sum(int(result.successful()) for result in self.results)

    def maybe_throw(self, callback: Callback | None = None, propagate: bool = True) -> None:
        """Raise the exception of the first member that failed already."""
        for result in self.results:
            result.maybe_throw(callback=callback, propagate=propagate)

    maybe_reraise = maybe_throw

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | int | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Tell workers not to run any of the tasks, in one command. See `AsyncResult.revoke`."""
        self.app.control.revoke(
            [result.id for result in self.results],
            connection=connection,
            terminate=terminate,
            signal=signal,
            reply=wait,
            timeout=timeout,
        )

    def forget(self) -> None:
        """Delete all documents."""
        for result in self.results:
            result.forget()

    # -- waiting ------------------------------------------------------------------------------------------

    @property
    def supports_native_join(self) -> bool:
        """Tell whether the backend waits for many ids at once."""
        return bool(self.results) and supports_native_join(self.backend)

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callback | None = None,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], Any] | None = None,
    ) -> list[Any]:
        """Wait for all tasks and return their values in order; arguments as in `AsyncResult.get`."""
        join = self.join_native if self.supports_native_join else self.join
        return join(
            timeout=timeout,
            propagate=propagate,
            interval=interval,
            callback=callback,
            no_ack=no_ack,
            on_message=on_message,
            on_interval=on_interval,
            disable_sync_subtasks=disable_sync_subtasks,
        )

    def join(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callback | None = None,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], Any] | None = None,
    ) -> list[Any]:
        """Wait for one task after the other: the first failed member in order raises.

        Raises:
            TimeoutError: All together took longer than `timeout`.
        """
        if disable_sync_subtasks:
            assert_will_not_block()
        started = time.monotonic()
        values = []
        for result in self.results:
            remaining = None
            if timeout is not None:
                remaining = timeout - (time.monotonic() - started)
                if remaining <= 0.0:
                    raise TimeoutError("join operation timed out")
            value = result.get(
                timeout=remaining,
                propagate=propagate,
                interval=interval,
                no_ack=no_ack,
                on_message=on_message,
                on_interval=on_interval,
                disable_sync_subtasks=disable_sync_subtasks,
            )
            if callback is not None:
                callback(result.id, value)
            values.append(value)
        self._tell_ready()
        return values

    def join_native(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callback | None = None,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> list[Any]:
        """Wait for all tasks at once: whichever failed member is seen first raises.

        Raises:
            TimeoutError: It took longer than `timeout`.
        """
        if disable_sync_subtasks:
            assert_will_not_block()

        hook = MessageHook(on_message)

        def on_meta(result: AsyncResult, meta: ResultMeta) -> None:
            hook.end(meta)
            result._keep(meta)
            value = result.maybe_throw(propagate=propagate)
            if callback is not None:
                callback(result.id, value)

        self._wait_for_leaves(timeout, interval, on_meta, on_interval, hook)
        self._tell_ready()
        return [_value_of(result, propagate) for result in self.results]

    def _wait_for_leaves(
        self,
        timeout: float | None,
        interval: float,
        on_meta: Callable[[AsyncResult, ResultMeta], None],
        on_interval: Callable[[], Any] | None,
        hook: MessageHook,
    ) -> None:
        leaves = list(_leaves(self.results))
        # The same id may be in it twice: the backend reports an id once, each holder hears of it.
        holders: dict[str, list[AsyncResult]] = {}
        for leaf in leaves:
            if leaf._meta is not None:
                on_meta(leaf, leaf._meta)
            elif not leaf.ignored:
                holders.setdefault(leaf.id, []).append(leaf)
        if not holders:
            return

        def each(meta: ResultMeta) -> None:
            for holder in holders[meta.task_id]:
                on_meta(holder, meta)

        self.backend.wait(
            list(holders),
            timeout_s=timeout,
            interval_s=interval,
            on_meta=each,
            on_interval=on_interval,
            on_message=hook.take,
        )

    def iter_native(
        self,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Wait for all tasks, then yield (id, document) in the order they became ready."""
        seen: list[tuple[str, dict[str, Any]]] = []

        hook = MessageHook(on_message)

        def on_meta(result: AsyncResult, meta: ResultMeta) -> None:
            hook.end(meta)
            result._keep(meta)
            seen.append((result.id, {**meta.to_dict(), "result": result.result}))

        self._wait_for_leaves(timeout, interval, on_meta, on_interval, hook)
        return iter(seen)

    def then(
        self,
        callback: Callable[..., Any],
        on_error: Callable[..., Any] | None = None,
        weak: bool = False,
    ) -> ResultSet:
        """Call `callback(self)` when this process has waited for all members, now if they are known to be done."""
        self._callbacks.append((callback, on_error))
        if all(leaf._meta is not None for leaf in _leaves(self.results)):
            self._tell_ready()
        return self

    def _tell_ready(self) -> None:
        waiting, self._callbacks = self._callbacks, []
        for callback, on_error in waiting:
            (on_error if on_error is not None and self.failed() else callback)(self)


def _leaves(results: Iterable[Any]) -> Iterator[AsyncResult]:
    for result in results:
        if isinstance(result, ResultSet):
            yield from _leaves(result.results)
        elif isinstance(result, AsyncResult):
            yield result


def _value_of(result: Any, propagate: bool) -> Any:
    if isinstance(result, ResultSet):
        return [_value_of(member, propagate) for member in result.results]
    if result.ignored:
        return None
    return result.maybe_throw(propagate=propagate)


class GroupResult(ResultSet):
    """The results of a group, under the group's id.

    Args:
        id: Group id.
        results: Its members' results.
        parent: Result of the step before.
    """

    def __init__(
        self,
        id: str | None = None,
        results: Iterable[Any] | None = None,
        parent: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(results or (), **kwargs)
        self.id = id
        self.parent = parent

    @property
    def children(self) -> list[Any]:
        """The members."""
        return self.results

    def save(self, backend: ResultBackend | None = None) -> None:
        """Keep the group in the backend, for `restore`."""
        if self.id is None:
            raise ValueError("a group without id cannot be saved")
        (backend or self.app.backend).store_group(self.id, self.as_tuple())

    def delete(self, backend: ResultBackend | None = None) -> None:
        """Delete the saved group."""
        if self.id is not None:
            (backend or self.app.backend).forget_group(self.id)

    @classmethod
    def restore(
        cls,
        id: str,
        backend: ResultBackend | None = None,
        app: Any = None,
    ) -> Any:
        """Return a saved group, or `None`."""
        if app is None:
            own = cls.__dict__.get("app")  # set on the class that an app makes for itself
            app = app_or_current(None if isinstance(own, property) else own)
        form = (backend or app.backend).fetch_group(id)
        return None if form is None else result_from_tuple(form, app)

    def as_tuple(self) -> tuple[Any, Any]:
        """Return the tuple form, as stored in documents."""
        parent = self.parent
        return (
            (self.id, parent.as_tuple() if parent is not None else None),
            [result.as_tuple() for result in self.results],
        )

    def as_list(self) -> list[str]:
        """Return the ids from this up to the first step."""
        return [
            *([self.id] if self.id is not None else []),
            *(self.parent.as_list() if self.parent is not None else ()),
        ]

    def __bool__(self) -> bool:
        return bool(self.id or self.results)

    def __str__(self) -> str:
        return str(self.id)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__}: {self.id} "
            f"[{', '.join(str(result.id) for result in self.results)}]>"
        )

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, GroupResult):
            return (
                other.id == self.id
                and other.results == self.results
                and other.parent == self.parent
            )
        if isinstance(other, str):
            return other == self.id
        return NotImplemented

    def __reduce__(self) -> tuple[Any, ...]:
        return importable_class(self), self.__reduce_args__()

    def __reduce_args__(self) -> tuple[Any, ...]:
        return self.id, self.results, self.parent
