"""Proxies and stacks: objects that stand for another one until somebody looks.

`Proxy` asks its function at every use (the current app, the current task, a shared task). `PromiseProxy` asks once, at
the first use, and keeps the answer: that is how a decorated function becomes a task only when it is needed.
`LocalStack` keeps one stack per thread, and per asyncio task, because it rests on a context variable.

Spec: app-and-cli#3.3
"""

from __future__ import annotations

import importlib
import operator
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import ModuleType
from typing import Any, Generic, TypeVar

__all__ = ["LocalStack", "PromiseProxy", "Proxy", "maybe_evaluate", "try_import", "unevaluated"]

T = TypeVar("T")

_get = object.__getattribute__
_set = object.__setattr__


class _ClassText(str):
    """Text on the class, something else on its instances: `Proxy.__name__` is not `Proxy(f).__name__`."""

    _instance: Callable[[Any], Any]

    def __new__(cls, text: str, instance: Callable[[Any], Any]) -> _ClassText:
        self = str.__new__(cls, text)
        self._instance = instance
        return self

    def __get__(self, obj: object, owner: type | None = None) -> Any:
        return self if obj is None else self._instance(obj)

    def __set__(self, obj: Any, value: Any) -> None:
        raise AttributeError("read-only attribute of a proxy")


def _own_or_forwarded(attribute: str) -> Callable[[Any], Any]:
    def read(proxy: Any) -> Any:
        given = None if attribute == "module" else _get(proxy, f"_Proxy__{attribute}")
        return given or getattr(proxy._get_current_object(), f"__{attribute}__")

    return read


def _forward(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any) -> Any:
        return function(self._get_current_object(), *args)

    return method


def _forward_reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, other: Any) -> Any:
        return function(other, self._get_current_object())

    return method


def _show_own_text(cls: type) -> None:
    """Let the class keep its docstring and module, and its instances show those of their objects."""
    for attribute in ("doc", "module"):
        text = _ClassText(getattr(cls, f"__{attribute}__") or "", _own_or_forwarded(attribute))
        setattr(cls, f"__{attribute}__", text)


class Proxy:
    """Stands for whatever `local(*args, **kwargs)` returns, asked anew at every use.

    Args:
        local: Finds the object.
        args: Positional arguments for it.
        kwargs: Keyword arguments for it.
        name: `__name__` of the proxy, known without finding the object.
        __doc__: `__doc__` of the proxy, likewise.
    """

    __slots__ = (
        "_Proxy__args",
        "_Proxy__doc",
        "_Proxy__kwargs",
        "_Proxy__local",
        "_Proxy__name",
        "__weakref__",
    )

    def __init__(
        self,
        local: Callable[..., Any],
        args: tuple[Any, ...] | list[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        name: str | None = None,
        __doc__: str | None = None,
    ) -> None:
        _set(self, "_Proxy__local", local)
        _set(self, "_Proxy__args", args or ())
        _set(self, "_Proxy__kwargs", kwargs or {})
        _set(self, "_Proxy__name", name)
        _set(self, "_Proxy__doc", __doc__)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _show_own_text(cls)

    def _get_current_object(self) -> Any:
        """Return the object this stands for."""
        return _get(self, "_Proxy__local")(
            *_get(self, "_Proxy__args"), **_get(self, "_Proxy__kwargs")
        )

    @property
    def __name__(self) -> str:
        return str(_own_or_forwarded("name")(self))

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return self._get_current_object().__class__

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        found: dict[str, Any] = self._get_current_object().__dict__
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get_current_object(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._get_current_object(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._get_current_object(), name)

    def __repr__(self) -> str:
        try:
            target = self._get_current_object()
        except RuntimeError:
            return f"<{type(self).__name__} unbound>"
        return repr(target)

    def __bool__(self) -> bool:
        try:
            return bool(self._get_current_object())
        except RuntimeError:
            return False

    def __dir__(self) -> list[str]:
        try:
            return dir(self._get_current_object())
        except RuntimeError:
            return []

    def __reduce__(self) -> Any:
        return self._get_current_object().__reduce__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._get_current_object().__reduce_ex__(protocol)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._get_current_object()(*args, **kwargs)

    def __enter__(self) -> Any:
        return self._get_current_object().__enter__()

    def __exit__(self, *exc_info: Any) -> Any:
        return self._get_current_object().__exit__(*exc_info)

    def __await__(self) -> Any:
        return self._get_current_object().__await__()


_SAME: dict[str, Callable[..., Any]] = {
    "__str__": str,
    "__hash__": hash,
    "__len__": len,
    "__iter__": iter,
    "__getitem__": operator.getitem,
    "__setitem__": operator.setitem,
    "__delitem__": operator.delitem,
    "__contains__": operator.contains,
    "__eq__": operator.eq,
    "__ne__": operator.ne,
    "__lt__": operator.lt,
    "__le__": operator.le,
    "__gt__": operator.gt,
    "__ge__": operator.ge,
    "__neg__": operator.neg,
    "__pos__": operator.pos,
    "__abs__": abs,
    "__invert__": operator.invert,
    "__complex__": complex,
    "__int__": int,
    "__float__": float,
    "__index__": operator.index,
    "__round__": round,
    "__pow__": pow,
}
_BINARY: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "matmul": operator.matmul,
    "floordiv": operator.floordiv,
    "truediv": operator.truediv,
    "mod": operator.mod,
    "divmod": divmod,
    "lshift": operator.lshift,
    "rshift": operator.rshift,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
}
for _name, _function in _SAME.items():
    setattr(Proxy, _name, _forward(_function))
for _name, _function in _BINARY.items():
    setattr(Proxy, f"__{_name}__", _forward(_function))
    setattr(Proxy, f"__r{_name}__", _forward_reflected(_function))


class PromiseProxy(Proxy):
    """A `Proxy` that finds its object at the first use and keeps it."""

    __slots__ = ("_PromiseProxy__pending", "_PromiseProxy__thing")

    def _get_current_object(self) -> Any:
        try:
            return _get(self, "_PromiseProxy__thing")
        except AttributeError:
            return self.__evaluate__()

    def __evaluated__(self) -> bool:
        """Tell whether the object was found already."""
        try:
            _get(self, "_PromiseProxy__thing")
        except AttributeError:
            return False
        return True

    def __maybe_evaluate__(self) -> Any:
        """Return the object, finding it if need be."""
        return self._get_current_object()

    def __evaluate__(self) -> Any:
        """Find the object, keep it, and run what waited for it.

        When finding it fails the proxy stays unevaluated, and the next use tries again.
        """
        thing = Proxy._get_current_object(self)
        _set(self, "_PromiseProxy__thing", thing)
        try:
            pending = _get(self, "_PromiseProxy__pending")
        except AttributeError:
            return thing
        while pending:
            function, args, kwargs = pending.pop(0)
            function(*args, **kwargs)
        return thing

    def __then__(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `fun(*args, **kwargs)` once the object is known: now, or when it is first used."""
        if self.__evaluated__():
            return fun(*args, **kwargs)
        try:
            pending = _get(self, "_PromiseProxy__pending")
        except AttributeError:
            pending = []
            _set(self, "_PromiseProxy__pending", pending)
        pending.append((fun, args, kwargs))
        return None


_show_own_text(Proxy)


def unevaluated(obj: object) -> bool:
    """Tell whether `obj` is a `PromiseProxy` whose object was not asked for yet."""
    return type(obj) is PromiseProxy and not obj.__evaluated__()


def maybe_evaluate(obj: Any) -> Any:
    """Return the object behind a `PromiseProxy`; anything else is returned as it is."""
    return obj.__maybe_evaluate__() if type(obj) is PromiseProxy else obj


def try_import(module: str, default: Any = None) -> ModuleType | Any:
    """Import and return a module, or return `default` when there is none of that name."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return default


class LocalStack(Generic[T]):
    """A stack of which every thread, and every asyncio task, has its own."""

    __slots__ = ("_items",)

    def __init__(self) -> None:
        self._items: ContextVar[tuple[T, ...]] = ContextVar("stack", default=())

    def push(self, obj: T) -> list[T]:
        """Put an item on top; return the whole stack."""
        items = (*self._items.get(), obj)
        self._items.set(items)
        return list(items)

    def pop(self) -> T | None:
        """Take the topmost item off and return it; `None` when there is none."""
        items = self._items.get()
        if not items:
            return None
        self._items.set(items[:-1])
        return items[-1]

    @property
    def top(self) -> T | None:
        """The topmost item, or `None`."""
        items = self._items.get()
        return items[-1] if items else None

    @property
    def stack(self) -> list[T]:
        """A copy of the stack, bottom first."""
        return list(self._items.get())

    def __len__(self) -> int:
        return len(self._items.get())

    def __iter__(self) -> Iterator[T]:
        return iter(self._items.get())
