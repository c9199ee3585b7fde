"""``python -m celeriac_conformance``: the parts of the harness that are no tests."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from celeriac_conformance import bench
from celeriac_conformance.environments import Environments, cache_folder
from celeriac_conformance.matrix import read_matrix
from celeriac_conformance.processes import stop_all
from celeriac_conformance.runtimes.base import CannotSetUpError

__all__ = ["main"]

_MATRIX = Path(__file__).resolve().parents[1] / "matrix.toml"


def _show(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m celeriac_conformance", description=__doc__)
    parser.add_argument("--matrix", type=Path, default=_MATRIX, metavar="FILE")
    commands = parser.add_subparsers(dest="command", required=True)
    bench.add_arguments(commands.add_parser("bench", help="compare our worker with real Celery's"))
    commands.add_parser("cells", help="list the cells of the matrix")
    commands.add_parser("prepare", help="build the virtual environments the matrix needs")
    chosen = parser.parse_args(arguments)
    matrix = read_matrix(chosen.matrix)
    try:
        if chosen.command == "bench":
            return bench.run(chosen, matrix, _show)
        if chosen.command == "cells":
            for cell in matrix.cells:
                _show(f"{cell.id}  {'control' if cell.is_control else 'tested'}")
            return 0
        environments = Environments(cache_folder(), _show)
        for implementation in matrix.implementations.values():
            _show(f"{implementation.name}: {environments.python(implementation)}")
    except CannotSetUpError as error:
        _show(f"cannot set up: {error}")
        return 2
    finally:
        stop_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
