"""The matrix of cells: which implementation produces, which works, and what carries messages and results."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

__all__ = [
    "RUNTIMES",
    "TIERS",
    "Carrier",
    "Cell",
    "Implementation",
    "Matrix",
    "MatrixError",
    "find_matrix",
    "read_matrix",
]

TIERS = ("default", "full")
"""Sizes of the matrix: what runs for each change, and everything."""

RUNTIMES = ("process", "docker")
"""Ways to run programs and servers."""
ROLES = ("producer", "worker")
ECOSYSTEMS = ("python", "npm", "none")

_T = TypeVar("_T")
_CELL_KEYS = frozenset(
    {"role", "tier", "control", "producers", "workers", "carriers", "cases", "small"}
)


class MatrixError(ValueError):
    """The matrix file says something that makes no sense."""


@dataclass(frozen=True, kw_only=True)
class Implementation:
    """A library that can produce or work, pinned."""

    name: str
    library: str
    """Package its app is imported from."""
    driver: str = ""
    """Module of the program that drives it as a producer."""
    version: str | None = None
    """Exact version, or None for the one of this checkout."""
    python: str | None = None
    """Python it runs in, as ``major.minor``; None means the one that runs the suite."""
    requires_python: str = ">=3.11"
    worker: tuple[str, ...] = ()
    """Module (and its first arguments) to run as the worker; the library itself by default."""
    requirements: tuple[str, ...] = ()
    """What its virtual environment holds; none means it runs in the suite's own interpreter."""
    ecosystem: str = "python"
    """``python``, ``npm``, or ``none``: who installs it. With ``none`` its commands say everything."""
    project: Path | None = None
    """Folder of `package.json` and `package-lock.json` (``npm``); given relative to the matrix file."""
    driver_command: tuple[str, ...] = ()
    """Command of the driver, where it is no Python module. `runtimes.commands` fills in names in braces."""
    worker_command: tuple[str, ...] = ()
    """Command of the worker, where it is no Python module; the arguments of a Celery worker follow."""
    roles: frozenset[str] = frozenset(ROLES)
    """What it can be in a cell."""
    tasks: tuple[str, ...] | None = None
    """Tasks its worker provides; None means all of them. A call that needs another makes its case unsupported."""
    takes_settings: bool = True
    """Whether its worker follows the settings and extra arguments that a case gives it."""
    offers: tuple[str, ...] = ("*",)
    """Patterns over the ids of the cases about what its worker offers, by its documentation; ``!`` excludes."""
    lacks: tuple[tuple[str, str], ...] = ()
    """Patterns over case ids that its worker does not offer, each with the reason."""

    def lacking(self, case_id: str) -> str | None:
        """Return why this worker does not offer what a case is about, or None where it does."""
        for pattern, reason in self.lacks:
            if fnmatchcase(case_id, pattern):
                return reason
        area = case_id.partition("/")[0]
        return None if _chosen(case_id, self.offers) else f"its documentation offers no {area}"

    @property
    def is_reference(self) -> bool:
        """Whether it is Celery itself, which everybody else is measured against."""
        return self.library == "celery"


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """A broker and a result backend."""

    name: str
    broker: str
    """``redis``, ``rabbitmq``, ``valkey`` or ``rabbitmq4``."""
    backend: str
    """``redis``, ``valkey``, ``rpc`` or ``database`` (SQLite, in a file of the cell)."""
    features: frozenset[str] = frozenset()
    """What cases may ask for with `needs`."""
    cases: tuple[str, ...] = ("*",)
    """Patterns over the ids of the cases that run on it; one that starts with ``!`` excludes."""
    runtimes: tuple[str, ...] = RUNTIMES
    """Runtimes that have its servers."""
    settings: tuple[tuple[str, object], ...] = ()
    """Settings of every app that uses it."""

    def carries(self, case_id: str) -> bool:
        """Say whether a case runs on this carrier."""
        return _chosen(case_id, self.cases)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One combination to run every case in."""

    producer: Implementation
    worker: Implementation
    carrier: Carrier
    reference: str
    """Implementation that has to pass a case on both sides before the case says anything about this cell."""
    is_control: bool = False
    tier: str = "default"
    cases: tuple[str, ...] = ("*",)
    """Patterns over the ids of the cases that run in it, like those of its carrier."""
    small: tuple[str, ...] = ()
    """The same in the default tier, where fewer cases are enough."""

    @property
    def id(self) -> str:
        """Shell-safe name, usable with ``-k`` and ``--cells``."""
        return f"{self.producer.name}.to.{self.worker.name}-{self.carrier.name}"

    def runs(self, case_id: str) -> bool:
        """Say whether a case runs in this cell."""
        return self.carrier.carries(case_id) and _chosen(case_id, self.cases)

    @property
    def control_key(self) -> tuple[str, str]:
        """What a cell shares with its control: the reference and the carrier."""
        return (self.reference, self.carrier.name)


@dataclass(frozen=True)
class Matrix:
    """Everything the matrix file defines."""

    implementations: Mapping[str, Implementation]
    carriers: Mapping[str, Carrier]
    cells: tuple[Cell, ...]

    def of_tier(self, tier: str) -> tuple[Cell, ...]:
        """Return the cells of a tier, with those of the smaller ones."""
        found = (cell for cell in self.cells if TIERS.index(cell.tier) <= TIERS.index(tier))
        if tier == "default":
            found = (replace(cell, cases=cell.small or cell.cases) for cell in found)
        return tuple(found)

    def select(
        self, patterns: Sequence[str] = (), *, control: str = "run", tier: str = "full"
    ) -> tuple[Cell, ...]:
        """Choose the cells to run, each control before the cells it controls.

        Args:
            patterns: Patterns over cell ids; none means every cell of the tier. Controls of chosen cells come along by
                themselves.
            control: ``run`` (controls as well), ``skip`` (tested cells only) or ``only`` (controls only).
            tier: ``default`` or ``full``: how much of the matrix there is to choose from.

        Raises:
            MatrixError: A pattern matches no cell.
        """
        offered = self.of_tier(tier)
        for pattern in patterns:
            if not any(fnmatchcase(cell.id, pattern) for cell in offered):
                known = ", ".join(cell.id for cell in offered)
                more = "" if tier == "full" else " (and more with --matrix full)"
                raise MatrixError(f"--cells: {pattern!r} matches no cell; there are {known}{more}")
        named = [cell for cell in offered if _matches(cell.id, patterns)]
        keys = {cell.control_key for cell in named if not cell.is_control}
        controls = [
            cell
            for cell in self.cells
            if cell.is_control and (cell in named or cell.control_key in keys)
        ]
        tested = [cell for cell in named if not cell.is_control]
        if control == "only":
            return tuple(controls)
        if control == "skip":
            return tuple(tested)
        # A control right before its cells: whoever watches a long run sees verdicts early.
        order = {
            key: number for number, key in enumerate(dict.fromkeys(c.control_key for c in named))
        }
        return tuple(
            sorted(
                [*controls, *tested],
                key=lambda cell: (order.get(cell.control_key, -1), not cell.is_control),
            )
        )


def _chosen(case_id: str, patterns: Sequence[str]) -> bool:
    """Say whether patterns choose a case: some match it, and none of those that start with ``!``."""
    return any(fnmatchcase(case_id, pattern) for pattern in patterns) and not any(
        fnmatchcase(case_id, pattern[1:]) for pattern in patterns if pattern.startswith("!")
    )


def _matches(cell_id: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(cell_id, pattern) for pattern in patterns)


def find_matrix(named: str | None, ours: Path) -> tuple[Path, str]:
    """Return the file and the tier that ``--matrix`` names.

    Args:
        named: ``default``, ``full`` or a file, which is taken whole; None is ``default``.
        ours: The matrix file of this suite.
    """
    if named is None or named in TIERS:
        return ours, named or "default"
    return Path(named), "full"


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
        entry["name"]: _implementation(entry, path)
        for entry in _entries(data, "implementations", path)
    }
    carriers = {
        entry["name"]: Carrier(
            **{
                **entry,
                "features": frozenset(entry.get("features", ())),
                "cases": tuple(entry.get("cases", ("*",))),
                "runtimes": tuple(entry.get("runtimes", RUNTIMES)),
                "settings": tuple(entry.get("settings", {}).items()),
            },
        )
        for entry in _entries(data, "carriers", path)
    }
    cells = tuple(
        cell
        for entry in data.get("cells", [])
        for cell in _expand(entry, implementations, carriers, path)
    )
    cells = (*cells, *_missing_controls(cells, implementations))
    ids = [cell.id for cell in cells]
    for cell_id in ids:
        if ids.count(cell_id) > 1:
            raise MatrixError(f"{path.name}: two cells are called {cell_id}")
    return Matrix(implementations, carriers, cells)


def _implementation(entry: Mapping[str, Any], path: Path) -> Implementation:
    fields = dict(entry)
    for name in ("requirements", "worker", "tasks", "offers"):
        if name in fields:
            fields[name] = tuple(fields[name])
    for name in ("driver_command", "worker_command"):
        fields[name] = tuple(
            part.replace("{here}", str(path.parent.absolute())) for part in fields.get(name, ())
        )
    fields["roles"] = frozenset(entry.get("roles", ROLES))
    fields["lacks"] = tuple(entry.get("lacks", {}).items())
    if "project" in fields:
        fields["project"] = path.parent.absolute() / fields["project"]
    found = Implementation(**fields)
    if found.ecosystem not in ECOSYSTEMS or not found.roles <= set(ROLES):
        raise MatrixError(
            f"{path.name}: [[implementations]] {found.name}: expected an ecosystem of {ECOSYSTEMS} "
            f"and roles of {ROLES}, found {found.ecosystem!r} and {sorted(found.roles)}"
        )
    return found


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
    unknown = set(entry) - _CELL_KEYS
    if unknown:
        raise MatrixError(f"{path.name}: [[cells]]: unknown keys {sorted(unknown)}")
    role = _one_of(entry, "role", ("tested", "control"), path)
    tier = _one_of(entry, "tier", TIERS, path)
    control = entry.get("control")
    if control is not None and control not in implementations:
        raise MatrixError(f"{path.name}: [[cells]] control: no such name {control!r}")
    cases = _patterns(entry, "cases", ["*"], path)
    small = _patterns(entry, "small", [], path)
    for producer in _named(entry, "producers", implementations, path):
        for worker in _named(entry, "workers", implementations, path):
            for carrier in _named(entry, "carriers", carriers, path):
                for side, name in ((producer, "producer"), (worker, "worker")):
                    if name not in side.roles:
                        raise MatrixError(f"{path.name}: [[cells]]: {side.name} is no {name}")
                yield Cell(
                    producer=producer,
                    worker=worker,
                    carrier=carrier,
                    reference=str(control or _reference(producer, worker).name),
                    is_control=role == "control",
                    tier=tier,
                    cases=cases,
                    small=small,
                )


def _patterns(
    entry: Mapping[str, object], key: str, default: list[str], path: Path
) -> tuple[str, ...]:
    found = entry.get(key, default)
    if not isinstance(found, list):
        raise MatrixError(f"{path.name}: [[cells]] {key}: expected patterns, found {found!r}")
    return tuple(map(str, found))


def _reference(producer: Implementation, worker: Implementation) -> Implementation:
    """Return the side that is Celery; the producer where none is, or both are."""
    return worker if worker.is_reference and not producer.is_reference else producer


def _missing_controls(
    cells: Sequence[Cell], implementations: Mapping[str, Implementation]
) -> Iterable[Cell]:
    """Make the control of every cell that has Celery for a reference, where the file does not."""
    present = {cell.control_key for cell in cells if cell.is_control}
    wanted: dict[tuple[str, str], Cell] = {}
    for cell in sorted(cells, key=lambda cell: TIERS.index(cell.tier)):
        if implementations[cell.reference].is_reference and cell.control_key not in present:
            wanted.setdefault(cell.control_key, cell)
    for cell in wanted.values():
        reference = implementations[cell.reference]
        yield replace(
            cell, producer=reference, worker=reference, is_control=True, cases=("*",), small=()
        )


def _one_of(entry: Mapping[str, object], key: str, values: Sequence[str], path: Path) -> str:
    value = entry.get(key, values[0])
    if value not in values:
        raise MatrixError(
            f"{path.name}: [[cells]] {key}: expected {' or '.join(values)}, found {value!r}"
        )
    return str(value)


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
