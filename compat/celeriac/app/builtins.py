"""The nine tasks that every app has. Spec: task-message#8.5, results-and-workflows#6.5."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from celeriac.app.failure import fail_signature
from celeriac.app.state import connect_on_app_finalize
from celeriac.canvas import chord as make_chord
from celeriac.canvas import chunks as make_chunks
from celeriac.canvas import group as make_group
from celeriac.canvas import maybe_signature
from celeriac.exceptions import ChordError
from celeriac.result import AsyncResult, GroupResult, allow_join_result, result_from_tuple
from celeriac.result.failures import value_of
from celeriac_protocol.result import PROPAGATE_STATES, READY_STATES, ResultMeta

if TYPE_CHECKING:
    from celeriac.app.app import Celery

__all__ = ["BUILTIN_TASKS", "add_builtin_tasks", "unlock_chord"]

BUILTIN_TASKS = (
    "celery.accumulate",
    "celery.backend_cleanup",
    "celery.chain",
    "celery.chord",
    "celery.chord_unlock",
    "celery.chunks",
    "celery.group",
    "celery.map",
    "celery.starmap",
)


F = TypeVar("F", bound=Callable[..., Any])


def _builtin(app: Celery, name: str, **options: Any) -> Callable[[F], F]:
    """Return a decorator that registers a task with this app only, at once."""
    decorator: Callable[[F], F] = app.task(name=name, shared=False, lazy=False, **options)
    return decorator


@connect_on_app_finalize
def add_builtin_tasks(app: Celery) -> None:
    """Register the built-in tasks with an app that is being finalized."""

    @_builtin(app, "celery.backend_cleanup")
    def backend_cleanup() -> None:
        app.backend.cleanup()

    @_builtin(app, "celery.accumulate")
    def accumulate(*args: Any, **kwargs: Any) -> Any:
        index = kwargs.get("index")
        return args[index] if index is not None else args

    @_builtin(app, "celery.map")
    def xmap(task: Any, it: Iterable[Any]) -> list[Any]:
        run = maybe_signature(task, app=app).type
        return [run(item) for item in it]

    @_builtin(app, "celery.starmap")
    def xstarmap(task: Any, it: Iterable[Any]) -> list[Any]:
        run = maybe_signature(task, app=app).type
        return [run(*item) for item in it]

    @_builtin(app, "celery.chunks")
    def chunks(task: Any, it: Iterable[Any], n: int) -> Any:
        return make_chunks.apply_chunks(task, it, n, app)

    @_builtin(app, "celery.group", bind=True)
    def group(
        self: Any,
        tasks: Sequence[Any],
        result: Any,
        group_id: str,
        partial_args: Sequence[Any],
        add_to_parent: bool = True,
    ) -> Any:
        sent = make_group([maybe_signature(task, app=app) for task in tasks], app=app)
        made = sent.apply_async(partial_args, task_id=group_id, add_to_parent=add_to_parent)
        return result_from_tuple(result, app) if result else made

    @_builtin(app, "celery.chain")
    def chain(*args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("chain is not a real task")

    @_builtin(app, "celery.chord", bind=True, ignore_result=False)
    def chord(
        self: Any,
        header: Any,
        body: Any,
        partial_args: Sequence[Any] = (),
        interval: float | None = None,
        countdown: float | None = 1,
        max_retries: int | None = None,
        eager: bool = False,
        **kwargs: Any,
    ) -> Any:
        made = make_chord(maybe_signature(header, app=app), maybe_signature(body, app=app), app=app)
        if eager:
            return made.apply(partial_args, kwargs)
        return made.apply_async(partial_args, kwargs, interval=interval, max_retries=max_retries)

    @_builtin(app, "celery.chord_unlock", bind=True, max_retries=None, ignore_result=True)
    def chord_unlock(
        self: Any,
        group_id: str,
        callback: Mapping[str, Any],
        interval: float | None = None,
        max_retries: int | None = None,
        result: Any = None,
        **kwargs: Any,
    ) -> None:
        unlock_chord(self, group_id, callback, interval, max_retries, result)


def unlock_chord(
    task: Any,
    group_id: str,
    callback: Mapping[str, Any],
    interval: float | None,
    max_retries: int | None,
    result: Any,
) -> None:
    """Send the body of a chord if all header tasks are done, else look again later.

    Args:
        task: The running `celery.chord_unlock`.
        group_id: Header group.
        callback: Body signature.
        interval: Seconds until the next look; default `result_chord_retry_interval`.
        max_retries: How often to look again.
        result: Tuple forms of the header's results.

    Raises:
        Retry: Not all are done.

    Spec: results-and-workflows#6.5
    """
    app = task.app
    body = maybe_signature(callback, app=app)
    interval = app.conf.result_chord_retry_interval if interval is None else interval
    members = [result_from_tuple(form, app) for form in result or ()]
    try:
        metas = app.backend.fetch_many(list(dict.fromkeys(_ids(members))))
    except Exception as exc:
        raise task.retry(exc=exc, countdown=interval, max_retries=max_retries) from exc
    if any(meta.status not in READY_STATES for meta in metas.values()):
        raise task.retry(countdown=interval, max_retries=max_retries)
    culprit = next((meta for meta in metas.values() if meta.status in PROPAGATE_STATES), None)
    if culprit is not None:
        fail_signature(
            app, body, ChordError(f"Dependency {culprit.task_id} raised {value_of(culprit)!r}")
        )
        return
    values = [_value(member, metas) for member in members]
    try:
        with allow_join_result():
            body.apply_async((values,))
    except Exception as exc:  # noqa: BLE001 - whatever keeps the body from being sent fails the chord
        fail_signature(app, body, ChordError(f"Callback error: {exc!r}"))


def _ids(results: Iterable[Any]) -> Iterable[str]:
    for result in results:
        if isinstance(result, GroupResult):
            yield from _ids(result.results)
        elif isinstance(result, AsyncResult):
            yield result.id


def _value(result: Any, metas: Mapping[str, ResultMeta]) -> Any:
    if isinstance(result, GroupResult):
        return [_value(member, metas) for member in result.results]
    return value_of(metas[result.id])
