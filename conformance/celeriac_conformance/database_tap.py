"""Results stored in a table, read raw."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from celeriac_conformance.broker_taps import StoredResults

__all__ = ["DatabaseTap"]


class DatabaseTap(StoredResults):
    """Results stored in SQLite through SQLAlchemy. Spec: results-and-workflows#2.3.

    Args:
        path: The database; the first program that stores a result makes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def document(self, task_id: str) -> dict[str, Any] | None:
        """Return id and status of a task; how the other columns are encoded differs between versions."""
        with closing(sqlite3.connect(self.path, timeout=30)) as connection:
            tables = connection.execute(
                "SELECT name FROM sqlite_master WHERE name = 'celery_taskmeta'"
            )
            if tables.fetchone() is None:
                return None
            found = connection.execute(
                "SELECT status FROM celery_taskmeta WHERE task_id = ?", (task_id,)
            ).fetchone()
        return None if found is None else {"task_id": task_id, "status": found[0]}

    def close(self) -> None:
        return
