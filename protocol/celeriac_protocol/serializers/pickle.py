"""Pickle: every Python value, and a way for whoever writes it to run code where it is read.

.. warning::
    **Unpickling executes what the sender wrote into the pickle.** Accept this content type only where everyone who
    can publish to the broker may as well log in to the worker's machine. Nothing here reads a pickle unless
    ``pickle`` is in the receiver's accept list; the restrictions below are no protection.

Celery's signatures pickle as a call of `celery.canvas.signature` with their dict form. So that neither side needs
Celery:

* reading, every global is first looked up by the registered resolvers; without one, that function gives the dict
  form itself;
* writing, an object registered with `rename_global` goes out under the name a peer knows it by.

`loads_restricted` is for pickles that hold plain data, e.g. results stored by Celery up to 5.6: it makes nothing but
builtin values and containers, whatever the pickle asks for.

Spec: task-message#6.1, results-and-workflows#2.3
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from celeriac_protocol.errors import UndecodableBodyError

__all__ = [
    "GlobalResolver",
    "PickleSerializer",
    "add_resolver",
    "loads_restricted",
    "remove_resolver",
    "rename_global",
]

GlobalResolver: TypeAlias = Callable[[str, str], object | None]
"""Module and qualified name → the object to use, or `None` to leave it to others."""

_resolvers: list[GlobalResolver] = []
_renamed: dict[int, tuple[object, str, str]] = {}
"""By identity: a metaclass may make classes unhashable."""
_PLAIN_BUILTINS = frozenset(
    {"bool", "bytearray", "complex", "dict", "frozenset", "list", "range", "set", "slice", "tuple"}
)


def add_resolver(resolve: GlobalResolver) -> None:
    """Ask `resolve` for the globals in pickles before anything is imported; the last one added is asked first."""
    _resolvers.insert(0, resolve)


def remove_resolver(resolve: GlobalResolver) -> None:
    """Undo `add_resolver`; an unknown one is none of our business."""
    if resolve in _resolvers:
        _resolvers.remove(resolve)


def rename_global(target: object, module: str | None, name: str = "") -> None:
    """Write a function or class as `module`.`name` from now on; `None` undoes it.

    The name need not be importable here.
    """
    if module is None:
        _renamed.pop(id(target), None)
    else:
        _renamed[id(target)] = (target, module, name)


class PickleSerializer:
    """The serializer ``pickle``."""

    name = "pickle"
    content_type = "application/x-python-serialize"
    content_encoding = "binary"

    def __init__(self, protocol: int = 4) -> None:
        """Write pickles of `protocol`; kombu's is 4 since 5.2, 2 before."""
        self.protocol = protocol

    def dumps(self, value: object) -> bytes:
        """Return the pickle of `value`."""
        if not _renamed:
            return pickle.dumps(value, protocol=self.protocol)
        out = io.BytesIO()
        try:
            _WatchingPickler(out, protocol=self.protocol).dump(value)
        except _RenamedGlobalFound:
            # The C pickler insists on importing every name it writes; the slower Python one can be told otherwise.
            out = io.BytesIO()
            _RenamingPickler(out, protocol=max(4, self.protocol)).dump(value)
        return out.getvalue()

    def loads(self, data: bytes, content_encoding: str) -> object:
        """Return the value of a pickle, running whatever it says."""
        del content_encoding
        value: object = _ResolvingUnpickler(io.BytesIO(data)).load()
        return value

    def require(self) -> None:
        """Need nothing but the standard library."""


def loads_restricted(
    data: bytes, allowed: Mapping[tuple[str, str], object] | None = None
) -> object:
    """Return the value of a pickle that holds plain data only.

    Args:
        data: The pickle.
        allowed: Further globals, by module and qualified name, e.g. the function that rebuilds a `datetime`. Each
            is called with arguments of the sender's choice.

    Raises:
        UndecodableBodyError: Broken, or it asks for any other global.

    Spec: results-and-workflows#2.3
    """
    try:
        value: object = _RestrictedUnpickler(io.BytesIO(data), allowed or {}).load()
    except UndecodableBodyError:
        raise
    except Exception as exc:
        raise UndecodableBodyError(
            "pickle", "a valid pickle of plain data", f"{type(exc).__name__}: {exc}"
        ) from exc
    return value


class _RenamedGlobalFound(Exception):  # noqa: N818 - a signal between two lines above, never seen outside
    """The value holds a global that has to be written under another name."""


class _WatchingPickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if id(obj) in _renamed:
            raise _RenamedGlobalFound
        return NotImplemented


_PythonPickler: Any = pickle._Pickler


class _RenamingPickler(_PythonPickler):  # type: ignore[misc]  # stubs leave out what it is for
    def save(self, obj: Any, save_persistent_id: bool = True) -> Any:
        if id(obj) in _renamed and id(obj) not in self.memo:
            _, module, name = _renamed[id(obj)]
            super().save(module)
            super().save(name)
            self.write(pickle.STACK_GLOBAL)
            self.memoize(obj)
            return None
        return super().save(obj, save_persistent_id)


class _ResolvingUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        for resolve in _resolvers:
            found = resolve(module, name)
            if found is not None:
                return found
        if (module, name) == ("celery.canvas", "signature"):
            return _signature_as_dict
        return super().find_class(module, name)


class _RestrictedUnpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, allowed: Mapping[tuple[str, str], object]) -> None:
        super().__init__(file)
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self._allowed:
            return self._allowed[module, name]
        if module in ("builtins", "__builtin__") and name in _PLAIN_BUILTINS:
            return super().find_class(module, name)
        raise UndecodableBodyError("pickle", "plain data only", f"{module}.{name}")


def _signature_as_dict(form: object, *_: object, **__: object) -> object:
    """Stand in for `celery.canvas.signature`: the dict form is what the rest of this package works with."""
    return form
