"""The matrix of cells: which implementation produces, which works, and what carries messages and results."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["Carrier", "Cell", "Implementation", "Matrix", "MatrixError", "read_matrix"]

_T = TypeVar("_T")


class MatrixError(ValueError):
    """The matrix file says something that makes no sense."""


@dataclass(frozen=True, kw_only=True)
class Implementation:
    """A library that can produce or work, pinned."""

    name: str
    library: str
    """Package its app is imported from."""
    driver: str
    """Module of the program that drives it as a producer."""
    version: str | None = None
    """Exact version, or None for the one of this checkout."""
    requires_python: str = ">=3.11"
    worker: tuple[str, ...] = ()
    """Module (and its first arguments) to run as the worker; the library itself by default."""
    requirements: tuple[str, ...] = ()
    """What its virtual environment holds; none means it runs in the suite's own interpreter."""


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """A broker and a result backend."""

    name: str
    broker: str
    """``redis`` or ``rabbitmq``."""
    backend: str
    """``redis`` or ``rpc``."""
    features: frozenset[str] = frozenset()
    """What cases may ask for with `needs`."""
    cases: tuple[str, ...] = ("*",)
    """Patterns over the ids of the cases that run on it; one that starts with ``!`` excludes."""

    def carries(self, case_id: str) -> bool:
        """Say whether a case runs on this carrier."""
        included = any(fnmatchcase(case_id, pattern) for pattern in self.cases)
        return included and not any(
            fnmatchcase(case_id, pattern[1:]) for pattern in self.cases if pattern.startswith("!")
        )


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One combination to run every case in."""

    producer: Implementation
    worker: Implementation
    carrier: Carrier
    is_control: bool = False

    @property
    def id(self) -> str:
        """Shell-safe name, usable with ``-k`` and ``--cells``."""
        return f"{self.producer.name}.to.{self.worker.name}-{self.carrier.name}"

    @property
    def control_key(self) -> tuple[str, str]:
        """What a cell shares with its control: the producer and the carrier."""
        return (self.producer.name, self.carrier.name)


@dataclass(frozen=True)
class Matrix:
    """Everything the matrix file defines."""

    implementations: Mapping[str, Implementation]
    carriers: Mapping[str, Carrier]
    cells: tuple[Cell, ...]

    def select(self, patterns: Sequence[str] = (), *, control: str = "run") -> tuple[Cell, ...]:
        """Choose the cells to run, controls first.

        Args:
            patterns: Patterns over cell ids; none means every cell. Controls of chosen cells come along by themselves.
            control: ``run`` (controls as well), ``skip`` (tested cells only) or ``only`` (controls only).

        Raises:
            MatrixError: A pattern matches no cell.
        """
        for pattern in patterns:
            if not any(fnmatchcase(cell.id, pattern) for cell in self.cells):
                known = ", ".join(cell.id for cell in self.cells)
                raise MatrixError(f"--cells: {pattern!r} matches no cell; there are {known}")
        named = [cell for cell in self.cells if _matches(cell.id, patterns)]
        keys = {cell.control_key for cell in named if not cell.is_control}
        controls = [
            cell
            for cell in self.cells
            if cell.is_control and (cell in named or cell.control_key in keys)
        ]
        tested = [cell for cell in named if not cell.is_control]
        if control == "only":
            return tuple(controls)
        return tuple(tested if control == "skip" else [*controls, *tested])


def _matches(cell_id: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(cell_id, pattern) for pattern in patterns)


def read_matrix(path: Path) -> Matrix:
    """Read a matrix file.

    Raises:
        MatrixError: An unknown key, an unknown name, or two cells with one id.
    """
    data = tomllib.loads(path.read_text("utf-8"))
    unknown = set(data) - {"implementations", "carriers", "cells"}
    if unknown:
        raise MatrixError(f"{path.name}: unknown tables {sorted(unknown)}")
    implementations = {
        entry["name"]: Implementation(
            **{
                **entry,
                "requirements": tuple(entry.get("requirements", ())),
                "worker": tuple(entry.get("worker", ())),
            },
        )
        for entry in _entries(data, "implementations", path)
    }
    carriers = {
        entry["name"]: Carrier(
            **{
                **entry,
                "features": frozenset(entry.get("features", ())),
                "cases": tuple(entry.get("cases", ("*",))),
            },
        )
        for entry in _entries(data, "carriers", path)
    }
    cells = tuple(
        cell
        for entry in data.get("cells", [])
        for cell in _expand(entry, implementations, carriers, path)
    )
    ids = [cell.id for cell in cells]
    for cell_id in ids:
        if ids.count(cell_id) > 1:
            raise MatrixError(f"{path.name}: two cells are called {cell_id}")
    return Matrix(implementations, carriers, cells)


def _entries(data: Mapping[str, Any], table: str, path: Path) -> list[dict[str, Any]]:
    allowed = (Implementation if table == "implementations" else Carrier).__dataclass_fields__
    entries: list[dict[str, Any]] = data.get(table, [])
    for entry in entries:
        unknown = set(entry) - set(allowed)
        if unknown:
            raise MatrixError(
                f"{path.name}: [[{table}]] {entry.get('name')}: unknown keys {sorted(unknown)}"
            )
    return entries


def _expand(
    entry: Mapping[str, object],
    implementations: Mapping[str, Implementation],
    carriers: Mapping[str, Carrier],
    path: Path,
) -> Iterable[Cell]:
    role = entry.get("role", "tested")
    if role not in ("tested", "control"):
        raise MatrixError(
            f"{path.name}: [[cells]] role: expected tested or control, found {role!r}"
        )
    for producer in _named(entry, "producers", implementations, path):
        for worker in _named(entry, "workers", implementations, path):
            for carrier in _named(entry, "carriers", carriers, path):
                yield Cell(
                    producer=producer, worker=worker, carrier=carrier, is_control=role == "control"
                )


def _named(entry: Mapping[str, object], key: str, known: Mapping[str, _T], path: Path) -> list[_T]:
    names = entry.get(key)
    if not isinstance(names, list) or not names:
        raise MatrixError(
            f"{path.name}: [[cells]] {key}: expected a list of names, found {names!r}"
        )
    for name in names:
        if name not in known:
            raise MatrixError(f"{path.name}: [[cells]] {key}: no such name {name!r}")
    return [known[name] for name in names]
