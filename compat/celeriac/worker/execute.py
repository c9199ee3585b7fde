"""What runs in the pool: one message in, one outcome out; and the bookkeeping for messages that never run.

The parent forwards the body undecoded (`Payload`); it is decompressed, deserialized and validated here, before the
job is accepted, so that a broken body costs the parent nothing and is never taken for a started task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celeriac import signals
from celeriac.app import trace
from celeriac.app.context import FIELDS, NOT_FIELDS, Context
from celeriac.app.einfo import ExceptionInfo
from celeriac.app.failure import FailedTask, fail_task, return_chord_part, store_document
from celeriac.app.outcome import Outcome, Refused, Settled, Succeeded
from celeriac.exceptions import InvalidTaskError as InvalidTask
from celeriac.exceptions import NotRegistered, TaskRevokedError, TimeLimitExceeded
from celeriac.worker.actions import Settlement
from celeriac.worker.duplicates import Duplicates
from celeriac.worker.payload import MarkRevoked, Payload, SettlePayload, worker_lost
from celeriac_protocol import task as wire
from celeriac_protocol.errors import RemoteProtocolError, abbreviate
from celeriac_protocol.result import State

if TYPE_CHECKING:
    from celeriac.app.app import Celery

__all__ = ["Executor"]

logger = logging.getLogger("celery.worker.request")

_KNOWN = FIELDS | frozenset({*wire.STANDARD_HEADERS, "compression"})
"""Names that are never among `request.headers`."""

_NOT_BEGUN = frozenset({State.PENDING, State.RECEIVED, State.RETRY, State.REJECTED})


class Executor:
    """Runs payloads of one worker. Made in the parent, used where the tasks run."""

    def __init__(
        self,
        app: Celery,
        hostname: str,
        *,
        accept: frozenset[str],
        limits: wire.Limits = wire.DEFAULT_LIMITS,
    ) -> None:
        self.app = app
        self.hostname = hostname
        self.limits = limits
        self.accept = accept
        self._tracers: dict[str, Callable[..., Outcome]] = {}
        self._duplicates = Duplicates(app) if app.conf.worker_deduplicate_successful_tasks else None

    def __call__(
        self, payload: Payload | SettlePayload | MarkRevoked, accept: Callable[[], None]
    ) -> Outcome:
        """Run one job; called by the pool."""
        if isinstance(payload, MarkRevoked):
            accept()
            return self.mark_revoked(payload)
        if isinstance(payload, SettlePayload):
            accept()
            return self.settle(payload)
        return self.run(payload, accept)

    def run(self, payload: Payload, accept: Callable[[], None]) -> Outcome:
        """Read the body, accept, run the task."""
        message = payload.message()
        headers: wire.TaskHeaders | None = None
        try:
            headers = wire.read_headers(message)
            call = (
                wire.read_body(message, headers, accept=self.accept, limits=self.limits)
                if headers is not None
                else wire.decode(message, accept=self.accept, limits=self.limits)
            )
        except RemoteProtocolError as exc:
            return self.refuse(payload, headers, exc)
        task = self.app.tasks[call.headers.task]
        request = self.context(payload, call, task)
        tracer = self._tracers.get(call.headers.task)
        if tracer is None:
            # Looked up in the module each time: instrumentation replaces `build_tracer`.
            tracer = trace.build_tracer(task.name, task, hostname=self.hostname, app=self.app)
            self._tracers[call.headers.task] = tracer
        accept()
        if self._duplicates is not None:
            return self._run_once(self._duplicates, tracer, task, call.headers.id, request)
        return tracer(call.headers.id, request.args, request.kwargs, request)

    def _run_once(
        self,
        duplicates: Duplicates,
        tracer: Callable[..., Outcome],
        task: Any,
        task_id: str,
        request: Context,
    ) -> Outcome:
        if duplicates.concerns(task, redelivered=request.delivery_info["redelivered"]):
            outcome = duplicates.skip(task, task_id, request)
            if outcome is not None:
                return outcome
        outcome = tracer(task_id, request.args, request.kwargs, request)
        if isinstance(outcome, Succeeded):
            duplicates.note(task, task_id)
        return outcome

    def context(self, payload: Payload, call: wire.TaskMessage, task: Any) -> Context:
        """Build what the task sees as `self.request`. Spec: app-and-cli#5.7."""
        headers, embed = call.headers, call.embed
        exchange, routing_key, redelivered = payload.delivery
        properties = {
            name: value
            for name, value in (
                ("content_type", payload.content_type),
                ("content_encoding", payload.content_encoding),
                ("correlation_id", payload.correlation_id),
                ("reply_to", payload.reply_to),
                ("priority", payload.priority),
            )
            if value is not None
        }
        properties.update(payload.properties)
        ignore_result = headers.ignore_result
        hard, soft = headers.timelimit
        own = {**headers.custom, **embed.extra}
        fields: dict[str, Any] = {
            name: value for name, value in own.items() if name not in NOT_FIELDS
        }
        if call.version == 1:
            own = dict(headers.custom)  # unknown keys of a bare protocol 1 body are no headers
        fields.update(
            id=headers.id,
            task=headers.task,
            lang=headers.lang,
            shadow=headers.shadow,
            root_id=headers.root_id,
            parent_id=headers.parent_id,
            args=list(call.args),
            kwargs=dict(call.kwargs),
            argsrepr=headers.argsrepr,
            kwargsrepr=headers.kwargsrepr,
            origin=headers.origin,
            retries=headers.retries,
            group=headers.group,
            group_index=headers.group_index,
            chord=embed.chord,
            chain=embed.chain,
            callbacks=embed.callbacks,
            errbacks=embed.errbacks,
            eta=headers.eta,
            expires=headers.expires,
            timelimit=[hard, soft],
            time_limit=hard,
            soft_time_limit=soft,
            delivery_info={
                "exchange": exchange,
                "routing_key": routing_key,
                "priority": payload.priority,
                "redelivered": redelivered,
            },
            headers={name: value for name, value in own.items() if name not in _KNOWN} or None,
            properties=properties,
            hostname=self.hostname,
            reply_to=payload.reply_to,
            correlation_id=payload.correlation_id,
            ignore_result=task.ignore_result if ignore_result is None else ignore_result,
            replaced_task_nesting=headers.replaced_task_nesting,
            stamped_headers=list(headers.stamped_headers) if headers.stamped_headers else None,
            stamps=dict(headers.stamps),
            utc=call.utc,
            is_eager=False,
            called_directly=False,
        )
        return Context(**fields)

    def refuse(
        self, payload: Payload, headers: wire.TaskHeaders | None, exc: RemoteProtocolError
    ) -> Outcome:
        """Tell the caller of a task whose body cannot be read, where an id is known."""
        error: str | None = "no id"
        if headers is not None:
            error = self._fail_invalid(payload, headers, str(exc))
        return Refused(exc.field, str(exc), exc.reason, exc.hint, stored=error is None)

    def settle(self, job: SettlePayload) -> Outcome:
        """Do the bookkeeping of one message that did not run to an end."""
        if job.kind is Settlement.INVALID:
            name, task_id, text = job.detail
            return Settled(
                self._fail_invalid(job.payload, wire.TaskHeaders(task=name, id=task_id), text)
            )
        message = job.payload.message()
        try:
            headers = wire.read_headers(message)
        except RemoteProtocolError as exc:
            return Settled(str(exc))
        try:
            call = (
                wire.read_body(message, headers, accept=self.accept, limits=self.limits)
                if headers is not None
                else wire.decode(message, accept=self.accept, limits=self.limits)
            )
        except RemoteProtocolError as exc:
            # The end must be told even if the arguments cannot be read.
            if headers is None:
                return Settled(str(exc))
            call = wire.TaskMessage(headers=headers)
        task = self.app.tasks.get(call.headers.task) or self._any_task()
        request, task_id = self.context(job.payload, call, task), call.headers.id
        try:
            if job.kind is Settlement.REVOKED:
                self._revoked(task, request, task_id, job.detail)
            elif job.kind is Settlement.UNKNOWN:
                self._failed(task, request, task_id, NotRegistered(call.headers.task), signal=False)
            elif job.kind is Settlement.LOST:
                self._failed(task, request, task_id, worker_lost(*job.detail))
            else:
                self._failed(task, request, task_id, TimeLimitExceeded(job.detail), hooks=True)
        except Exception as exc:
            logger.exception("Bookkeeping of task %s failed", call.headers.id)
            return Settled(abbreviate(exc))
        return Settled()

    def mark_revoked(self, job: MarkRevoked) -> Outcome:
        """Store REVOKED under ids that are still waiting somewhere. Spec: control-and-events#1.8."""
        task, errors = self._any_task(), []
        for task_id in job.ids:
            try:
                if task.backend.fetch(task_id).status in _NOT_BEGUN:
                    store_document(
                        self.app,
                        task,
                        Context(id=task_id, hostname=self.hostname),
                        task_id,
                        State.REVOKED,
                        TaskRevokedError("revoked"),
                    )
            except Exception as exc:
                logger.exception("Task %s could not be marked as revoked", task_id)
                errors.append(abbreviate(exc))
        return Settled("; ".join(errors) or None)

    def _any_task(self) -> Any:
        return self.app.tasks["celery.accumulate"]

    def _fail_invalid(self, payload: Payload, headers: wire.TaskHeaders, text: str) -> str | None:
        task = self.app.tasks.get(headers.task) or self._any_task()
        request = self.context(payload, wire.TaskMessage(headers=headers), task)
        if request.ignore_result and not task.store_errors_even_if_ignored:
            return None
        try:
            store_document(self.app, task, request, headers.id, State.FAILURE, InvalidTask(text))
        except Exception as exc:
            logger.exception("The failure of invalid task %s could not be stored", headers.id)
            return abbreviate(exc)
        return None

    def _revoked(self, task: Any, request: Context, task_id: str, reason: str) -> None:
        exc = TaskRevokedError(reason)
        if not request.ignore_result:
            store_document(self.app, task, request, task_id, State.REVOKED, exc)
        return_chord_part(self.app, task, request, task_id, State.REVOKED, exc)

    def _failed(
        self,
        task: Any,
        request: Context,
        task_id: str,
        exc: Exception,
        *,
        signal: bool = True,
        hooks: bool = False,
    ) -> None:
        einfo = ExceptionInfo(exc)
        store = not request.ignore_result or bool(task.store_errors_even_if_ignored)
        fail_task(
            self.app,
            FailedTask(task=task, task_id=task_id, request=request, einfo=einfo, traceback=""),
            store=store,
        )
        args, kwargs = request.args, request.kwargs
        if hooks:
            for hook, arguments in (
                (task.on_failure, (exc, task_id, args, kwargs, einfo)),
                (task.after_return, (State.FAILURE, exc, task_id, args, kwargs, einfo)),
            ):
                try:
                    hook(*arguments)
                except Exception:
                    logger.exception("A failure hook of task %s raised", task_id)
        if signal:
            signals.task_failure.send(
                sender=task, task_id=task_id, exception=exc, args=args, kwargs=kwargs,
                traceback=None, einfo=einfo,
            )  # fmt: skip
