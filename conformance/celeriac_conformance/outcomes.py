"""The five words for how a case ended in a cell, and how they are decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

__all__ = ["Outcome", "Verdicts", "decide"]


class Outcome(StrEnum):
    """How a case ended in a cell. Never merged in counts or reports."""

    PASSED = "passed"
    FAILED = "failed"
    KNOWN = "known"
    """Failed as `known_failures.toml` says."""
    UNSUPPORTED = "unsupported"
    """The implementation, version or carrier does not offer what the case needs."""
    ERROR = "error"
    """Could not be set up, or the control failed: nothing was learnt."""


def decide(*, when: str, report: str, is_expected_failure: bool) -> Outcome | None:
    """Decide an outcome from one phase of a test.

    Args:
        when: ``setup``, ``call`` or ``teardown``.
        report: What pytest says of the phase: ``passed``, ``failed`` or ``skipped``.
        is_expected_failure: Whether pytest counted it as an expected failure (or, when it passed, as a surprise).

    Returns:
        The outcome, or None when this phase decides nothing.
    """
    if report == "skipped":
        return Outcome.KNOWN if is_expected_failure else Outcome.UNSUPPORTED
    if report == "failed":
        return Outcome.FAILED if when == "call" else Outcome.ERROR
    if when != "call":
        return None
    return Outcome.FAILED if is_expected_failure else Outcome.PASSED


class Verdicts:
    """Outcomes seen so far, by case and cell."""

    def __init__(self) -> None:
        self._outcomes: dict[tuple[str, str], Outcome] = {}

    def record(self, case_id: str, cell_id: str, outcome: Outcome) -> None:
        """Keep an outcome; one from a later phase replaces a pass, never anything worse."""
        before = self._outcomes.get((case_id, cell_id), Outcome.PASSED)
        if before is Outcome.PASSED:
            self._outcomes[case_id, cell_id] = outcome

    def of(self, case_id: str, cell_id: str) -> Outcome | None:
        """Return how a case ended in a cell, or None if it did not run yet."""
        return self._outcomes.get((case_id, cell_id))

    def by_cell(self) -> Mapping[str, Counter[Outcome]]:
        """Count outcomes per cell."""
        table: dict[str, Counter[Outcome]] = {}
        for (_, cell_id), outcome in self._outcomes.items():
            table.setdefault(cell_id, Counter())[outcome] += 1
        return table
