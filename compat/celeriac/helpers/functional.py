"""Functions on functions and sequences. Spec: app-and-cli#10.2."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar

__all__ = [
    "chunks",
    "dictfilter",
    "first",
    "firstmethod",
    "fun_accepts_kwargs",
    "is_list",
    "maybe_list",
    "memoize",
    "noop",
    "padlist",
    "uniq",
]

T = TypeVar("T")
H = TypeVar("H", bound=Hashable)


def is_list(obj: object, scalars: tuple[type, ...] = (Mapping, str)) -> bool:
    """Tell whether something can be iterated over and is no text or mapping."""
    return isinstance(obj, Iterable) and not isinstance(obj, scalars)


def maybe_list(obj: Any, scalars: tuple[type, ...] = (Mapping, str)) -> Any:
    """Return `obj` when it is a list of some kind or `None`, else a list of it."""
    return obj if obj is None or is_list(obj, scalars) else [obj]


def noop(*args: object, **kwargs: object) -> None:
    """Do nothing, whatever the arguments."""


def first(predicate: Callable[[T], object] | None, it: Iterable[T]) -> T | None:
    """Return the first element that is not `None`, or that `predicate` accepts; `None` when there is none."""
    return next(
        (item for item in it if (item is not None if predicate is None else predicate(item))), None
    )


def firstmethod(method: str, on_call: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Return a function that calls `method` on every object of a list until one answers not `None`."""

    def call(it: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        for obj in it:
            bound = getattr(obj, method)
            answer = (
                on_call(bound, *args, **kwargs) if on_call is not None else bound(*args, **kwargs)
            )
            if answer is not None:
                return answer
        return None

    return call


def chunks(it: Iterator[T], n: int) -> Iterator[list[T]]:
    """Split an iterator into lists of `n` elements; the last may be shorter."""
    iterator = iter(it)
    while chunk := list(islice(iterator, n)):
        yield chunk


def padlist(container: Iterable[T], size: int, default: T | None = None) -> Iterator[T | None]:
    """Yield `size` elements, filling up with `default`."""
    items = list(islice(container, size))
    yield from items
    yield from [default] * (size - len(items))


def uniq(it: Iterable[H]) -> Iterator[H]:
    """Yield every element once, in order."""
    return iter(dict.fromkeys(it))


def dictfilter(d: Mapping[str, Any] | None = None, **kw: Any) -> dict[str, Any]:
    """Return a mapping without the keys whose value is `None`."""
    merged = {**(d or {}), **kw}
    return {key: value for key, value in merged.items() if value is not None}


def memoize(
    maxsize: int | None = None,
    keyfun: object = None,
    Cache: object = None,  # noqa: N803
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Remember the answers of a function, at most `maxsize` of them."""
    return lru_cache(maxsize=maxsize)


def fun_accepts_kwargs(fun: Callable[..., Any]) -> bool:
    """Tell whether a function takes any keyword argument."""
    parameters = inspect.signature(fun).parameters.values()
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
