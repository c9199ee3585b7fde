"""What a pytest item says about its case and its cell."""

from __future__ import annotations

import pytest

from celeriac_conformance.cases import CASE_ATTRIBUTE, Case
from celeriac_conformance.matrix import Cell
from celeriac_conformance.runtimes.base import Program

__all__ = ["case_of", "cell_id_of", "cell_of", "processes_of", "property_of"]


def case_of(item: pytest.Item) -> Case | None:
    """Return the case an item runs; None for any other test."""
    return getattr(getattr(item, "function", None), CASE_ATTRIBUTE, None)


def cell_of(item: pytest.Item) -> Cell | None:
    """Return the cell an item runs in."""
    callspec = getattr(item, "callspec", None)
    cell = None if callspec is None else callspec.params.get("deployment")
    return cell if isinstance(cell, Cell) else None


def cell_id_of(item: pytest.Item) -> str:
    """Return the id of that cell; empty for any other test."""
    cell = cell_of(item)
    return "" if cell is None else cell.id


def processes_of(item: pytest.Item) -> list[Program]:
    """Return the programs behind an item's fixtures: whatever they list as `processes`."""
    fixtures = getattr(item, "funcargs", {}).values()
    return [process for value in fixtures for process in getattr(value, "processes", ())]


def property_of(item: pytest.Item, name: str) -> str | None:
    """Return a property that reports will show."""
    for key, value in item.user_properties:
        if key == name:
            return str(value)
    return None
