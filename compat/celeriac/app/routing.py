"""Where a call goes: exchange, routing key, what to declare, priority. Spec: transports#1.4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kombu.common import Broadcast

if TYPE_CHECKING:
    from celeriac.app.app import Celery

__all__ = ["Target", "resolve"]


@dataclass(slots=True)
class Target:
    """One resolved destination."""

    exchange: Any
    routing_key: str
    declare: Sequence[Any]
    """What to declare before publishing: the queue, unless the caller named something."""
    priority: int | None
    """`None`: the property stays out of the message."""
    delivery_mode: Any
    """That of the queue's exchange; `None` when it has none."""
    options: dict[str, Any]
    """What of the call's options routing did not use."""


def resolve(
    app: Celery,
    router: Any,
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: dict[str, Any],
    task: Any,
) -> Target:
    """Find the destination of a call.

    Args:
        app: Whose queues and routes count.
        router: Asked instead of the app's.
        name: Task name.
        args: Positional arguments, for routes that look at them.
        kwargs: Keyword arguments, likewise.
        options: Options of task and call, together.
        task: The task, when registered here.
    """
    amqp = app.amqp
    routed: dict[str, Any] = dict(
        (router or amqp.router).route(options, name, args, kwargs, task=task)
    )
    queue = routed.pop("queue", None)
    exchange = routed.pop("exchange", None)
    routing_key = routed.pop("routing_key", None)
    exchange_type = routed.pop("exchange_type", None)
    declare = routed.pop("declare", None)
    # A null that somebody wrote leaves the property out; a key that nobody wrote means 0.
    priority = routed.pop("priority", 0)
    if queue is None and exchange is None and routing_key is None:
        queue = amqp.default_queue
    if isinstance(queue, str):
        queue = amqp.queues[queue]
    queue_exchange = None if queue is None else queue.exchange
    if exchange_type is None:
        exchange_type = (queue_exchange and queue_exchange.type) or "direct"
    if exchange_type == "direct" and not (exchange and routing_key):
        exchange, routing_key = "", "" if queue is None else queue.name
    else:
        if not exchange:
            exchange = queue_exchange or amqp.default_exchange
        if not routing_key:
            routing_key = (queue and queue.routing_key) or app.conf.task_default_routing_key or ""
    if declare is None:
        declare = [] if queue is None or isinstance(queue, Broadcast) else [queue]
    return Target(
        exchange=getattr(exchange, "name", exchange),
        routing_key=routing_key,
        declare=declare,
        priority=priority,
        delivery_mode=getattr(queue_exchange, "delivery_mode", None),
        options=routed,
    )
