"""A part that is missing is a skip on a developer's machine and a failure in CI.

Tests say `pytest.skip("missing: redis-server")` when something they need is not on this machine. With `CI` set, such a
skip is turned into a failure where it is reported, so pytest's own closing line counts it.

Registered by the `conftest.py` at the root, so that it holds for `pytest`, `pytest conformance/` and every tox run.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

__all__ = ["MISSING", "missing_part"]

MISSING = "missing:"
"""How the reason of such a skip starts."""


def missing_part(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    """Return the reason of a skip that is owed to a missing part, or None for any other report."""
    if not report.skipped or hasattr(report, "wasxfail") or not isinstance(report.longrepr, tuple):
        return None
    reason = report.longrepr[2].removeprefix("Skipped: ")
    return reason if reason.startswith(MISSING) else None


def _fail_if_missing(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = missing_part(report)
    if reason is not None and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"{reason} (a skip elsewhere; CI has to have every part)"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_if_missing(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_missing(report)
    return report
