"""Exceptions as results carry them: a class named by module and qualified name, and its arguments.

A reader never trusts the name. It is looked up by a function the caller brings (among modules that are imported
already), and what it leads to is called only when it is an `Exception` class: CVE-2021-23727 was a reader that called
whatever it found. `SystemExit` and its like, which Celery lets through, come back as an ordinary exception of the same
name, so that a stored value cannot end the process that reads it.

Spec: results-and-workflows#1.4, results-and-workflows#8
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from celeriac_protocol.errors import Reason, RemoteProtocolError, abbreviate

__all__ = [
    "ExceptionForm",
    "UnsafeExceptionError",
    "build_exception",
    "encode_exception",
    "read_exception",
    "unwrap_unpickleable",
    "wrap_unpickleable",
]

_WRAPPER_TYPE: Final = "UnpickleableExceptionWrapper"
_WRAPPER_MODULE: Final = "celery.utils.serialization"
_WRAPPER_LENGTH: Final = 4

# Where Celery's own client puts the classes it makes up.
_MADE_UP_MODULE: Final = "celery.exceptions"
_MODULELESS_MODULE: Final = "celery.backends.base"


class UnsafeExceptionError(RemoteProtocolError):
    """A stored failure names something that is no exception class; it was not called."""

    reason = Reason.INVALID_TASK

    def __init__(self, form: ExceptionForm, found: object) -> None:
        super().__init__("result['exc_type']", "the name of an exception class", found)
        self.form = form

    def __str__(self) -> str:
        payload = abbreviate(list(self.form.exc_message))
        return (
            f"Expected an exception class, got {self.form.exc_module}.{self.form.exc_type} "
            f"with payload {payload}"
        )


@dataclass(frozen=True, slots=True)
class ExceptionForm:
    """An exception as a result document holds it."""

    exc_type: str
    """Qualified name of the class; nested classes keep their dots."""
    exc_message: tuple[object, ...] = ()
    """Arguments of the exception."""
    exc_module: str | None = None
    """Module of the class; `None` when the writer left it out."""

    def to_dict(self) -> dict[str, object]:
        """Return the three-key mapping; a reader of Celery 4.4 needs all three."""
        return {
            "exc_type": self.exc_type,
            "exc_message": list(self.exc_message),
            "exc_module": self.exc_module,
        }


def encode_exception(
    exc: BaseException, is_encodable: Callable[[object], bool]
) -> dict[str, object]:
    """Return the mapping to store for an exception, with every serializer but pickle.

    Args:
        exc: What was raised.
        is_encodable: Tells whether the result serializer can write a value; an argument that it cannot write is
            stored as its `repr`, each on its own.

    Spec: results-and-workflows#1.4
    """
    args: object = exc.args
    items = args if isinstance(args, list | tuple) else (args,)
    return ExceptionForm(
        exc_type=type(exc).__qualname__,
        exc_message=tuple(item if is_encodable(item) else _repr(item) for item in items),
        exc_module=type(exc).__module__,
    ).to_dict()


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as exc:  # noqa: BLE001 - a failing repr must not hide the failure that is being stored
        return f"<Unrepresentable {type(value)!r}: {type(exc).__name__}>"


def read_exception(value: object) -> ExceptionForm:
    """Read the `result` of a FAILURE, RETRY or REVOKED document.

    Args:
        value: The mapping, or a list of pairs. `exc_message` may be any value instead of a list, or missing;
            `exc_module` may be missing.

    Raises:
        RemoteProtocolError: No such value.

    Spec: results-and-workflows#1.4, results-and-workflows#8
    """
    if isinstance(value, list | tuple) and all(_is_pair(item) for item in value):
        value = dict(value)
    if not isinstance(value, Mapping):
        raise RemoteProtocolError("result", "a mapping with 'exc_type'", value)
    exc_type, module = value.get("exc_type"), value.get("exc_module")
    if not isinstance(exc_type, str) or not exc_type:
        raise RemoteProtocolError("result['exc_type']", "the name of an exception class", exc_type)
    if module is not None and not isinstance(module, str):
        raise RemoteProtocolError("result['exc_module']", "a module name, or null", module)
    message = value.get("exc_message", "")
    return ExceptionForm(
        exc_type, tuple(message) if isinstance(message, list | tuple) else (message,), module
    )


def _is_pair(item: object) -> bool:
    return isinstance(item, list | tuple) and len(item) == 2 and isinstance(item[0], str)


def build_exception(
    form: ExceptionForm,
    resolve: Callable[[str, str], object | None],
    *,
    allowed: Collection[type[BaseException]] = (),
) -> BaseException:
    """Make the exception that a form describes.

    Args:
        form: As read.
        resolve: Called with module and qualified name; returns what is there, or `None`. It must not import.
        allowed: Classes outside `Exception` that may be made all the same.

    Returns:
        An instance of the class; of a made-up `Exception` subclass with its name when there is none (or one that may
        not be made); a plain `Exception` with both as text when the class refuses its arguments.

    Raises:
        UnsafeExceptionError: The name leads to something that is no exception class.

    Spec: results-and-workflows#1.4, results-and-workflows#8
    """
    found = resolve(form.exc_module, form.exc_type) if form.exc_module else None
    if found is None:
        return _made_up(form)
    if not isinstance(found, type) or not issubclass(found, BaseException):
        raise UnsafeExceptionError(form, found)
    if not issubclass(found, Exception) and found not in allowed:
        return _made_up(form)
    try:
        exc: object = found(*form.exc_message)
    except Exception:  # noqa: BLE001 - somebody's constructor may raise anything
        exc = None
    # A class may return anything at all from `__new__`.
    return exc if isinstance(exc, BaseException) else _as_text(repr(found), form)


def _made_up(form: ExceptionForm) -> BaseException:
    module = _MODULELESS_MODULE if form.exc_module is None else _MADE_UP_MODULE
    try:
        made_up: type[Exception] = type(form.exc_type, (Exception,), {"__module__": module})
    except ValueError:  # no possible class name: a NUL, a lone surrogate
        return _as_text(repr(form.exc_type), form)
    return made_up(*form.exc_message)


def _as_text(name: str, form: ExceptionForm) -> Exception:
    return Exception(f"{name}({list(form.exc_message)!r})")


def wrap_unpickleable(form: ExceptionForm, text: str) -> ExceptionForm:
    """Return the form that Celery 5.3 and later store for an exception that no pickle round trip survives.

    Args:
        form: Of the original exception, with arguments that can be encoded.
        text: `repr` of the original.

    Spec: results-and-workflows#1.4
    """
    arguments: Sequence[object] = list(form.exc_message)
    return ExceptionForm(
        _WRAPPER_TYPE, (form.exc_module, form.exc_type, arguments, text), _WRAPPER_MODULE
    )


def unwrap_unpickleable(form: ExceptionForm) -> ExceptionForm | None:
    """Return the form of the original exception in a wrapper's form; `None` when `form` is no wrapper's."""
    if form.exc_type != _WRAPPER_TYPE or form.exc_module != _WRAPPER_MODULE:
        return None
    if len(form.exc_message) != _WRAPPER_LENGTH:
        return None
    module, name, args, _ = form.exc_message
    if not isinstance(module, str) or not isinstance(name, str) or not name:
        return None
    return ExceptionForm(name, tuple(args) if isinstance(args, list | tuple) else (args,), module)
