"""`python -m celeriac` and the `celeriac` console script."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line with the import shim on, so that projects written for Celery load unmodified."""
    from celeriac import shim

    shim.install()
    from celeriac.cli.main import main as run

    sys.exit(run(sys.argv[1:] if argv is None else list(argv)))


if __name__ == "__main__":
    main()
