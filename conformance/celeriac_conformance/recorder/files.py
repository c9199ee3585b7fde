"""Records as files: ``fixtures/celery-X.Y.Z/<broker>/<area>-<case>.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["FIXTURES", "read", "write", "write_all"]

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
"""Where this checkout keeps its records."""


def write(folder: Path, record: Mapping[str, Any]) -> Path:
    """Write one record below a version's folder, and return its file."""
    path: Path = folder / record["broker"] / f"{record['case'].replace('/', '-')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=1, ensure_ascii=True, sort_keys=False)
    path.write_text(text + "\n", "utf-8")
    return path


def write_all(folder: Path, broker: str, records: Iterable[Mapping[str, Any]]) -> list[Path]:
    """Replace all records of a version on a broker."""
    for old in (folder / broker).glob("*.json"):
        old.unlink()
    return [write(folder, record) for record in records]


def read(folder: Path) -> list[dict[str, Any]]:
    """Read all records below a folder, in the order of their paths."""
    return [json.loads(path.read_text("utf-8")) for path in sorted(folder.rglob("*/*.json"))]
