"""Outlives a run of the suite by a moment: sweeps its containers when standard input ends.

Started by `Engine` as ``python -m celeriac_conformance.runtimes.watcher RUN``.
"""

from __future__ import annotations

import signal
import sys
import time

from testcontainers.core.docker_client import DockerClient

from celeriac_conformance.runtimes.engine import sweep

__all__ = ["main"]

_SETTLE_S = 2.0


def main(run: str) -> None:
    """Wait until whoever holds the other end of standard input is gone, then sweep."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.read()
    client = DockerClient().client
    if sweep(client, run):
        # It was killed: a container it had asked for may still have been on its way.
        time.sleep(_SETTLE_S)
        sweep(client, run)


if __name__ == "__main__":
    main(sys.argv[1])
