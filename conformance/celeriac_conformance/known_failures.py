"""Failures that are known and accepted for now: run, expected to fail, and never allowed to rot."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

__all__ = ["KnownFailure", "find", "read_known_failures", "unmatched"]


@dataclass(frozen=True, kw_only=True)
class KnownFailure:
    """One entry of the file."""

    case: str
    """Pattern over case ids."""
    cell: str
    """Pattern over cell ids."""
    reason: str
    link: str

    def matches(self, case_id: str, cell_id: str) -> bool:
        """Say whether the entry covers this case in this cell."""
        return fnmatchcase(case_id, self.case) and self.covers(cell_id)

    def covers(self, cell_id: str) -> bool:
        """Say whether the entry speaks of this cell."""
        return fnmatchcase(cell_id, self.cell)


def read_known_failures(path: Path) -> tuple[KnownFailure, ...]:
    """Read the file.

    Raises:
        ValueError: An entry lacks a key or has an unknown one.
    """
    data = tomllib.loads(path.read_text("utf-8"))
    if set(data) - {"known"}:
        raise ValueError(f"{path.name}: expected only [[known]] entries, found {sorted(data)}")
    expected = set(KnownFailure.__dataclass_fields__)
    for entry in data.get("known", []):
        if set(entry) != expected:
            raise ValueError(
                f"{path.name}: [[known]] {entry}: expected the keys {sorted(expected)}, found {sorted(entry)}"
            )
    return tuple(KnownFailure(**entry) for entry in data.get("known", []))


def find(entries: Iterable[KnownFailure], case_id: str, cell_id: str) -> KnownFailure | None:
    """Return the first entry that covers a case in a cell."""
    return next((entry for entry in entries if entry.matches(case_id, cell_id)), None)


def unmatched(
    entries: Iterable[KnownFailure], combinations: Collection[tuple[str, str]]
) -> list[KnownFailure]:
    """Return the entries that cover none of the (case id, cell id) pairs."""
    return [
        entry
        for entry in entries
        if not any(entry.matches(case_id, cell_id) for case_id, cell_id in combinations)
    ]
