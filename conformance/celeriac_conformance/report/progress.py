"""How far a run is: a line for each cell that is through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from celeriac_conformance.outcomes import Outcome

__all__ = ["Progress", "counts_text"]


def counts_text(counts: Counter[Outcome]) -> str:
    """Write how often each outcome came, all five of them."""
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome)


class Progress:
    """Counts cases until their cells are through.

    Args:
        show: Shows a line.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._counts: dict[str, Counter[Outcome]] = {}
        self._done = 0

    def add(
        self, cell_id: str, outcome: Outcome, *, cases: int, cells: int, seconds: float
    ) -> None:
        """Count a case.

        Args:
            cell_id: Its cell.
            outcome: How it ended.
            cases: How many cases the cell has in this run.
            cells: How many cells the run has.
            seconds: Since the first case of the cell began.
        """
        counts = self._counts.setdefault(cell_id, Counter())
        counts[outcome] += 1
        if counts.total() == cases:
            self._done += 1
            self._show(
                f"cell {self._done}/{cells} done in {seconds:.0f} s: {cell_id}: {counts_text(counts)}"
            )
