"""Fixtures every test may use, and the hypothesis profiles."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from tests.servers import rabbitmq_url, redis_url

__all__ = ["rabbitmq_url", "redis_url"]

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
