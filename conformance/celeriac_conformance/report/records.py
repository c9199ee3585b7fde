"""One line for each case and cell."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from celeriac_conformance.outcomes import Outcome

__all__ = ["JUNIT", "PAGE", "RESULTS", "TRACES", "Record", "ReportError", "read", "write"]

RESULTS = "results.jsonl"
JUNIT = "junit.xml"
PAGE = "index.html"
TRACES = "traces"


class ReportError(ValueError):
    """A folder holds no report, or a line of it cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """How one case ended in one cell, and all that is needed to show it."""

    case: str
    spec: str
    cell: str
    role: str
    """``tested`` or ``control``."""
    producer: str
    """Name of the implementation."""
    worker: str
    producer_version: str | None
    """As pinned; None for what comes from the checkout."""
    worker_version: str | None
    versions: Mapping[str, str] = field(default_factory=dict)
    """What the running producer and the broker said of themselves."""
    carrier: str
    broker: str
    backend: str
    runtime: str
    outcome: Outcome
    duration_s: float
    """Time of the case itself, without setting up."""
    reason: str = ""
    """In a line: why it is known or unsupported, or what failed."""
    message: str = ""
    """The failure in full."""
    trace: str | None = None
    """Path of the wire trace, from the folder of the report."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes a line the same as one of another run."""
        return (self.runtime, self.cell, self.case)

    @property
    def area(self) -> str:
        """First part of the case's id."""
        return self.case.partition("/")[0]

    def line(self) -> str:
        """Write it as a line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False) + "\n"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Record:
        """Read what `line` wrote; keys of later versions are passed over."""
        known = {entry.name for entry in fields(cls)}
        given = {key: value for key, value in values.items() if key in known}
        return cls(**{**given, "outcome": Outcome(given["outcome"])})


def write(folder: Path, records: Iterable[Record]) -> None:
    """Write the lines of a report."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / RESULTS).open("w", encoding="utf-8") as stream:
        stream.writelines(record.line() for record in records)


def read(folder: Path) -> list[Record]:
    """Read the lines of a report.

    Raises:
        ReportError: There is none, or a line is broken.
    """
    path = folder / RESULTS
    if not path.exists():
        raise ReportError(f"{folder} holds no {RESULTS}: is it the folder of a --report?")
    records = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            records.append(Record.from_dict(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            raise ReportError(f"{path}:{number}: {error!r}") from error
    return records
