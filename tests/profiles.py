"""How much Hypothesis tries, in one place: the profiles `default`, `ci` and `long`.

``pytest --hypothesis-profile long`` chooses one, for the unit tests and the conformance suite alike; without it
``HYPOTHESIS_PROFILE`` does, which also reaches runs of pytest inside of tox. In CI the default is `ci`.

Registered by the `conftest.py` at the root, so that a profile is chosen before any test module reads
`settings().max_examples`.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

__all__ = ["PROFILES"]

PROFILES = {"default": 100, "ci": 200, "long": 5000}
"""Examples per test. A test may want a share or a multiple of that, in proportion."""

for _name, _examples in PROFILES.items():
    settings.register_profile(
        _name,
        max_examples=_examples,
        deadline=None,  # machines are shared: a slow example is not a wrong one
        suppress_health_check=[HealthCheck.too_slow],
        print_blob=True,
    )
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default")
)
