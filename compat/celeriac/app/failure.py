"""Result documents, chord parts and everything that follows a failure, wherever it was noticed.

Used by the tracer (the task raised, in the place where it ran) and by the worker's bookkeeping jobs (a lost child, a
hard time limit, a revoked or unknown task). Each effect is guarded on its own, so that a broken errback cannot keep
the next one from running or make the whole handling start again.

Spec: results-and-workflows#4.2-4.6, #6.5, #6.6, #8
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celeriac.app.continuations import PendingStep, after_failure, pending_steps, steps_of
from celeriac.app.einfo import ExceptionInfo, picklable_exception
from celeriac.backends.base import ChordPart, ChordState
from celeriac.backends.chords import chord_values
from celeriac.canvas import maybe_signature
from celeriac.exceptions import ChordError
from celeriac.result import result_tuple_of
from celeriac_protocol.errors import EncodeError
from celeriac_protocol.result import (
    EXCEPTION_STATES,
    READY_STATES,
    ResultMeta,
    State,
    encode_exception,
)
from celeriac_protocol.serializers import dumps

if TYPE_CHECKING:
    from celeriac.app.app import Celery
    from celeriac.app.task import Context
    from celeriac.backends.base import ResultBackend

__all__ = [
    "FailedTask",
    "complete_chord",
    "fail_signature",
    "fail_task",
    "return_chord_part",
    "store_document",
    "takes_context",
]

logger = logging.getLogger("celery.app.trace")


@dataclass(frozen=True, slots=True)
class FailedTask:
    """One failure to be handled."""

    task: Any
    """The registered task; for an unknown one, any task of the app (its backend is used)."""
    task_id: str
    request: Context
    einfo: ExceptionInfo
    traceback: str | None = None
    """Stored traceback; `None` takes the one of `einfo`, and "" stores none (noticed by the parent)."""

    @property
    def stored_traceback(self) -> str | None:
        """Text for the document."""
        return self.einfo.traceback if self.traceback is None else (self.traceback or None)


def store_document(
    app: Celery,
    task: Any,
    request: Context,
    task_id: str,
    status: str,
    result: Any,
    traceback: str | None = None,
) -> None:
    """Store one state of a task.

    Raises:
        EncodeError: The value cannot be encoded by the result serializer.
        BackendStoreError: The store stayed unreachable.

    Spec: results-and-workflows#1.1
    """
    backend = task.backend
    options = backend.options
    extended: dict[str, Any] = {}
    if options.extended:
        info = request.delivery_info or {}
        extended = {
            "extended": True,
            "name": request.get("task"),
            "args": request.args,
            "kwargs": request.kwargs,
            "worker": request.hostname,
            "retries": request.retries,
            "queue": info.get("routing_key"),
            "stamped_headers": tuple(request.stamped_headers) if request.stamped_headers else None,
            "stamps": request.stamps or {},
        }
    backend.store(
        ResultMeta(
            task_id=task_id,
            status=status,
            result=_stored_value(backend, status, result),
            traceback=traceback,
            children=tuple(child.as_tuple() for child in request.children or ()),
            date_done=app.now() if status in READY_STATES else None,
            group_id=request.group or None,
            parent_id=request.parent_id or None,
            **extended,
        ),
        reply_to=request.reply_to,
        correlation_id=request.correlation_id or task_id,
    )


def _stored_value(backend: ResultBackend, status: str, value: Any) -> Any:
    """Return `value` as it stands in a document of `status`."""
    if status in EXCEPTION_STATES and isinstance(value, BaseException):
        exc = picklable_exception(value)
        serializer = backend.options.serializer
        return exc if serializer == "pickle" else encode_exception(exc, _Encodable(serializer))
    if backend.options.serializer != "pickle":
        return result_tuple_of(value)
    return value


class _Encodable:
    """Tells whether a serializer can carry a value."""

    def __init__(self, serializer: str) -> None:
        self.serializer = serializer

    def __call__(self, value: object) -> bool:
        try:
            dumps(value, self.serializer)
        except EncodeError:
            return False
        return True


def fail_task(app: Celery, failed: FailedTask, *, store: bool, eager: bool = False) -> None:
    """Do what follows a failure: document, chord part, rest of the chain, errbacks. Never raises.

    Args:
        app: The app of the task.
        failed: What failed.
        store: Whether the FAILURE document is wanted (results may be ignored).
        eager: Nothing but errbacks follows an eager call.
    """
    exc, request, backend = failed.einfo.exception, failed.request, failed.task.backend
    if store:
        with _Guard(failed.task_id, "storing the failure"):
            _store_failure(app, failed, exc)
    if not eager:
        if request.chord:
            with _Guard(failed.task_id, "returning the chord part"):
                return_chord_part(app, failed.task, request, failed.task_id, State.FAILURE, exc)
        for step in pending_steps(request.chain):
            with _Guard(failed.task_id, f"failing the pending step {step.task_id}"):
                value = _stored_value(backend, State.FAILURE, exc)
                _fail_step(app, backend, step, value, failed.stored_traceback)
    _run_errbacks(
        app,
        request.errbacks,
        failed.task_id,
        request.root_id,
        request,
        exc,
        failed.stored_traceback,
    )


def _store_failure(app: Celery, failed: FailedTask, exc: BaseException) -> None:
    try:
        store_document(
            app,
            failed.task,
            failed.request,
            failed.task_id,
            State.FAILURE,
            exc,
            failed.stored_traceback,
        )
    except EncodeError:
        # `args` or a child that the serializer refuses (result_extended): the failure itself must still be seen.
        failed.task.backend.store(
            ResultMeta(
                task_id=failed.task_id,
                status=State.FAILURE,
                result=_stored_value(failed.task.backend, State.FAILURE, exc),
                traceback=failed.stored_traceback,
                date_done=app.now(),
            ),
            reply_to=failed.request.reply_to,
            correlation_id=failed.request.correlation_id or failed.task_id,
        )


def _fail_step(
    app: Celery, backend: ResultBackend, step: PendingStep, value: Any, traceback: str | None
) -> None:
    """Store FAILURE for a task that will never run; inside a chord's header it counts as a failed part."""
    backend.store(
        ResultMeta(
            task_id=step.task_id,
            status=State.FAILURE,
            result=value,
            traceback=traceback,
            date_done=app.now(),
            group_id=step.group,
        ),
        reply_to=step.reply_to,
        correlation_id=step.task_id,
    )
    if step.chord and step.group:
        _count_part(
            app, backend, step.chord, step.group,
            ChordPart(step.task_id, State.FAILURE, value, step.group_index),
            parent_id=step.task_id, root_id=None,
        )  # fmt: skip


def return_chord_part(
    app: Celery, task: Any, request: Context, task_id: str, status: str, result: Any
) -> None:
    """Count this task as a finished part of its chord; the part that completes it sends the body.

    Backends without native chords leave it to `celery.chord_unlock`, which the sender published.

    Spec: results-and-workflows#6.5
    """
    if not request.group or not request.chord:
        return
    backend = task.backend
    part = ChordPart(task_id, status, _stored_value(backend, status, result), request.group_index)
    _count_part(
        app, backend, request.chord, request.group, part,
        parent_id=task_id, root_id=request.root_id or task_id,
    )  # fmt: skip


def _count_part(
    app: Celery,
    backend: ResultBackend,
    body: Mapping[str, Any],
    group_id: str,
    part: ChordPart,
    *,
    parent_id: str,
    root_id: str | None,
) -> None:
    if backend.chords != "native":
        return
    size = body.get("chord_size")
    state = backend.add_chord_part(
        group_id, part, size_hint=size if isinstance(size, int) else None
    )
    if state is not None:
        complete_chord(app, backend, body, group_id, state, parent_id=parent_id, root_id=root_id)


def complete_chord(
    app: Celery,
    backend: ResultBackend,
    body: Mapping[str, Any],
    group_id: str,
    state: ChordState,
    *,
    parent_id: str,
    root_id: str | None,
) -> None:
    """Send the body of a chord whose parts are all in, or fail it when one of them failed."""
    error = _send_body(app, backend, body, group_id, state, parent_id=parent_id, root_id=root_id)
    if error is None:
        return
    try:
        fail_signature(app, body, error)
    finally:
        backend.finish_chord(group_id, ok=False, token=state.token)


def _send_body(
    app: Celery,
    backend: ResultBackend,
    body: Mapping[str, Any],
    group_id: str,
    state: ChordState,
    *,
    parent_id: str,
    root_id: str | None,
) -> ChordError | None:
    """Send the body; return why it cannot be sent, `None` when it was (by us or by another worker)."""
    try:
        joined = chord_values(backend, state, timeout_s=backend.options.chord_join_timeout_s)
    except Exception as exc:
        logger.exception("Chord %s: the header's results could not be joined", group_id)
        return ChordError(f"Join error: {exc!r}")
    if joined.culprit is not None:
        return ChordError(
            f"Dependency {joined.culprit.task_id} raised {_repr_of_part(joined.culprit)}"
        )
    if not backend.renew_chord(group_id, state.token):
        return None
    try:
        maybe_signature(dict(body), app=app).apply_async(
            (joined.values,), parent_id=parent_id, root_id=root_id, add_to_parent=False
        )
    except Exception as exc:
        logger.exception("Chord %s: the body could not be sent", group_id)
        return ChordError(f"Callback error: {exc!r}")
    backend.finish_chord(group_id, ok=True, token=state.token)
    return None


def _repr_of_part(part: ChordPart) -> str:
    value = part.result
    if isinstance(value, Mapping):
        args = value.get("exc_message")
        items = args if isinstance(args, list | tuple) else [args]
        return f"{value.get('exc_type')}({', '.join(repr(item) for item in items)})"
    return repr(value)


def fail_signature(
    app: Celery, signature: Mapping[str, Any], exc: BaseException, traceback: str | None = None
) -> None:
    """Record that a signature will never run: FAILURE for each task in it, then its errbacks with its id.

    Used for the body of a failed chord. Spec: results-and-workflows#6.6
    """
    backend = app.backend
    value = _stored_value(backend, State.FAILURE, exc)
    for step in steps_of(signature):
        with _Guard(step.task_id, "failing the chord body"):
            _fail_step(app, backend, step, value, traceback)
    for task_id, errbacks in _errbacks_of(signature):
        _run_errbacks(
            app, errbacks, task_id, task_id, _stand_in(signature, task_id), exc, traceback
        )


def _errbacks_of(signature: Mapping[str, Any]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Return (id, errbacks) for the tasks whose errbacks fire when `signature` is failed as a whole."""
    kind = signature.get("subtask_type")
    tasks = (signature.get("kwargs") or {}).get("tasks") or []
    if kind == "group":
        return [pair for task in tasks for pair in _errbacks_of(task)]
    if kind == "chain" and tasks:
        return _errbacks_of(tasks[-1])
    if kind == "chord":
        body = (signature.get("kwargs") or {}).get("body")
        return _errbacks_of(body) if isinstance(body, Mapping) else []
    options = signature.get("options") or {}
    errbacks = options.get("link_error")
    if not errbacks or not options.get("task_id"):
        return []
    return [
        (options["task_id"], list(errbacks) if isinstance(errbacks, list | tuple) else [errbacks])
    ]


def _stand_in(signature: Mapping[str, Any], task_id: str) -> Context:
    """A request for something that never ran, as errbacks of a chord body receive it."""
    from celeriac.app.task import Context

    options = signature.get("options") or {}
    return Context(
        id=task_id,
        task=signature.get("task"),
        args=signature.get("args"),
        kwargs=signature.get("kwargs"),
        root_id=options.get("root_id") or task_id,
        parent_id=options.get("parent_id"),
        group=options.get("group_id"),
        errbacks=options.get("link_error"),
        chord=options.get("chord"),
        retries=0,
    )


def _run_errbacks(
    app: Celery,
    errbacks: Sequence[Mapping[str, Any]] | None,
    task_id: str,
    root_id: str | None,
    request: Context,
    exc: BaseException,
    traceback: str | None,
) -> None:
    """Call new-style errbacks in place, send the others as one group. Never raises."""
    if not errbacks:
        return
    plan = after_failure(
        errbacks=errbacks,
        task_id=task_id,
        root_id=root_id,
        takes_context=lambda signature: takes_context(app, signature),
    )
    for signature in plan.called:
        with _Guard(task_id, f"the errback {signature.get('task')}"):
            own = tuple(signature.get("args") or ())
            given = () if signature.get("immutable") else (request, exc, traceback)
            app.tasks[signature["task"]](*given, *own, **(signature.get("kwargs") or {}))
    if plan.sent is not None:
        with _Guard(task_id, "sending the errbacks"):
            maybe_signature(dict(plan.sent.signature), app=app).apply_async(
                plan.sent.args, add_to_parent=False, **plan.sent.options
            )


def takes_context(app: Celery, signature: Mapping[str, Any]) -> bool:
    """Tell whether an errback is called as ``errback(request, exc, traceback)``. Spec: results-and-workflows#4.6."""
    task = app.tasks.get(str(signature.get("task")))
    if task is None or inspect.ismethod(task.run):
        return False
    try:
        parameters = inspect.signature(task.run).parameters.values()
    except (TypeError, ValueError):
        return False
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return True
    filled = signature.get("kwargs") or {}
    positional = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.name not in filled
    ]
    return len(positional) - len(signature.get("args") or ()) > 1


class _Guard:
    """Log an exception of one effect and go on with the next; the process-ending ones pass."""

    def __init__(self, task_id: str, what: str) -> None:
        self.task_id = task_id
        self.what = what

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: Any
    ) -> bool:
        if exc is None or not isinstance(exc, Exception):
            return False
        logger.error(
            "Task [%s]: %s failed: %r", self.task_id, self.what, exc, exc_info=(type(exc), exc, tb)
        )
        return True
