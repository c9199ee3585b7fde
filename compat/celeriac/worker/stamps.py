"""Stamps whose tasks must not run. Spec: control-and-events#1.8, control-and-events#4.8."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Final

from celeriac_protocol.task import TaskHeaders

__all__ = ["RevokedStamps", "read_stamps", "values_of"]

_MOST_VALUES: Final = 50_000
"""Of one stamp, and of stamps; then the oldest are forgotten, like revoked ids."""


def values_of(value: Any) -> list[Hashable]:
    """Return the values of one stamp: a single one counts as a list of one; what cannot be compared is left out."""
    several = isinstance(value, list | tuple | set | frozenset)
    found: Iterable[Any] = value if several else (value,)
    return [each for each in found if isinstance(each, str | int | float)]


def read_stamps(given: Any) -> dict[str, Any]:
    """Return the stamps of a command: a mapping, or a list of ``"name=value"``.

    Raises:
        IndexError: An item has no value.
        TypeError: Neither.
    """
    if isinstance(given, Mapping):
        return {str(name): value for name, value in given.items()}
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list | tuple) or not all(isinstance(item, str) for item in given):
        raise TypeError(f"expected a mapping of stamps, or a list of name=value, got {given!r}")
    # Celery's answer to an item without a value is an IndexError as well.
    return {item.split("=", 1)[0]: item.split("=", 1)[1] for item in given}


class RevokedStamps:
    """Stamp names and the values that are revoked, oldest first."""

    def __init__(self) -> None:
        self._values: dict[str, dict[Hashable, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._values)

    def add(self, stamps: Mapping[str, Any]) -> None:
        """Revoke every task that carries one of these values under its name."""
        for name, value in stamps.items():
            values = self._values.setdefault(name, {})
            for each in values_of(value):
                values.pop(each, None)
                values[each] = None
            while len(values) > _MOST_VALUES:
                del values[next(iter(values))]
        while len(self._values) > _MOST_VALUES:
            del self._values[next(iter(self._values))]

    def match(self, headers: TaskHeaders) -> dict[str, list[Hashable]]:
        """Return the revoked stamps that a task carries; none: it may run."""
        found: dict[str, list[Hashable]] = {}
        for name, value in headers.stamps.items():
            revoked = self._values.get(name)
            if revoked and (hits := [each for each in values_of(value) if each in revoked]):
                found[name] = hits
        return found
