"""Holds for the unit tests and the conformance suite alike."""

from __future__ import annotations

pytest_plugins = ["tests.ci_guard", "tests.profiles"]
