"""Run a task here and now: `Task.apply` and `task_always_eager`, through the same tracer as a worker.

Spec: app-and-cli#5.3
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from celeriac.app import trace
from celeriac.app.context import Context
from celeriac.app.outcome import Failed
from celeriac.exceptions import Retry
from celeriac.result import EagerResult, denied_join_result
from celeriac_protocol.result import State
from celeriac_protocol.serializers import accept_set, dumps, loads

if TYPE_CHECKING:
    from celeriac.app.task import Task

__all__ = ["trace_eager"]


def trace_eager(
    task: Task,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    *,
    task_id: str | None = None,
    retries: int = 0,
    throw: bool | None = None,
    link: Any = None,
    link_error: Any = None,
    headers: Mapping[str, Any] | None = None,
    **options: Any,
) -> EagerResult:
    """Run `task` in this process and return its result.

    Arguments make the serializer's round trip, so that what works here works on the wire too.

    Args:
        task: The bound task.
        args: Positional arguments.
        kwargs: Keyword arguments.
        task_id: Id to run under; a new one by default.
        retries: How many attempts went before this one.
        throw: Raise the task's exception; defaults to `task_eager_propagates`.
        link: Signature or list of signatures to apply with the return value.
        link_error: The same for a failure.
        headers: Custom headers the task sees as `request.headers`.
        options: Any other option of `apply_async`; those a worker would show in the request are shown.

    Raises:
        kombu.exceptions.EncodeError: The arguments cannot be serialized.
        Exception: With `throw`, whatever the task raised.
    """
    app = task.app
    throw = app.conf.task_eager_propagates if throw is None else throw
    args, kwargs = _round_trip(task, list(args or ()), dict(kwargs or {}), options)
    task_id = task_id or str(uuid4())
    ignore_result = options.get("ignore_result")
    request = Context(
        id=task_id,
        task=task.name,
        args=args,
        kwargs=kwargs,
        root_id=options.get("root_id") or task_id,
        parent_id=options.get("parent_id"),
        group=options.get("group_id"),
        group_index=options.get("group_index"),
        retries=retries,
        is_eager=True,
        called_directly=False,
        callbacks=_listed(link),
        errbacks=_listed(link_error),
        chain=options.get("chain"),
        headers=dict(headers) if headers else None,
        hostname=socket.gethostname(),
        ignore_result=task.ignore_result if ignore_result is None else ignore_result,
        delivery_info={
            "is_eager": True,
            "exchange": options.get("exchange"),
            "routing_key": options.get("routing_key"),
            "priority": options.get("priority"),
        },
        **(dict(headers) if headers else {}),
    )
    tracer = trace.build_tracer(task.name, task, app=app, hostname=request.hostname, eager=True)
    with denied_join_result():
        state, retval, outcome = tracer(task_id, args, kwargs, request)
    if isinstance(retval, Retry) and retval.sig is not None:
        return retval.sig.apply(retries=retries + 1, throw=throw)
    if throw and isinstance(retval, BaseException) and state == State.FAILURE:
        raise retval
    traceback = outcome.traceback if isinstance(outcome, Failed) else None
    return EagerResult(task_id, retval, state, traceback=traceback, name=task.name)


def _round_trip(
    task: Task, args: list[Any], kwargs: dict[str, Any], options: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    serializer = options.get("serializer") or task.serializer or "json"
    encoded = dumps([args, kwargs], serializer)
    args, kwargs = loads(  # type: ignore[misc]
        encoded.data, encoded.content_type, encoded.content_encoding, accept_set([serializer])
    )
    return list(args), dict(kwargs)


def _listed(value: Any) -> list[Any] | None:
    if not value:
        return None
    return list(value) if isinstance(value, list | tuple) else [value]
