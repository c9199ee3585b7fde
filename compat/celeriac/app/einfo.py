"""An exception on its way to a result document, a hook, an event and a log line."""

from __future__ import annotations

import pickle
import traceback as tb_module
from types import TracebackType
from typing import Any

from celeriac.result.failures import UnpickleableExceptionWrapper
from celeriac_protocol.errors import abbreviate

__all__ = ["ExceptionInfo", "picklable_exception"]

_CELERYS_OWN = frozenset({"celery.exceptions", "billiard.exceptions", "kombu.exceptions"})
_OWN_FILES = frozenset({__file__.replace("einfo.py", "trace.py")})


class ExceptionInfo:
    """What hooks receive as `einfo`: the exception with its formatted traceback.

    Attributes:
        type: The exception's class.
        exception: The exception.
        traceback: The whole formatted traceback, as stored in the result document.
        tb: The traceback object, where there is one.
        internal: True when the failure came from the worker and not from the task.
    """

    def __init__(
        self, exc: BaseException, *, tb: TracebackType | None = None, internal: bool = False
    ) -> None:
        self.type = type(exc)
        self.exception = exc
        self.tb = _skip_own_frames(tb if tb is not None else exc.__traceback__)
        self.internal = internal
        self.traceback = _format_traceback(exc, self.tb)

    def __str__(self) -> str:
        return self.traceback

    def __repr__(self) -> str:
        return f"<ExceptionInfo: {self.exception!r}>"

    @property
    def exc_info(self) -> tuple[type[BaseException], BaseException, TracebackType | None]:
        """The triple that `logging` takes as `exc_info`."""
        return self.type, self.exception, self.tb


def _format_traceback(exc: BaseException, tb: TracebackType | None) -> str:
    """Return the traceback as Python prints it; a broken `__str__` of the exception does not matter."""
    try:
        return "".join(tb_module.format_exception(type(exc), exc, tb))
    except Exception as error:  # noqa: BLE001 - formatting runs user code (`__str__`, `__repr__`)
        frames = "".join(tb_module.format_tb(tb)) if tb else ""
        return f"{frames}{type(exc).__name__}: <unprintable: {type(error).__name__}>\n"


def _skip_own_frames(tb: TracebackType | None) -> TracebackType | None:
    """Drop the leading frames of the tracer: users want to see their own code first."""
    first = tb
    while tb is not None and tb.tb_frame.f_code.co_filename in _OWN_FILES:
        tb = tb.tb_next
    return tb if tb is not None else first


def picklable_exception(exc: BaseException) -> BaseException:
    """Return `exc`, or the nearest thing that survives a pickle round trip.

    Celery does so even where results are JSON, and clients see the outcome: first the nearest base class below
    `Exception` that can be rebuilt from the same arguments, else an `UnpickleableExceptionWrapper`.

    Spec: results-and-workflows#1.4
    """
    module = type(exc).__module__
    if module == "builtins" and not exc.__dict__ and _plain(exc.args):
        return exc
    if module in _CELERYS_OWN and _plain(exc.args):
        return (
            exc  # known to every client, and importable under that name only where the shim is on
        )
    if _survives(exc):
        return exc
    for base in type(exc).__mro__[1:]:
        if base in (Exception, BaseException, object) or not issubclass(base, BaseException):
            break
        try:
            candidate = base(*exc.args)
        except Exception:  # noqa: BLE001, S112 - any constructor may refuse; the next base is tried
            continue
        if _survives(candidate):
            return candidate
    return UnpickleableExceptionWrapper(
        type(exc).__module__, type(exc).__name__, [_safe(arg) for arg in exc.args], abbreviate(exc)
    )


def _plain(args: tuple[Any, ...]) -> bool:
    return all(arg is None or isinstance(arg, str | int | float | bool | bytes) for arg in args)


def _survives(exc: BaseException) -> bool:
    try:
        pickle.loads(pickle.dumps(exc))  # noqa: S301 - our own bytes, made one call earlier
    except Exception:  # noqa: BLE001 - reduce and constructors are user code
        return False
    return True


def _safe(arg: Any) -> Any:
    try:
        pickle.dumps(arg)
    except Exception:  # noqa: BLE001 - reduce is user code
        return abbreviate(arg, 1024)
    return arg
