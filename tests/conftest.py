"""Fixtures every test may use, and the hypothesis profiles."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import rabbitmq_url, redis_url

__all__ = ["rabbitmq_url", "redis_url", "shared_tasks_stay_in_their_test"]

settings.register_profile("default", deadline=None)
settings.register_profile(
    "ci", deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "long", deadline=None, max_examples=5000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default")
)


@pytest.fixture(autouse=True)
def shared_tasks_stay_in_their_test() -> Iterator[None]:
    """Forget the tasks that a test shared with every app finalized later: the next test's apps are not meant."""
    before = _shared_tasks()
    yield
    state = sys.modules.get("celeriac.app.state")
    if state is not None:
        state._on_finalize[:] = before


def _shared_tasks() -> list[object]:
    # Looked up, not imported: the protocol's tests run where nothing else is installed.
    state = sys.modules.get("celeriac.app.state")
    return [] if state is None else list(state._on_finalize)
