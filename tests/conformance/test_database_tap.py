"""Stored results in a table, read raw."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from celeriac_conformance.database_tap import DatabaseTap
from celeriac_conformance.wires import WireError


def test_a_row_is_a_document_and_before_there_is_a_table_there_is_none(tmp_path: Path) -> None:
    tap = DatabaseTap(tmp_path / "results.sqlite")
    assert tap.document("a") is None
    with closing(sqlite3.connect(tap.path)) as connection, connection:
        connection.execute("CREATE TABLE celery_taskmeta (task_id TEXT, status TEXT)")
        connection.execute("INSERT INTO celery_taskmeta VALUES ('a', 'SUCCESS')")
    assert tap.wait("a", timeout_s=1) == {"task_id": "a", "status": "SUCCESS"}
    assert tap.document("b") is None
    tap.close()


def test_a_table_does_not_let_itself_be_watched(tmp_path: Path) -> None:
    with pytest.raises(WireError, match="DatabaseTap cannot be watched"):
        DatabaseTap(tmp_path / "results.sqlite").watch()
