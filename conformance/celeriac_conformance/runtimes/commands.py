"""How programs are called and what their environment says: the same in every runtime."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from celeriac_conformance.matrix import Implementation
from celeriac_conformance.runtimes.base import Ground, WorkerOptions

__all__ = ["CHECKOUT", "driver_command", "program_environment", "worker_command"]

CHECKOUT = Path(__file__).resolve().parents[3]
"""Root of this checkout: programs load the drivers, and our own library, from it."""
_TASKS = "celeriac_conformance.drivers.tasks"


def worker_command(
    python: str, implementation: Implementation, options: WorkerOptions, number: int
) -> list[str]:
    """Return the command that starts a worker the way a user would.

    Args:
        python: Interpreter (Python or Node) that has the implementation.
        implementation: What to run.
        options: How.
        number: Tells this worker's node name from others of the run.
    """
    program = ["{interpreter}", "-m", *(implementation.worker or (implementation.library,))]
    return [
        *_filled(implementation.worker_command or program, python),
        *("-A", _TASKS, "worker", "-l", options.loglevel),
        *("-P", options.pool, "-c", str(options.concurrency), "-Q", ",".join(options.queues)),
        *("-n", f"{options.name}{number}@%h", *options.extra),
    ]


def driver_command(python: str, implementation: Implementation) -> list[str]:
    """Return the command that starts the driver of an implementation."""
    return _filled(
        implementation.driver_command or ["{interpreter}", "-m", implementation.driver], python
    )


def _filled(command: Sequence[str], interpreter: str) -> list[str]:
    """Fill in what only this machine knows; ``{here}`` was filled in when the matrix was read."""
    drivers = CHECKOUT / "conformance/celeriac_conformance/drivers"
    return [
        part.replace("{interpreter}", interpreter).replace("{drivers}", str(drivers))
        for part in command
    ]


def program_environment(
    implementation: Implementation, ground: Ground, settings: Mapping[str, object]
) -> dict[str, str]:
    """Return what a worker or driver finds in its environment, whatever the runtime adds to it."""
    ours = ["conformance"]
    if not implementation.requirements:
        ours = ["protocol", "compat", "conformance"]
    return {
        "PYTHONPATH": os.pathsep.join(str(CHECKOUT / root) for root in ours),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "CONFORMANCE_LIBRARY": implementation.library,
        "CONFORMANCE_BROKER_URL": ground.broker_url,
        "CONFORMANCE_RESULT_BACKEND": ground.backend_url,
        "CONFORMANCE_SETTINGS": json.dumps({**ground.settings, **settings}),
        "CONFORMANCE_JOURNAL": str(ground.journal),
        # Real Celery warns about running as root unless told; ours has to take the variable as well.
        "C_FORCE_ROOT": "1",
    }
