"""What the public API raises, under the names and module paths that results carry on the wire.

::

    Exception
    ├── CeleryError
    │   ├── ImproperlyConfigured, SecurityError
    │   ├── TaskPredicate             control flow of a task, not a failure
    │   │   └── Ignore, Reject, Retry
    │   └── TaskError
    │       └── QueueNotFound, NotRegistered (both KeyError), IncompleteStream, AlreadyRegistered, TimeoutError,
    │           MaxRetriesExceededError, TaskRevokedError, InvalidTaskError, ChordError
    ├── BackendError
    │   └── BackendGetMetaError, BackendStoreError
    ├── kombu.exceptions.OperationalError
    ├── click.ClickException
    │   └── CeleryCommandException
    └── SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError, Terminated      (the pool's)
    UserWarning
    └── CeleryWarning
        └── AlwaysEagerIgnored, DuplicateNodenameWarning, DuplicateTaskNameWarning, FixupWarning, NotConfigured,
            SecurityWarning
    SystemExit
    └── WorkerShutdown, WorkerTerminate

A stored failure names its class by module and qualified name, so `__module__` here is part of the wire format:
``celery.exceptions``, and ``billiard.exceptions`` for the pool's four. Pickling by reference therefore works where
those modules can be imported: under `celeriac.shim.install`.

Spec: app-and-cli#9.2
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from click import ClickException
from kombu.exceptions import OperationalError

if TYPE_CHECKING:
    from celeriac.canvas.signature import Signature

__all__ = [
    "AlreadyRegistered",
    "AlwaysEagerIgnored",
    "BackendError",
    "BackendGetMetaError",
    "BackendStoreError",
    "CDeprecationWarning",
    "CPendingDeprecationWarning",
    "CeleryCommandException",
    "CeleryError",
    "CeleryWarning",
    "ChordError",
    "DuplicateNodenameWarning",
    "DuplicateTaskNameWarning",
    "FixupWarning",
    "Ignore",
    "ImproperlyConfigured",
    "IncompleteStream",
    "InvalidTaskError",
    "MaxRetriesExceededError",
    "NotConfigured",
    "NotRegistered",
    "OperationalError",
    "QueueNotFound",
    "Reject",
    "Retry",
    "RetryTaskError",
    "SecurityError",
    "SecurityWarning",
    "SoftTimeLimitExceeded",
    "SystemTerminate",
    "TaskError",
    "TaskPredicate",
    "TaskRevokedError",
    "Terminated",
    "TimeLimitExceeded",
    "TimeoutError",
    "WorkerLostError",
    "WorkerShutdown",
    "WorkerTerminate",
    "reraise",
]

_WIRE = "celery.exceptions"
_POOL_WIRE = "billiard.exceptions"


def reraise(tp: object, value: BaseException, tb: TracebackType | None = None) -> NoReturn:
    """Raise `value` with the traceback `tb`; `tp` is accepted for the sake of old callers."""
    if tb is not None and value.__traceback__ is not tb:
        raise value.with_traceback(tb)
    raise value


class CeleryWarning(UserWarning):
    """Base of the warnings."""

    __module__ = _WIRE


class AlwaysEagerIgnored(CeleryWarning):
    """`send_task` publishes although `task_always_eager` is on."""

    __module__ = _WIRE


class DuplicateNodenameWarning(CeleryWarning):
    """Two workers answered under one node name."""

    __module__ = _WIRE


class DuplicateTaskNameWarning(CeleryWarning):
    """A second function asked for a task name that is taken; the first one stays."""

    __module__ = _WIRE


class FixupWarning(CeleryWarning):
    """A framework integration could not be set up."""

    __module__ = _WIRE


class NotConfigured(CeleryWarning):
    """There is no configuration module."""

    __module__ = _WIRE


class SecurityWarning(CeleryWarning):
    """The set-up is dangerous."""

    __module__ = _WIRE


class CeleryError(Exception):
    """Base of the library's errors."""

    __module__ = _WIRE


class ImproperlyConfigured(CeleryError):
    """A setting, or a combination of settings, cannot work."""

    __module__ = _WIRE


class SecurityError(CeleryError):
    """Refused for safety's sake, or a signature that does not verify."""

    __module__ = _WIRE


class TaskPredicate(CeleryError):
    """Base of what a task raises to say how it ended without having failed."""

    __module__ = _WIRE


class Ignore(TaskPredicate):
    """The worker stores nothing and sends nothing for this run."""

    __module__ = _WIRE


class Reject(TaskPredicate):
    """The worker rejects the message.

    Attributes:
        reason: Anything; usually the exception behind it.
        requeue: Give the message back to the queue instead of discarding it.
    """

    __module__ = _WIRE

    def __init__(self, reason: object = None, requeue: bool = False) -> None:
        self.reason = reason
        self.requeue = requeue
        super().__init__(reason, requeue)

    def __repr__(self) -> str:
        return f"reject requeue={self.requeue}: {self.reason}"


class Retry(TaskPredicate):
    """The task was published again.

    Attributes:
        message: Text shown instead of the standard one.
        exc: What made the task retry, or `None`.
        excs: `repr` of it, or the text given instead of an exception.
        when: Seconds from now, or a datetime.
        is_eager: The task ran in the caller's process.
        sig: The signature that repeats the task.
    """

    __module__ = _WIRE

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | str | None = None,
        when: float | datetime | None = None,
        is_eager: bool = False,
        sig: Signature | None = None,
        **kwargs: object,
    ) -> None:
        self.message = message
        self.exc = None if isinstance(exc, str) else exc
        self.excs = exc if isinstance(exc, str) else (repr(exc) if exc else None)
        self.when = when
        self.is_eager = is_eager
        self.sig = sig
        super().__init__(message, exc, when, **kwargs)

    def humanize(self) -> str:
        """Return ``in 60s`` for a number of seconds, ``at <datetime>`` for anything else."""
        if isinstance(self.when, int | float):
            return f"in {self.when}s"
        return f"at {self.when}"

    def __str__(self) -> str:
        if self.message:
            return self.message
        if self.excs:
            return f"Retry {self.humanize()}: {self.excs}"
        return f"Retry {self.humanize()}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.exc or self.excs, self.when)


RetryTaskError = Retry


class TaskError(CeleryError):
    """Base of task related errors."""

    __module__ = _WIRE


class QueueNotFound(KeyError, TaskError):
    """A task is routed to a queue that is not configured, and creating it is off."""

    __module__ = _WIRE


class IncompleteStream(TaskError):
    """The end of a data stream was reached before it was complete."""

    __module__ = _WIRE


class NotRegistered(KeyError, TaskError):
    """No task of that name is registered."""

    __module__ = _WIRE

    def __repr__(self) -> str:
        return f"Task of kind {self} never registered, please make sure it's imported."


class AlreadyRegistered(TaskError):
    """The name is taken."""

    __module__ = _WIRE


class TimeoutError(TaskError):
    """Waiting took too long. Not the builtin of that name."""

    __module__ = _WIRE


class MaxRetriesExceededError(TaskError):
    """A task retried more often than it may.

    Attributes:
        task_args: Positional arguments of the task.
        task_kwargs: Keyword arguments of the task.
    """

    __module__ = _WIRE

    def __init__(self, *args: object, **kwargs: Any) -> None:
        self.task_args: Sequence[object] = kwargs.pop("task_args", [])
        self.task_kwargs: Mapping[str, object] = kwargs.pop("task_kwargs", {})
        super().__init__(*args, **kwargs)


class TaskRevokedError(TaskError):
    """The task was revoked, so it has no result."""

    __module__ = _WIRE


class InvalidTaskError(TaskError):
    """A task message, or a signature inside one, breaks the layout."""

    __module__ = _WIRE


class ChordError(TaskError):
    """A header task of a chord failed, or the join did."""

    __module__ = _WIRE


class BackendError(Exception):
    """Base of the result backends' errors."""

    __module__ = _WIRE


class BackendGetMetaError(BackendError):
    """A result document could not be read.

    Attributes:
        task_id: Which.
    """

    __module__ = _WIRE

    def __init__(self, *args: object, **kwargs: Any) -> None:
        self.task_id: str = kwargs.get("task_id", "")
        super().__init__(*args)

    def __repr__(self) -> str:
        return f"{super().__repr__()} task_id:{self.task_id}"


class BackendStoreError(BackendError):
    """A result document could not be written.

    Attributes:
        state: The state that was to be stored.
        task_id: For which task.
    """

    __module__ = _WIRE

    def __init__(self, *args: object, **kwargs: Any) -> None:
        self.state: str = kwargs.get("state", "")
        self.task_id: str = kwargs.get("task_id", "")
        super().__init__(*args)

    def __repr__(self) -> str:
        return f"{super().__repr__()} state:{self.state} task_id:{self.task_id}"


def _name_and_args(exc: BaseException) -> str:
    return f"{type(exc).__name__}{exc.args!r}"


class SoftTimeLimitExceeded(Exception):
    """Raised inside a task that ran past its soft limit; the task may clean up and go on."""

    __module__ = _POOL_WIRE

    def __str__(self) -> str:
        return _name_and_args(self)


class TimeLimitExceeded(Exception):
    """A task ran past its hard limit and was ended."""

    __module__ = _POOL_WIRE

    def __str__(self) -> str:
        return _name_and_args(self)


class WorkerLostError(Exception):
    """The process running the task ended before the task did."""

    __module__ = _POOL_WIRE


class Terminated(Exception):
    """The process running the task was told to end."""

    __module__ = _POOL_WIRE


class CPendingDeprecationWarning(PendingDeprecationWarning):
    """Something will be deprecated."""

    __module__ = _WIRE


class CDeprecationWarning(DeprecationWarning):
    """Something is deprecated."""

    __module__ = _WIRE


class WorkerTerminate(SystemExit):
    """Ends the worker at once."""

    __module__ = _WIRE


SystemTerminate = WorkerTerminate


class WorkerShutdown(SystemExit):
    """Ends the worker after its running tasks."""

    __module__ = _WIRE


class CeleryCommandException(ClickException):
    """A command of the program failed.

    Attributes:
        exit_code: Exit status of the process.
    """

    __module__ = _WIRE

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message=message)
        self.exit_code = exit_code  # type: ignore[misc]  # click declares it for the class only
