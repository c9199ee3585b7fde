"""From the options of a call to a message on the broker.

One function does it for every way of calling a task: `Task.apply_async`, `Celery.send_task`, and canvas. Options come
from the task, then from the call, then the routes fill in what neither named. Whatever is left over travels as message
properties, as it does with Celery.

A plain `delay()` takes the short way through everything here; what costs time is behind a test for the option that
asks for it.

Spec: task-message#1-#3, #5.1, #7.1, #10, app-and-cli#5.3, transports#1.4
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from celeriac.app.given_producer import publisher_for
from celeriac.app.outgoing import BASIC_PROPERTIES, listed, send, taken, tell_sent
from celeriac.app.routing import Target, resolve
from celeriac.result import AsyncResult, task_join_will_block
from celeriac_protocol.message import Properties
from celeriac_protocol.reprs import saferepr
from celeriac_protocol.task.model import Embed, TaskHeaders, TaskMessage, TimeLimit
from celeriac_protocol.times import after, expiration_ms

if TYPE_CHECKING:
    from celeriac.app.app import Celery

__all__ = ["node_name_of_sender", "publish_task"]

_PUBLISH_OPTIONS = ("mandatory", "immediate", "timeout", "confirm_timeout")
_ABSENT: Any = object()
_DELIVERY_MODES = {"transient": 1, "persistent": 2, 1: 1, 2: 2, "1": 1, "2": 2}

_senders: dict[int, str] = {}


def node_name_of_sender() -> str:
    """Return ``gen<pid>@<host>``, the `origin` of messages sent by this process."""
    pid = os.getpid()
    name = _senders.get(pid)
    if name is None:
        _senders.clear()  # a forked child has its own
        name = _senders[pid] = f"gen{pid}@{socket.gethostname()}"
    return name


def publish_task(
    app: Celery,
    name: str,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    task: Any = None,
    task_id: str | None = None,
    producer: Any = None,
    publisher: Any = None,
    connection: Any = None,
    router: Any = None,
    result_cls: Any = None,
    link: Any = None,
    link_error: Any = None,
    chain: Any = None,
    chord: Any = None,
    shadow: str | None = None,
    countdown: float | None = None,
    eta: datetime | str | None = None,
    expires: Any = _ABSENT,
    retries: int = 0,
    group_id: str | None = None,
    group_index: int | None = None,
    root_id: str | None = None,
    parent_id: str | None = None,
    reply_to: str | None = None,
    headers: Mapping[str, Any] | None = None,
    ignore_result: bool | None = None,
    add_to_parent: bool = True,
    replaced_task_nesting: int = 0,
    route_name: str | None = None,
    retry: bool | None = None,
    retry_policy: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncResult:
    """Publish one task call.

    Args:
        app: Whose settings, router, publisher and backend are used.
        name: Registered name of the task.
        args: Positional arguments.
        kwargs: Keyword arguments.
        task: The task, when it is registered here: its class attributes are the defaults of the options.
        task_id: Id; a new one by default.
        producer: A kombu producer, or `Publisher`, to send through instead of the app's publisher.
        publisher: Old name of `producer`.
        connection: A kombu connection to send through.
        router: Object with `route` to ask instead of the app's.
        result_cls: Made instead of the app's `AsyncResult`.
        link: Signature, or list of them, to apply with the return value.
        link_error: Signature, or list of them, to apply on failure.
        chain: Remaining steps of a chain in reverse order.
        chord: Body signature of the chord this is a part of.
        shadow: Display name.
        countdown: Seconds from now; wins over `eta`.
        eta: When to run.
        expires: Seconds from now or a time after which not to run; `None` clears the task's own.
        retries: How many attempts went before.
        group_id: Group the task is in.
        group_index: Its place there.
        root_id: First task of the workflow; by default that of the running task, else itself.
        parent_id: Task that sends this one; by default the running task.
        reply_to: Reply queue; by default this thread's.
        headers: Laid over the message headers.
        ignore_result: Store nothing; `None` leaves it to the worker.
        add_to_parent: Make the result a child of the running task.
        replaced_task_nesting: How often the task replaced itself.
        route_name: Name the routes are asked for instead of `name`.
        retry: Publish again on connection errors; by default as `task_publish_retry` says.
        retry_policy: How, by kombu's keys; laid over `task_publish_retry_policy`.
        options: `queue`, `exchange`, `routing_key`, `exchange_type`, `priority`, `delivery_mode`, `serializer`,
            `compression`, `time_limit`, `soft_time_limit`, `expiration`, `declare`, `origin`, `argsrepr`, `kwargsrepr`,
            `stamped_headers` and the stamps, `mandatory`, `immediate`, `timeout`, `confirm_timeout`. Others become
            message properties.

    Returns:
        The result, `ignored` set when nothing will be stored.

    Raises:
        TypeError: The arguments are no list and mapping.
        kombu.exceptions.EncodeError: The serializer cannot encode the arguments; nothing was sent.
        kombu.exceptions.OperationalError: The broker could not be reached within the retry policy.
    """
    args = () if args is None else args
    kwargs = {} if kwargs is None else kwargs
    if not isinstance(args, list | tuple):
        raise TypeError("task args must be a list or tuple")
    if not isinstance(kwargs, Mapping):
        raise TypeError("task keyword arguments must be a mapping")
    conf = app.conf
    if task is None and app.finalized:
        task = app.tasks.get(name)
    own: Mapping[str, Any] = {} if task is None else task.own_options()
    if own:
        options = {**own, **options}
        own_expires = options.pop("expires", None)
        expires = own_expires if expires is _ABSENT else expires
    elif expires is _ABSENT:
        expires = None
    task_id = task_id or str(uuid4())

    parent = app.current_worker_task
    if parent is not None:
        request = parent.request
        root_id = root_id or request.root_id or request.id
        parent_id = parent_id or request.id
        if options.get("priority") is None and conf.task_inherit_parent_priority:
            options["priority"] = (request.delivery_info or {}).get("priority")

    eta_text = None
    if countdown:
        eta_text = after(app.now(), _seconds(countdown, "countdown")).isoformat()
    elif eta is not None:
        eta_text = eta if isinstance(eta, str) else eta.isoformat()
    expires_text = expiration = None
    if expires is not None:
        expires_text, expiration = _expiry(app, expires)
    if (given := options.pop("expiration", None)) is not None and expiration is None:
        expiration = str(int(given * 1000))

    stamped_headers = options.pop("stamped_headers", None)
    stamps: dict[str, Any] = {}
    if stamped_headers:
        stamped_headers = tuple(stamped_headers)
        stamps = {name: options.pop(name) for name in dict.fromkeys(stamped_headers)}
    target = resolve(app, router, route_name or name, args, kwargs, options, task)
    options = target.options
    serializer = options.pop("serializer", None) or conf.task_serializer
    compression = options.pop("compression", None) or conf.task_compression

    argsrepr, kwargsrepr = options.get("argsrepr"), options.get("kwargsrepr")
    if argsrepr is None or kwargsrepr is None:
        maxlevels = conf.task_repr_maxlevels
        amqp = app.amqp
        if argsrepr is None:
            argsrepr = saferepr(args, amqp.argsrepr_maxsize, maxlevels)
        if kwargsrepr is None:
            kwargsrepr = saferepr(kwargs, amqp.kwargsrepr_maxsize, maxlevels)

    protocol = conf.task_protocol
    call = TaskMessage(
        headers=TaskHeaders(
            lang="py",
            task=name,
            id=task_id,
            shadow=shadow,
            eta=eta_text,
            expires=expires_text,
            group=group_id,
            group_index=group_index,
            retries=retries,
            timelimit=TimeLimit(
                options.pop("time_limit", None), options.pop("soft_time_limit", None)
            ),
            root_id=root_id or task_id,
            parent_id=parent_id,
            argsrepr=argsrepr,
            kwargsrepr=kwargsrepr,
            origin=options.get("origin") or node_name_of_sender(),
            ignore_result=ignore_result,
            replaced_task_nesting=replaced_task_nesting,
            stamped_headers=stamped_headers,
            stamps=stamps,
            custom=headers or {},
        ),
        args=args,
        kwargs=kwargs,
        embed=Embed(callbacks=listed(link), errbacks=listed(link_error), chain=chain, chord=chord),
        utc=conf.enable_utc if protocol == 1 else True,
    )
    publish_options = taken(options, _PUBLISH_OPTIONS)
    basic = taken(options, BASIC_PROPERTIES)
    properties = Properties(
        correlation_id=options.pop("correlation_id", None) or task_id,
        reply_to=reply_to or app.thread_oid,
        delivery_mode=_delivery_mode(target, options.pop("delivery_mode", None), conf),
        priority=target.priority,
        expiration=expiration,
        extra=options,
        **basic,
    )
    policy = conf.task_publish_retry_policy
    if retry_policy:
        policy = {**policy, **retry_policy}

    result = _result(app, task, task_id, result_cls)
    if ignore_result:
        result.ignored = True
    elif not task_join_will_block():
        # Where waiting is refused nobody will wait, so nothing is prepared for it.
        (app.backend if task is None else task.backend).expect(task_id)
    send(
        call,
        properties,
        target,
        protocol=protocol,
        serializer=serializer,
        compression=compression,
        publisher=(
            app.publisher
            if producer is publisher is connection is None
            else publisher_for(lambda: app.publisher, producer or publisher, connection)
        ),
        retry=conf.task_publish_retry if retry is None else retry,
        retry_policy=policy,
        publish_options=publish_options,
    )
    if conf.task_send_sent_event:
        tell_sent(app, call, target, protocol=protocol, retry=retry, retry_policy=policy)
    if parent is not None and add_to_parent:
        parent.add_trail(result)
    return result


def _seconds(value: Any, what: str) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"{what}: expected a number of seconds, got {value!r}")
    if abs(value) > timedelta.max.total_seconds():
        raise ValueError(f"{what} is out of range: {value!r}")
    return value


def _expiry(app: Celery, expires: Any) -> tuple[str, str]:
    """Return the header text and the `expiration` property."""
    now = app.now()
    if isinstance(expires, int | float):
        text = after(now, _seconds(expires, "expires")).isoformat()
    elif isinstance(expires, date):
        text = expires.isoformat()
    elif isinstance(expires, str):
        text = expires
    else:
        raise TypeError(f"expires: expected seconds, a datetime or ISO 8601 text, got {expires!r}")
    return text, expiration_ms(expires, now=now)


def _delivery_mode(target: Target, given: Any, conf: Any) -> int:
    mode = given or target.delivery_mode or conf.task_default_delivery_mode
    return _DELIVERY_MODES[mode]


def _result(app: Celery, task: Any, task_id: str, result_cls: Any) -> AsyncResult:
    if result_cls is not None:
        made: AsyncResult = result_cls(task_id)
    elif task is not None:
        made = task.AsyncResult(task_id)
    else:
        made = app.AsyncResult(task_id)
    return made
