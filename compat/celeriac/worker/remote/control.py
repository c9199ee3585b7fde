"""The commands that change something. Spec: control-and-events#1.8."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable
from typing import Any

from celeriac.worker.heart import SOFTWARE
from celeriac.worker.rates import parse_rate
from celeriac.worker.remote.registry import NO_REPLY, control_command
from celeriac.worker.remote.state import ControlState
from celeriac_protocol.control import error, ok

__all__ = [
    "add_consumer",
    "autoscale",
    "cancel_consumer",
    "disable_events",
    "election",
    "enable_events",
    "heartbeat",
    "pool_grow",
    "pool_restart",
    "pool_shrink",
    "rate_limit",
    "shutdown",
    "time_limit",
]

logger = logging.getLogger("celery.worker.control")


# -- tasks ----------------------------------------------------------------------------------------


@control_command(
    args=[("task_name", str), ("rate_limit", str)],
    signature="<task_name> <rate_limit (e.g., 5/s | 5/m | 5/h)>",
)
def rate_limit(
    state: ControlState, task_name: str, rate_limit: Any, **kwargs: Any
) -> dict[str, object]:
    """Tell worker(s) to modify the rate limit for a task by type."""
    try:
        rate = parse_rate(rate_limit)
    except ValueError as exc:
        return error(f"Invalid rate limit string: {exc!r}")
    task = state.app.tasks.get(task_name)
    if task is None:
        logger.error("Rate limit attempt for unknown task %s", task_name)
        return error("unknown task")
    task.rate_limit = rate_limit
    if state.app.conf.worker_disable_rate_limits:
        # Remembered on the task, as Celery does, and without effect.
        logger.warning("Rate limits are disabled here: worker_disable_rate_limits is on")
    else:
        state.loop.limit_rate(task_name, rate)
    if not rate_limit:
        logger.info("Rate limits disabled for tasks of type %s", task_name)
        return ok("rate limit disabled successfully")
    logger.info("New rate limit for tasks of type %s: %s.", task_name, rate_limit)
    return ok("new rate limit set successfully")


@control_command(
    args=[("task_name", str), ("soft", float), ("hard", float)],
    signature="<task_name> <soft_secs> [hard_secs]",
)
def time_limit(
    state: ControlState,
    task_name: str,
    hard: float | None = None,
    soft: float | None = None,
    **kwargs: Any,
) -> dict[str, object]:
    """Tell worker(s) to modify the time limit for task by type."""
    task = state.app.tasks.get(task_name)
    if task is None:
        logger.error("Change time limit attempt for unknown task %s", task_name)
        return error("unknown task")
    for limit in (hard, soft):
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float)):
            raise TypeError(f"a limit is a number of seconds, got {limit!r}")
    task.soft_time_limit, task.time_limit = soft, hard
    logger.info("New time limits for tasks of type %s: soft=%s hard=%s", task_name, soft, hard)
    return ok("time limits set successfully")


# -- events ---------------------------------------------------------------------------------------


@control_command()
def enable_events(state: ControlState) -> dict[str, object]:
    """Tell worker(s) to send task-related events."""
    if state.observer is None:
        return error("event dispatcher unavailable")
    if state.loop.observer is not None:
        return ok("task events already enabled")
    state.loop.observer = state.observer
    logger.info("Events of group {task} enabled by remote.")
    return ok("task events enabled")


@control_command()
def disable_events(state: ControlState) -> dict[str, object]:
    """Tell worker(s) to stop sending task-related events."""
    # Started with -E, a worker goes on: Celery 5.7 answers so, too.
    if state.loop.observer is None or state.always_on:
        return ok("task events already disabled")
    state.loop.observer = None
    logger.info("Events of group {task} disabled by remote.")
    return ok("task events disabled")


@control_command()
def heartbeat(state: ControlState) -> None:
    """Tell worker(s) to send event heartbeat immediately."""
    if state.sender is not None:
        state.sender.send("worker-heartbeat", freq=5, **SOFTWARE)


# -- pool -----------------------------------------------------------------------------------------


@control_command(args=[("n", int)], signature="[N=1]")
def pool_grow(state: ControlState, n: int = 1, **kwargs: Any) -> dict[str, object]:
    """Grow pool by n processes/threads."""
    count = _positive(n)
    if state.worker.autoscaler is not None:
        return error(_SCALED.format("pool_grow"))
    state.loop.pool.grow(count)
    state.consumer.qos.increment_eventually(count * state.worker.prefetch_multiplier)
    return ok("pool will grow")


@control_command(args=[("n", int)], signature="[N=1]")
def pool_shrink(state: ControlState, n: int = 1, **kwargs: Any) -> dict[str, object]:
    """Shrink pool by n processes/threads."""
    count = _positive(n)
    if state.worker.autoscaler is not None:
        return error(_SCALED.format("pool_shrink"))
    state.loop.pool.shrink(count)
    state.consumer.qos.decrement_eventually(count * state.worker.prefetch_multiplier)
    return ok("pool will shrink")


_SCALED = "{} is not supported with autoscale. Adjust autoscale range instead."


def _positive(n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"expected a number of slots, got {n!r}")
    return n


@control_command()
def pool_restart(
    state: ControlState,
    modules: list[str] | None = None,
    reload: bool = False,
    reloader: Callable[[Any], Any] | None = None,
    **kwargs: Any,
) -> dict[str, object]:
    """Restart execution pool."""
    if not state.app.conf.worker_pool_restarts:
        raise ValueError("Pool restarts not enabled")
    for name in modules or ():
        if name not in sys.modules:
            logger.debug("importing module %s", name)
            importlib.import_module(name)
        elif reload:
            logger.debug("reloading module %s", name)
            (reloader or importlib.reload)(sys.modules[name])
    state.loop.pool.restart()
    return ok("reload started")


@control_command(args=[("max", int), ("min", int)], signature="[max [min]]")
def autoscale(
    state: ControlState, max: int | None = None, min: int | None = None
) -> dict[str, object]:
    """Modify autoscale settings."""
    autoscaler = state.worker.autoscaler
    if autoscaler is None:
        raise ValueError("Autoscale not enabled")
    autoscaler.set_range(max, min)
    return ok(f"autoscale now max={autoscaler.largest} min={autoscaler.smallest}")


# -- queues ---------------------------------------------------------------------------------------


@control_command(
    args=[("queue", str), ("exchange", str), ("exchange_type", str), ("routing_key", str)],
    signature="<queue> [exchange [type [routing_key]]]",
)
def add_consumer(
    state: ControlState,
    queue: str,
    exchange: str | None = None,
    exchange_type: str | None = None,
    routing_key: str | None = None,
    **options: Any,
) -> dict[str, object]:
    """Tell worker(s) to consume from task queue by name."""
    queues = state.app.amqp.queues
    if queue in queues:
        found = queues[queue]
    else:
        found = queues.add(
            queue,
            exchange=exchange or queue,
            exchange_type=exchange_type or "direct",
            routing_key=routing_key or queue,
            **options,
        )
    try:
        # Over the side connection: a refusal would cost the other one all it holds.
        state.side.declare(found)
    except Exception:
        if not any(known.name == queue for known in state.loop.queues):
            queues.pop(queue, None)
        raise
    state.loop.add_queue(found)
    logger.info("Started consuming from %s", queue)
    return ok(f"add consumer {queue}")


@control_command(args=[("queue", str)], signature="<queue>")
def cancel_consumer(state: ControlState, queue: str, **kwargs: Any) -> dict[str, object]:
    """Tell worker(s) to stop consuming from task queue by name."""
    logger.info("Canceling queue %s", queue)
    state.loop.remove_queue(queue)
    return ok(f"no longer consuming from {queue}")


# -- the worker -----------------------------------------------------------------------------------


@control_command()
def shutdown(state: ControlState, msg: str = "Got shutdown from remote", **kwargs: Any) -> object:
    """Shutdown worker(s)."""
    logger.warning("%s", msg)
    state.worker.shutdown.request_warm()
    return NO_REPLY


@control_command(visible=False)
def election(state: ControlState, id: str, topic: str, action: Any = None, **kwargs: Any) -> None:
    """Hold election; a worker that does not gossip is no candidate."""
    if state.gossip is not None:
        state.gossip.stand(id, topic, action, state.loop.clock.monotonic())
