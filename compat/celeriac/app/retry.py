"""Repeating a call: `self.retry` and automatic retries. Spec: app-and-cli#5.4-5.5, results-and-workflows#5."""

from __future__ import annotations

import functools
import random
import sys
from collections.abc import Mapping, Sequence
from types import MethodType
from typing import TYPE_CHECKING, Any, NoReturn

from celeriac.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry
from celeriac_protocol.delayed import strip_delay

_DELAYED = "celery_delayed_"

if TYPE_CHECKING:
    from celeriac.app.context import Context
    from celeriac.app.task import Task
    from celeriac.canvas import Signature

__all__ = ["add_autoretry", "backoff", "retry", "signature_from_request"]


def signature_from_request(
    task: Task,
    request: Context | None = None,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    queue: Any = None,
    **extra_options: Any,
) -> Signature:
    """Return the signature that repeats a call: same id and place in its workflow.

    Args:
        task: The task.
        request: The call; default: the running one.
        args: Replace its arguments.
        kwargs: Replace its keyword arguments.
        queue: Where to send it; default: back where it came from.
        extra_options: Laid over the options of the call.
    """
    request = task.request if request is None else request
    args = request.args if args is None else args
    kwargs = request.kwargs if kwargs is None else kwargs
    options = {**request.as_execution_options(), "ignore_result": request.ignore_result}
    options.update(extra_options)
    delivery_info = dict(request.delivery_info or {})
    for name in ("priority", "is_eager"):
        if name in delivery_info and name not in extra_options:
            options[name] = delivery_info[name]
    if queue:
        options["queue"] = queue
        options.pop("is_eager", None)
    else:
        exchange = delivery_info.get("exchange")
        routing_key = delivery_info.get("routing_key")
        if exchange == "" and routing_key:
            options["queue"] = routing_key
        elif routing_key and str(exchange).startswith(_DELAYED):
            # It came through the delay of the broker, whose key grows by a prefix each time: enter behind it.
            options.update(
                exchange=f"{_DELAYED}delivery",
                exchange_type="topic",
                routing_key=strip_delay(routing_key),
            )
        else:
            options.update(_present(delivery_info, ("exchange", "routing_key")))
    return task.signature(args or (), kwargs or {}, **options)


def _present(mapping: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: mapping[name] for name in names if name in mapping}


def retry(
    task: Task,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    exc: BaseException | None = None,
    throw: bool = True,
    eta: Any = None,
    countdown: float | None = None,
    max_retries: int | None = None,
    **options: Any,
) -> Any:
    """Do what `Task.retry` says."""
    request = task.request
    retries = request.retries + 1
    if max_retries is None:
        max_retries = task.max_retries
    else:
        # Automatic retries of the same task respect what the body asked for last.
        task.override_max_retries = max_retries  # type: ignore[attr-defined]
    if request.called_directly:
        _raise(exc or Retry("Task can be retried", None))
    if not eta and countdown is None:
        countdown = task.default_retry_delay
    signature = signature_from_request(
        task, request, args, kwargs, countdown=countdown, eta=eta, retries=retries, **options
    )
    if max_retries is not None and retries > max_retries:
        if exc is not None:
            _raise(exc)
        args_text, kwargs_text = signature.args, signature.kwargs
        raise MaxRetriesExceededError(
            f"Can't retry {task.name}[{request.id}] args:{args_text} kwargs:{kwargs_text}",
            task_args=signature.args,
            task_kwargs=signature.kwargs,
        )
    result = Retry(exc=exc, when=eta or countdown, is_eager=request.is_eager, sig=signature)
    if not request.is_eager:
        try:
            signature.apply_async()
        except Exception as error:
            raise Reject(error, requeue=False) from error
    if throw:
        raise result
    return result


def _raise(exc: BaseException) -> NoReturn:
    """Raise `exc` with the active exception as its cause, or again when it is the active one."""
    active = sys.exc_info()[1]
    if active is None or active is exc:
        raise exc
    raise exc from active


def backoff(factor: float, retries: int, maximum: float, *, jitter: bool) -> int:
    """Return the delay in seconds before attempt `retries` + 1.

    Args:
        factor: First delay.
        retries: Attempts so far, from 0.
        maximum: Upper bound.
        jitter: Choose any whole number from 0 to that delay.
    """
    delay = min(maximum, int(max(1.0, float(factor))) * 2**retries)
    if jitter:
        delay = random.randrange(int(delay) + 1)
    return max(0, int(delay))


def add_autoretry(task: Task) -> None:
    """Wrap `task.run` so that exceptions in `autoretry_for` become retries. A second call changes nothing."""
    expected = tuple(task.autoretry_for or ())
    if not expected or hasattr(task, "_orig_run"):
        return
    excluded = tuple(task.dont_autoretry_for or ())
    original = task.run

    @functools.wraps(original)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        except (Ignore, Retry):
            raise
        except excluded:
            raise
        except expected as exc:
            arguments = dict(task.retry_kwargs)
            if task.retry_backoff:
                arguments["countdown"] = backoff(
                    task.retry_backoff,
                    task.request.retries,
                    task.retry_backoff_max,
                    jitter=task.retry_jitter,
                )
            if hasattr(task, "override_max_retries"):
                arguments["max_retries"] = task.override_max_retries
            raise task.retry(exc=exc, **arguments) from exc

    task._orig_run = original  # type: ignore[attr-defined]
    if isinstance(original, MethodType):
        # Still a method: what tells bound tasks from plain ones must not be misled.
        @functools.wraps(original.__func__)
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            return run(*args, **kwargs)

        task.run = MethodType(method, task)  # type: ignore[method-assign]
    else:
        task.run = run  # type: ignore[method-assign]
