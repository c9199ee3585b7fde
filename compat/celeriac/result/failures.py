"""From a stored failure back to an exception object.

A document names a class by module and qualified name. Names are looked up among modules that are imported already,
never imported for the purpose, and only `Exception` subclasses are called: a result store is not trusted code.

Spec: results-and-workflows#1.4, #8
"""

from __future__ import annotations

import sys
from typing import Any

from celeriac import exceptions
from celeriac.exceptions import SecurityError
from celeriac_protocol.failure import UnsafeExceptionError
from celeriac_protocol.result import EXCEPTION_STATES, ResultMeta, build_exception, read_exception

__all__ = ["UnpickleableExceptionWrapper", "exception_from", "resolve_class", "value_of"]

_OWN_MODULES = frozenset({"celery.exceptions", "billiard.exceptions"})


class UnpickleableExceptionWrapper(Exception):  # noqa: N818 - the name on the wire
    """Stored by Celery workers (5.3 and later) for an exception that no pickle round trip survives.

    Attributes:
        exc_module: Module of the original class.
        exc_cls_name: Name of the original class.
        exc_args: Its arguments, as far as they could be kept.
        text: `repr` of the original.
    """

    __module__ = "celery.utils.serialization"

    def __init__(
        self, exc_module: str, exc_cls_name: str, exc_args: Any = (), text: str | None = None
    ) -> None:
        self.exc_module = exc_module
        self.exc_cls_name = exc_cls_name
        self.exc_args = exc_args
        self.text = text
        super().__init__(exc_module, exc_cls_name, exc_args, text)

    def __str__(self) -> str:
        return str(self.text)


def resolve_class(module: str, qualname: str) -> object | None:
    """Return what `module` calls `qualname`, if the module is imported already."""
    if module == "celery.utils.serialization" and qualname == "UnpickleableExceptionWrapper":
        return UnpickleableExceptionWrapper
    found: Any = exceptions if module in _OWN_MODULES else sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
        if found is None:
            return None
    return found  # type: ignore[no-any-return]


def exception_from(value: Any) -> BaseException | None:
    """Return the exception that a FAILURE, RETRY or REVOKED document holds as its `result`.

    Args:
        value: The three-key mapping; an exception object (pickle) is returned as it is; anything falsy is `None`.

    Raises:
        SecurityError: The name leads to something that is no exception class.
        RemoteProtocolError: The mapping breaks the layout.
    """
    if not value:
        return None
    if isinstance(value, BaseException):
        return value
    try:
        return build_exception(read_exception(value), resolve_class)
    except UnsafeExceptionError as exc:
        raise SecurityError(str(exc)) from exc


def value_of(meta: ResultMeta) -> Any:
    """Return the Python value of a document: the exception for exception states, else `result` itself."""
    if meta.status in EXCEPTION_STATES:
        return exception_from(meta.result)
    return meta.result
