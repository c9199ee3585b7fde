"""``python -m celeriac_conformance``: the parts of the harness that are no tests."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from celeriac_conformance import bench
from celeriac_conformance.environments import Environments, MissingPythonError, cache_folder
from celeriac_conformance.matrix import Matrix, find_matrix, read_matrix
from celeriac_conformance.processes import stop_all
from celeriac_conformance.recorder import command as record
from celeriac_conformance.report import merge
from celeriac_conformance.runtimes.base import CannotSetUpError

__all__ = ["main"]

_MATRIX = Path(__file__).resolve().parents[1] / "matrix.toml"


def _show(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _add_matrix(parser: argparse.ArgumentParser, *, default: str | None) -> None:
    parser.add_argument(
        "--matrix",
        default=default,
        metavar="default|full|FILE",
        help="how much of the matrix, or another matrix file, which is taken whole",
    )


def _prepare(matrix: Matrix, tier: str) -> int:
    """Build what the cells of a tier need; return 1 when a Python was missing."""
    environments = Environments(cache_folder(), _show)
    status = 0
    cells = matrix.select(tier=tier)
    for implementation in dict.fromkeys(
        side for cell in cells for side in (cell.producer, cell.worker)
    ):
        try:
            _show(f"{implementation.name}: {environments.python(implementation)}")
        except MissingPythonError as error:
            _show(f"unsupported here: {error}")
            status = 1
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m celeriac_conformance", description=__doc__)
    _add_matrix(parser, default=None)
    commands = parser.add_subparsers(dest="command", required=True)
    bench.add_arguments(commands.add_parser("bench", help="compare our worker with real Celery's"))
    record.add_arguments(commands.add_parser("record", help="record golden messages"))
    merge.add_arguments(commands.add_parser("report", help="make one report out of several"))
    for name, text in (
        ("cells", "list the cells of the matrix"),
        ("prepare", "build the virtual environments the matrix needs"),
    ):
        # Also after the command, where people look for it first; there it must not undo the one before.
        _add_matrix(commands.add_parser(name, help=text), default=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.command == "report":
        return merge.run(chosen, _show)
    path, tier = find_matrix(chosen.matrix, _MATRIX)
    matrix = read_matrix(path)
    try:
        if chosen.command == "bench":
            return bench.run(chosen, matrix, _show)
        if chosen.command == "record":
            return record.run(chosen, matrix, _show)
        if chosen.command == "cells":
            for cell in matrix.select(tier=tier):
                role = "control" if cell.is_control else "tested"
                _show(f"{cell.id}  {role}  {cell.tier}")
            return 0
        return _prepare(matrix, tier)
    except CannotSetUpError as error:
        _show(f"cannot set up: {error}")
        return 2
    finally:
        stop_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
