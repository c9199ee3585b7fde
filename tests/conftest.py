"""Fixtures every test may use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator

import pytest

from tests.servers import rabbitmq_url, redis_url

__all__ = ["rabbitmq_url", "redis_url", "shared_tasks_stay_in_their_test"]


@pytest.fixture(autouse=True)
def shared_tasks_stay_in_their_test() -> Iterator[None]:
    """Forget the tasks that a test shared with every app finalized later: the next test's apps are not meant."""
    before = _shared_tasks()
    yield
    if before is not None:
        sys.modules["celeriac.app.state"]._on_finalize[:] = before


def _shared_tasks() -> list[object] | None:
    # Looked up, not imported: the protocol's tests run where nothing else is installed.
    state = sys.modules.get("celeriac.app.state")
    if state is None:
        return None
    # The tasks that every app has are declared by whoever first needs them; they are not that test's own.
    importlib.import_module("celeriac.app.builtins")
    return list(state._on_finalize)
