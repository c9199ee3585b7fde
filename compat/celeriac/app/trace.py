"""Run one task where it is: hooks, signals, result, and what follows, in the order Celery users rely on.

The life of one run (spec: results-and-workflows#4.2)::

    prerun signal → STARTED → before_start → body
      returned → callbacks, next chain step → SUCCESS → chord part → on_success → signal → log → after_return
      raised   → FAILURE → chord part → rest of the chain fails → errbacks → on_failure → signal → log → after_return
      Retry    → RETRY → on_retry → signal → log            (the new message was sent inside `retry()`)
      Ignore   → log           Reject → log
    postrun signal → backend.process_cleanup

A worker calls `build_tracer` once per task and the returned function once per message; `Task.apply` uses
`trace_eager`. `celery.app.trace.build_tracer` and the `LOG_*` patterns are patched by instrumentation, so they are
looked up in this module at call time.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from celeriac import signals
from celeriac.app import state as app_state
from celeriac.app.continuations import Apply, after_success
from celeriac.app.einfo import ExceptionInfo
from celeriac.app.failure import FailedTask, fail_task, return_chord_part, store_document
from celeriac.app.log_lines import (
    LOG_FAILURE,
    LOG_IGNORED,
    LOG_INTERNAL_ERROR,
    LOG_RECEIVED,
    LOG_REJECTED,
    LOG_RETRY,
    LOG_SUCCESS,
)
from celeriac.app.outcome import Failed, Ignored, Outcome, Rejected, Retrying, Succeeded
from celeriac.app.task import Context, Task
from celeriac.canvas import maybe_signature
from celeriac.exceptions import Ignore, Reject, Retry
from celeriac.local import maybe_evaluate
from celeriac_protocol.errors import EncodeError, abbreviate
from celeriac_protocol.reprs import saferepr
from celeriac_protocol.result import State

if TYPE_CHECKING:
    from celeriac.app.app import Celery

__all__ = [
    "LOG_FAILURE",
    "LOG_IGNORED",
    "LOG_INTERNAL_ERROR",
    "LOG_RECEIVED",
    "LOG_REJECTED",
    "LOG_RETRY",
    "LOG_SUCCESS",
    "apply_all",
    "build_tracer",
    "task_has_custom",
]

logger = logging.getLogger("celery.app.trace")

TraceFunction = Callable[[str, Sequence[Any], Mapping[str, Any], Context], Outcome]


def task_has_custom(task: Any, attr: str) -> bool:
    """Tell whether the task's class overrides `attr` of `Task`."""
    return getattr(type(task), attr, None) is not getattr(Task, attr, None)


def apply_all(app: Celery, plan: Sequence[Apply]) -> None:
    """Publish what a finished task is followed by."""
    for item in plan:
        maybe_signature(dict(item.signature), app=app).apply_async(item.args, **item.options)


def build_tracer(
    name: str,
    task: Any,
    loader: Any = None,
    hostname: str | None = None,
    *,
    app: Celery | None = None,
    eager: bool = False,
    **_unused: Any,
) -> Callable[[str, Sequence[Any], Mapping[str, Any], Context], Any]:
    """Return the function that runs `task` for one message.

    Args:
        name: Registered name.
        task: The bound task.
        loader: Its app's loader; asked to prepare for each task.
        hostname: Node name, shown in STARTED documents.
        app: Defaults to `task.app`.
        eager: Run for `Task.apply`: nothing is stored unless `task_store_eager_result`, hooks and signals as usual.

    Returns:
        ``trace(task_id, args, kwargs, request)``, which gives an `Outcome`, or with `eager` the triple
        ``(state, value, outcome)``; it raises only `SystemExit`, `KeyboardInterrupt` and the like.
    """
    task = maybe_evaluate(task)  # what a decorator returned is a proxy
    tracer = _Tracer(name, task, app if app is not None else task.app, loader, hostname, eager)
    return tracer.run_eager if eager else tracer.run


class _Tracer:
    """Everything about one task that does not change between messages, looked up once."""

    def __init__(
        self, name: str, task: Any, app: Celery, loader: Any, hostname: str | None, eager: bool
    ) -> None:
        self.name = name
        self.task = task
        self.app = app
        self.eager = eager
        self.hostname = hostname
        self.loader = loader if loader is not None else app.loader
        self.call = task if task_has_custom(task, "__call__") else task.run
        self.before_start = self._hook("before_start")
        self.on_success = self._hook("on_success")
        self.after_return = self._hook("after_return")
        self.throws = tuple(task.throws or ())
        self.pushes_priority = bool(app.conf.task_inherit_parent_priority)
        self.resultrepr_maxsize: int = task.resultrepr_maxsize
        self.on_task_init = self.loader.on_task_init

    def _hook(self, name: str) -> Callable[..., Any] | None:
        return getattr(self.task, name) if task_has_custom(self.task, name) else None

    def run(
        self, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any], request: Context
    ) -> Outcome:
        """Run the task once for a worker."""
        return self._run(_Run(self, task_id, args, kwargs, request))

    def run_eager(
        self, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any], request: Context
    ) -> tuple[str | None, Any, Outcome]:
        """Run the task once for its caller, who wants the value itself."""
        run = _Run(self, task_id, args, kwargs, request)
        outcome = self._run(run)
        return run.state, run.retval, outcome

    def _run(self, run: _Run) -> Outcome:
        task = self.task
        app_state.task_stack.push(task)
        task.request_stack.push(run.request)
        try:
            return run.execute()
        finally:
            try:
                if signals.task_postrun.receivers:
                    signals.task_postrun.send(
                        sender=task, task_id=run.task_id, task=task, args=run.args, kwargs=run.kwargs,
                        retval=run.retval, state=run.state,
                    )  # fmt: skip
            finally:
                task.request_stack.pop()
                app_state.task_stack.pop()
                if run.stores and not self.eager:
                    task.backend.process_cleanup()


class _Run:
    """One run of one task."""

    __slots__ = (
        "args",
        "ignored",
        "kwargs",
        "request",
        "retval",
        "state",
        "stores",
        "task",
        "task_id",
        "tracer",
    )

    def __init__(
        self,
        tracer: _Tracer,
        task_id: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        request: Context,
    ) -> None:
        self.tracer = tracer
        self.task = tracer.task
        self.task_id = task_id
        self.args = args
        self.kwargs = kwargs
        self.request = request
        self.retval: Any = None
        self.state: str | None = None
        self.ignored = bool(request.ignore_result)
        self.stores = not self.ignored and (not tracer.eager or bool(self.task.store_eager_result))

    def execute(self) -> Outcome:
        tracer, task = self.tracer, self.task
        if signals.task_prerun.receivers:
            signals.task_prerun.send(
                sender=task, task_id=self.task_id, task=task, args=self.args, kwargs=self.kwargs
            )
        tracer.on_task_init(self.task_id, task)
        started = time.monotonic()
        try:
            if self.stores and task.track_started:
                self.store(State.STARTED, {"pid": _pid(), "hostname": tracer.hostname})
            if tracer.before_start is not None:
                tracer.before_start(self.task_id, self.args, self.kwargs)
            retval = tracer.call(*self.args, **self.kwargs)
        except Reject as exc:
            return self.rejected(exc)
        except Ignore:
            return self.ignored_()
        except Retry as exc:
            return self.retrying(exc)
        except (SystemExit, KeyboardInterrupt):
            raise  # the process was asked to end: the pool tells
        except BaseException as exc:  # noqa: BLE001 - whatever else a task raises is its failure
            return self.failed(exc, time.monotonic() - started)
        return self.succeeded(retval, started)

    def store(self, status: str, result: Any, traceback: str | None = None) -> None:
        store_document(
            self.tracer.app, self.task, self.request, self.task_id, status, result, traceback
        )

    def succeeded(self, retval: Any, started: float) -> Outcome:
        tracer, task, request = self.tracer, self.task, self.request
        try:
            if request.callbacks or request.chain:
                apply_all(
                    tracer.app,
                    after_success(
                        callbacks=request.callbacks,
                        chain=request.chain,
                        retval=retval,
                        task_id=self.task_id,
                        root_id=request.root_id,
                        priority=_priority(request) if tracer.pushes_priority else None,
                    ),
                )
            if self.stores:
                self.store(State.SUCCESS, retval)
            if request.chord and not tracer.eager:
                return_chord_part(tracer.app, task, request, self.task_id, State.SUCCESS, retval)
        except EncodeError as exc:
            return self.failed(_as_kombu_encode_error(exc), time.monotonic() - started)
        except Exception as exc:  # noqa: BLE001 - a callback that cannot be sent fails the task, never the process
            return self.internal_error(exc, time.monotonic() - started)
        self.retval, self.state = retval, State.SUCCESS
        runtime = time.monotonic() - started
        text = saferepr(retval, tracer.resultrepr_maxsize)
        if tracer.on_success is not None:
            self.guard(
                "on_success", tracer.on_success, retval, self.task_id, self.args, self.kwargs
            )
        if signals.task_success.receivers:
            signals.task_success.send(sender=task, result=retval, runtime=runtime)
        if logger.isEnabledFor(logging.INFO):
            name = request.shadow or tracer.name
            context = {
                "id": self.task_id, "name": name, "return_value": text, "runtime": runtime,
                "args": request.get("argsrepr"), "kwargs": request.get("kwargsrepr"),
            }  # fmt: skip
            logger.info(LOG_SUCCESS, context, extra={"data": context})
        if tracer.after_return is not None:
            self.guard(
                "after_return", tracer.after_return, State.SUCCESS, retval, self.task_id, self.args, self.kwargs, None
            )  # fmt: skip
        return Succeeded(text, runtime)

    def failed(self, exc: BaseException, runtime: float) -> Outcome:
        einfo = ExceptionInfo(exc)
        self.retval, self.state = exc, State.FAILURE
        self.fail(einfo)
        text = abbreviate(exc, 1024)
        expected = bool(self.tracer.throws) and isinstance(exc, self.tracer.throws)
        context = self.log_context(text, einfo)
        context["description"] = "raised expected" if expected else "raised unexpected"
        if expected:
            logger.info(LOG_FAILURE, context, extra={"data": context})
        else:
            logger.error(LOG_FAILURE, context, exc_info=einfo.exc_info, extra={"data": context})
        if self.tracer.after_return is not None:
            self.guard(
                "after_return", self.tracer.after_return,
                State.FAILURE, exc, self.task_id, self.args, self.kwargs, einfo,
            )  # fmt: skip
        return Failed(text, einfo.traceback, runtime)

    def fail(self, einfo: ExceptionInfo, *, hook: bool = True) -> None:
        """Store the failure and do what follows, each part on its own: one that breaks does not stop the next."""
        task = self.task
        fail_task(
            self.tracer.app,
            FailedTask(task=task, task_id=self.task_id, request=self.request, einfo=einfo),
            store=(self.stores or (task.store_errors_even_if_ignored and not self.tracer.eager)),
            eager=self.tracer.eager,
        )
        if hook:
            self.guard(
                "on_failure",
                task.on_failure,
                einfo.exception,
                self.task_id,
                self.args,
                self.kwargs,
                einfo,
            )
        if signals.task_failure.receivers:
            signals.task_failure.send(
                sender=task, task_id=self.task_id, exception=einfo.exception, args=self.args, kwargs=self.kwargs,
                traceback=einfo.tb, einfo=einfo,
            )  # fmt: skip

    def internal_error(self, exc: Exception, runtime: float) -> Outcome:
        einfo = ExceptionInfo(exc, internal=True)
        self.retval, self.state = exc, State.FAILURE
        if signals.task_internal_error.receivers:
            signals.task_internal_error.send(
                sender=self.task, task_id=self.task_id, args=self.args, kwargs=self.kwargs, request=self.request,
                exception=exc, traceback=einfo.tb, einfo=einfo,
            )  # fmt: skip
        self.fail(einfo)
        context = self.log_context(abbreviate(exc, 1024), einfo)
        context["description"] = "INTERNAL ERROR"
        logger.critical(
            LOG_INTERNAL_ERROR, context, exc_info=einfo.exc_info, extra={"data": context}
        )
        return Failed(context["exc"], einfo.traceback, runtime)

    def retrying(self, reason: Retry) -> Outcome:
        einfo = ExceptionInfo(reason)
        task, request = self.task, self.request
        self.retval, self.state = reason, State.RETRY
        if self.stores or (task.store_errors_even_if_ignored and not self.tracer.eager):
            self.guard("store RETRY", self.store, State.RETRY, reason.exc, einfo.traceback)
        self.guard(
            "on_retry", task.on_retry, reason.exc, self.task_id, self.args, self.kwargs, einfo
        )
        if signals.task_retry.receivers:
            signals.task_retry.send(sender=task, request=request, reason=reason, einfo=einfo)
        context = self.log_context(str(reason), einfo)
        logger.info(LOG_RETRY, context, extra={"data": context})
        return Retrying(abbreviate(reason.exc, 1024), einfo.traceback)

    def ignored_(self) -> Outcome:
        self.state = State.IGNORED
        context = {
            "id": self.task_id,
            "name": self.request.shadow or self.tracer.name,
            "description": "ignored",
        }
        logger.info(LOG_IGNORED, context, extra={"data": context})
        return Ignored()

    def rejected(self, exc: Reject) -> Outcome:
        einfo = ExceptionInfo(exc)
        self.state = State.REJECTED
        self.retval = exc
        if not exc.requeue and not self.tracer.eager:
            # Spec: results-and-workflows#4.3, as 5.7: a discarded task must not leave its callers waiting.
            self.fail(einfo, hook=False)
        context = self.log_context(f"reject requeue={exc.requeue}: {exc.reason}", einfo)
        logger.warning(LOG_REJECTED, context, exc_info=einfo.exc_info, extra={"data": context})
        return Rejected(abbreviate(exc.reason, 1024), bool(exc.requeue))

    def log_context(self, text: str, einfo: ExceptionInfo) -> dict[str, Any]:
        return {
            "id": self.task_id, "name": self.request.shadow or self.tracer.name, "exc": text,
            "traceback": einfo.traceback, "hostname": self.tracer.hostname,
            "args": self.request.get("argsrepr"), "kwargs": self.request.get("kwargsrepr"),
        }  # fmt: skip

    def guard(self, what: str, function: Callable[..., Any], *args: Any) -> None:
        """Call a hook; an exception in it is logged and changes nothing else."""
        try:
            function(*args)
        except Exception:
            logger.exception("Task %s[%s] %s raised", self.tracer.name, self.task_id, what)


def _priority(request: Context) -> int | None:
    info = request.delivery_info or {}
    priority = info.get("priority")
    return priority if isinstance(priority, int) else None


def _pid() -> int:
    return os.getpid()


def _as_kombu_encode_error(exc: EncodeError) -> BaseException:
    """Results name `kombu.exceptions.EncodeError`, which is what every Celery client knows."""
    from kombu.exceptions import EncodeError as KombuEncodeError

    error = KombuEncodeError(str(exc))
    error.__cause__ = exc
    error.__traceback__ = exc.__traceback__
    return error
