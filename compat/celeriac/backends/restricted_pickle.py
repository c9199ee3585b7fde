"""Reading pickles that strangers wrote into a result table, without running anything of theirs.

Celery up to 5.6 pickled every value in its database tables. Plain values are read by an unpickler that knows data types
only. Saved groups are pickled result objects; they are read with inert stand-ins that remember their arguments.

Spec: results-and-workflows#2.3
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celeriac_protocol.errors import RemoteProtocolError, UndecodableBodyError
from celeriac_protocol.result import result_tuple

__all__ = ["PICKLE_START", "load_group", "load_value"]

PICKLE_START = b"\x80"
"""First byte of every pickle since protocol 2; of no JSON, YAML or plain text."""

_DATA_TYPES = frozenset(
    {
        *(("builtins", name) for name in ("bytearray", "complex", "frozenset", "range", "set")),
        *(("datetime", name) for name in ("date", "datetime", "time", "timedelta", "timezone")),
        ("collections", "OrderedDict"),
        ("collections", "deque"),
        ("decimal", "Decimal"),
        ("uuid", "UUID"),
        ("uuid", "SafeUUID"),
    }
)
"""Classes whose construction does nothing but hold data."""


def load_value(data: bytes) -> object:
    """Return a pickled value made of plain data.

    Raises:
        UndecodableBodyError: Anything else is in it.
    """
    return _load(_DataUnpickler(io.BytesIO(data)))


def load_group(data: bytes) -> object:
    """Return the tuple form of a pickled `GroupResult`.

    Raises:
        UndecodableBodyError: It is something else.
    """
    found = _load(_ResultUnpickler(io.BytesIO(data)))
    try:
        return _tuple_form(found)
    except RecursionError:
        raise UndecodableBodyError("saved group", "a sane depth", "one too deep") from None


def _load(unpickler: pickle.Unpickler) -> object:
    try:
        return unpickler.load()
    except RemoteProtocolError:
        raise
    except Exception as exc:
        # A broken pickle may raise anything.
        raise UndecodableBodyError("stored pickle", "plain data", repr(exc)) from exc


class _DataUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) in _DATA_TYPES:
            return super().find_class(module_name, global_name)
        raise UndecodableBodyError("stored pickle", "plain data", f"{module_name}.{global_name}")


@dataclass
class _StandIn:
    """What a call of a class of Celery's would have made."""

    name: str
    args: tuple[object, ...]


class _ResultUnpickler(_DataUnpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        if module_name == "celery" or module_name.startswith("celery."):
            return _maker(f"{module_name}.{global_name}")
        return super().find_class(module_name, global_name)


def _maker(name: str) -> Callable[..., _StandIn]:
    def make(*args: object) -> _StandIn:
        return _StandIn(name, args)

    return make


def _tuple_form(found: object) -> list[object]:
    if isinstance(found, _StandIn) and found.args:
        name, (result_id, *rest) = found.name, found.args
        if name == "celery.result.AsyncResult" and isinstance(result_id, str):
            # What follows the id: backend, task name, app, parent.
            return result_tuple(result_id, _parent(rest, 3))
        if name == "celery.result.GroupResult" and isinstance(result_id, str) and rest:
            # What follows the id: members, parent.
            members = rest[0] if isinstance(rest[0], list | tuple) else []
            return result_tuple(
                result_id, _parent(rest, 1), [_tuple_form(member) for member in members]
            )
    raise UndecodableBodyError("saved group", "a pickled GroupResult", found)


def _parent(rest: list[object], place: int) -> list[object] | None:
    parent = rest[place] if len(rest) > place else None
    return None if parent is None else _tuple_form(parent)
