"""``python -m celeriac_conformance report``: one report out of several, e.g. of processes and of containers."""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from celeriac_conformance.outcomes import Outcome
from celeriac_conformance.report.page import write_page
from celeriac_conformance.report.progress import counts_text
from celeriac_conformance.report.records import Record, ReportError, read, write
from celeriac_conformance.report.tables import count

__all__ = ["add_arguments", "merge", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="DIR", help="folders of --report; later ones win"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")


def merge(folders: Sequence[Path], out: Path) -> list[Record]:
    """Write one report out of several.

    Where two have a result of the same case, cell and runtime, that of the later folder counts. `out` may be one of
    the folders.

    Raises:
        ReportError: A folder holds no report.
    """
    found: dict[tuple[str, str, str], tuple[Path, Record]] = {}
    for folder in folders:
        for record in read(folder):
            found[record.key] = (folder, record)
    records = [record for _, record in found.values()]
    for folder, record in found.values():
        if record.trace is not None and folder.resolve() != out.resolve():
            source, target = folder / record.trace, out / record.trace
            if source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
    write(out, records)
    return records


def run(arguments: argparse.Namespace, show: Callable[[str], None]) -> int:
    """Run the command; the status is 1 when anything failed or could not be judged."""
    try:
        records = merge(arguments.folders, arguments.out)
    except ReportError as error:
        show(str(error))
        return 2
    page = write_page(arguments.out, records, now=time.time())
    counts = count(records)
    show(f"{page}: {len(records)} results: {counts_text(counts)}")
    return 1 if counts[Outcome.FAILED] or counts[Outcome.ERROR] else 0
