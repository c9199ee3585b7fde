"""Signals: who wants to know is told, in the process where it happens.

Guarantees: receivers run in the order they connected; one receiver's exception is logged and returned, never raised
(the two signals that gate start-up, `import_modules` and `setup_logging`, are re-raised by those who send them);
receivers are held weakly unless asked otherwise.

Spec: app-and-cli#9.1, control-and-events#7
"""

from __future__ import annotations

import inspect
import itertools
import logging
import threading
import time
import types
import weakref
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

__all__ = [
    "Signal",
    "after_setup_logger",
    "after_setup_task_logger",
    "after_task_publish",
    "beat_embedded_init",
    "beat_init",
    "before_task_publish",
    "celeryd_after_setup",
    "celeryd_init",
    "eventlet_pool_apply",
    "eventlet_pool_postshutdown",
    "eventlet_pool_preshutdown",
    "eventlet_pool_started",
    "heartbeat_sent",
    "import_modules",
    "setup_logging",
    "task_failure",
    "task_internal_error",
    "task_postrun",
    "task_prerun",
    "task_received",
    "task_rejected",
    "task_retry",
    "task_revoked",
    "task_sent",
    "task_success",
    "task_unknown",
    "user_preload_options",
    "worker_before_create_process",
    "worker_init",
    "worker_process_init",
    "worker_process_shutdown",
    "worker_ready",
    "worker_shutdown",
    "worker_shutting_down",
]

logger = logging.getLogger("celery.utils.dispatch.signal")

Receiver: TypeAlias = Callable[..., Any]
Key: TypeAlias = tuple[Any, Any]

_ANYONE = object()
"""Sender key of receivers connected without a sender."""


def _identity(value: Any) -> Any:
    """Text senders match by value, everything else by identity; a bound method is its object and function."""
    if value is None:
        return id(_ANYONE)
    if isinstance(value, str):
        return value
    if isinstance(value, types.MethodType):
        return id(value.__self__), id(value.__func__)
    return id(value)


def _accepts_keywords(receiver: Receiver) -> bool:
    try:
        parameters = inspect.signature(receiver).parameters.values()
    except (TypeError, ValueError):  # a C function without a signature: nothing to check
        return True
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)


class Signal:
    """One event that code may subscribe to.

    Args:
        providing_args: Names of the keyword arguments a receiver gets; documentation only.
        name: Shown in `repr`.
        use_caching: Accepted for the sake of callers; every `send` looks at the live receivers.
    """

    def __init__(
        self,
        providing_args: Iterable[str] | None = None,
        use_caching: bool = False,
        name: str | None = None,
    ) -> None:
        self.providing_args = set(providing_args or ())
        self.use_caching = use_caching
        self.name = name
        self.receivers: list[tuple[Key, Any]] = []
        self.lock = threading.Lock()

    def connect(self, *args: Any, **kwargs: Any) -> Any:
        """Subscribe a receiver; as a decorator, with or without arguments.

        Args:
            *args: The receiver, called as ``receiver(signal=…, sender=…, **named)``, and optionally the sender.
            **kwargs: `sender`: only events of this sender (text by value, else by identity). `weak`: hold the
                receiver weakly (default True). `dispatch_uid`: identifies the subscription instead of the receiver,
                so that importing a module twice connects once. `retry`: call a failing receiver again, 2 s later at
                first and 2 s longer each time, until it succeeds.

        Returns:
            The receiver (the decorator, when none was given).

        Raises:
            ValueError: The receiver does not accept ``**kwargs``.
        """
        sender: Any = kwargs.pop("sender", None)
        weak: bool = kwargs.pop("weak", True)
        dispatch_uid: Any = kwargs.pop("dispatch_uid", None)
        retry: bool = kwargs.pop("retry", False)
        if kwargs:
            raise TypeError(f"connect() got an unexpected keyword argument {next(iter(kwargs))!r}")
        if len(args) > 1:
            sender = args[1]

        def subscribe(receiver: Receiver) -> Receiver:
            self._subscribe(receiver, sender, weak=weak, dispatch_uid=dispatch_uid, retry=retry)
            return receiver

        if args and args[0] is not None:
            return subscribe(args[0])
        return subscribe

    def _subscribe(
        self, receiver: Receiver, sender: Any, *, weak: bool, dispatch_uid: Any, retry: bool
    ) -> None:
        from celeriac.local import Proxy, unevaluated

        if isinstance(sender, Proxy) and unevaluated(sender):
            # A lazy task is not created just to listen to it: subscribe when somebody first uses it.
            sender.__then__(
                self._connect_evaluated, receiver, weak=weak, dispatch_uid=dispatch_uid, retry=retry
            )
            return
        self._add(receiver, sender, weak=weak, dispatch_uid=dispatch_uid, retry=retry)

    def _connect_evaluated(
        self,
        receiver: Receiver,
        *,
        weak: bool,
        dispatch_uid: Any,
        retry: bool,
        result: Any = None,
    ) -> None:
        self._add(receiver, result, weak=weak, dispatch_uid=dispatch_uid, retry=retry)

    def _add(
        self, receiver: Receiver, sender: Any, *, weak: bool, dispatch_uid: Any, retry: bool
    ) -> None:
        if not callable(receiver):
            raise TypeError(f"Signal receivers must be callable, got {receiver!r}")
        if not _accepts_keywords(receiver):
            raise ValueError("Signal receiver must accept keyword arguments.")
        key = (dispatch_uid or _identity(receiver), _identity(_current(sender)))
        held: Any = receiver
        if retry:
            held = _until_it_succeeds(receiver, weak=weak)
        elif weak:
            held = (
                weakref.WeakMethod(receiver)
                if isinstance(receiver, types.MethodType)
                else weakref.ref(receiver)
            )
        with self.lock:
            self.receivers = [entry for entry in self.receivers if _alive(entry[1])]
            if all(known != key for known, _ in self.receivers):
                self.receivers.append((key, held))

    def disconnect(
        self,
        receiver: Receiver | None = None,
        sender: Any = None,
        weak: bool | None = None,
        dispatch_uid: Any = None,
    ) -> bool:
        """Cancel a subscription made with the same receiver (or `dispatch_uid`) and sender; tell if there was one."""
        key = (dispatch_uid or _identity(receiver), _identity(_current(sender)))
        with self.lock:
            before = len(self.receivers)
            self.receivers = [
                entry for entry in self.receivers if _alive(entry[1]) and entry[0] != key
            ]
            return len(self.receivers) < before

    def has_listeners(self, sender: Any = None) -> bool:
        """Tell whether an event of `sender` would reach anybody."""
        return bool(self._live_receivers(sender))

    def send(self, sender: Any, **named: Any) -> list[tuple[Receiver, Any]]:
        """Call every matching receiver.

        Args:
            sender: Who sends.
            **named: The event's arguments.

        Returns:
            Pairs of receiver and what it returned, or the exception it raised.
        """
        if not self.receivers:
            return []
        responses: list[tuple[Receiver, Any]] = []
        for receiver in self._live_receivers(sender):
            try:
                response = receiver(signal=self, sender=sender, **named)
            except Exception as exc:
                logger.exception("Signal handler %r raised: %r", receiver, exc)
                responses.append((receiver, exc))
            else:
                responses.append((receiver, response))
        return responses

    send_robust = send

    def _live_receivers(self, sender: Any) -> list[Receiver]:
        wanted = {_identity(None), _identity(_current(sender))}
        found: list[Receiver] = []
        for (_, sender_key), held in list(self.receivers):
            if sender_key not in wanted:
                continue
            receiver = held() if isinstance(held, weakref.ReferenceType) else held
            if receiver is not None:
                found.append(receiver)
        return found

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name} providing_args={self.providing_args!r}>"


def _current(sender: Any) -> Any:
    """The object behind a proxy: a task and the lazy proxy of it are one sender."""
    from celeriac.local import Proxy

    return sender._get_current_object() if isinstance(sender, Proxy) else sender


def _alive(held: Any) -> bool:
    return not isinstance(held, weakref.ReferenceType) or held() is not None


def _until_it_succeeds(receiver: Receiver, *, weak: bool) -> Receiver:
    held: Callable[[], Receiver | None]
    if not weak:

        def held() -> Receiver | None:
            return receiver

    elif isinstance(receiver, types.MethodType):
        held = weakref.WeakMethod(receiver)
    else:
        held = weakref.ref(receiver)

    def call(**named: Any) -> Any:
        for attempt in itertools.count(1):
            target = held()
            if target is None:
                return None
            try:
                return target(**named)
            except Exception:
                delay_s = 2.0 * attempt
                logger.exception(
                    "Could not process signal receiver %r. Retrying in %.2f seconds...",
                    target,
                    delay_s,
                )
                time.sleep(delay_s)
        raise AssertionError("an endless count ended")

    return call


before_task_publish = Signal(
    ("body", "exchange", "routing_key", "headers", "properties", "declare", "retry_policy"),
    name="before_task_publish",
)
after_task_publish = Signal(
    ("body", "headers", "exchange", "routing_key"), name="after_task_publish"
)
task_sent = Signal(("task_id", "task", "args", "kwargs", "eta", "taskset"), name="task_sent")
task_received = Signal(("request",), name="task_received")
task_prerun = Signal(("task_id", "task", "args", "kwargs"), name="task_prerun")
task_postrun = Signal(("task_id", "task", "args", "kwargs", "retval", "state"), name="task_postrun")
task_success = Signal(("result", "runtime"), name="task_success")
task_retry = Signal(("request", "reason", "einfo"), name="task_retry")
task_failure = Signal(
    ("task_id", "exception", "args", "kwargs", "traceback", "einfo"), name="task_failure"
)
task_internal_error = Signal(
    ("task_id", "args", "kwargs", "request", "exception", "traceback", "einfo"),
    name="task_internal_error",
)
task_revoked = Signal(("request", "terminated", "signum", "expired"), name="task_revoked")
task_rejected = Signal(("message", "exc"), name="task_rejected")
task_unknown = Signal(("message", "exc", "name", "id"), name="task_unknown")

import_modules = Signal(name="import_modules")
celeryd_init = Signal(("instance", "conf", "options"), name="celeryd_init")
celeryd_after_setup = Signal(("instance", "conf"), name="celeryd_after_setup")
worker_init = Signal(name="worker_init")
worker_before_create_process = Signal(name="worker_before_create_process")
worker_process_init = Signal(name="worker_process_init")
worker_process_shutdown = Signal(("pid", "exitcode"), name="worker_process_shutdown")
worker_ready = Signal(name="worker_ready")
worker_shutting_down = Signal(("sig", "how", "exitcode"), name="worker_shutting_down")
worker_shutdown = Signal(name="worker_shutdown")
heartbeat_sent = Signal(name="heartbeat_sent")

setup_logging = Signal(("loglevel", "logfile", "format", "colorize"), name="setup_logging")
after_setup_logger = Signal(
    ("logger", "loglevel", "logfile", "format", "colorize"), name="after_setup_logger"
)
after_setup_task_logger = Signal(
    ("logger", "loglevel", "logfile", "format", "colorize"), name="after_setup_task_logger"
)

beat_init = Signal(name="beat_init")
beat_embedded_init = Signal(name="beat_embedded_init")

eventlet_pool_started = Signal(name="eventlet_pool_started")
eventlet_pool_preshutdown = Signal(name="eventlet_pool_preshutdown")
eventlet_pool_postshutdown = Signal(name="eventlet_pool_postshutdown")
eventlet_pool_apply = Signal(("target", "args", "kwargs"), name="eventlet_pool_apply")

user_preload_options = Signal(("app", "options"), name="user_preload_options")
