"""Makes this folder a conformance suite: the plugin does the work."""

from __future__ import annotations

from pathlib import Path

import pytest

from celeriac_conformance.plugin import ConformancePlugin, add_options, deployment, exchange

__all__ = ["deployment", "exchange", "pytest_addoption", "pytest_configure"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the suite's options."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Install the plugin."""
    ConformancePlugin.install(config, Path(__file__).parent)
