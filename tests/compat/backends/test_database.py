"""Rows as Celery 5.7 and 5.6 write them, tables made by others, and engines across threads and forks."""

from __future__ import annotations

import base64
import pickle
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy.exc import OperationalError

from celeriac.backends import BackendOptions, by_url
from celeriac.backends import database as module
from celeriac.backends.database import DatabaseBackend
from celeriac.backends.restricted_pickle import load_group, load_value
from celeriac.clock import SystemClock
from celeriac.exceptions import BackendGetMetaError, BackendStoreError, ImproperlyConfigured
from celeriac_protocol.errors import UndecodableBodyError
from celeriac_protocol.result import ResultMeta

DONE = datetime(2026, 11, 22, 20, 13, 51, 505261, tzinfo=UTC)
FAILURE = {"exc_type": "ValueError", "exc_message": ["boom"], "exc_module": "builtins"}

TABLES_OF_5_6 = """
CREATE TABLE celery_taskmeta (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, task_id VARCHAR(155), status VARCHAR(50), result BLOB,
    date_done DATETIME, traceback TEXT, name VARCHAR(155), args BLOB, kwargs BLOB, worker VARCHAR(155),
    retries INTEGER, queue VARCHAR(155), UNIQUE (task_id)
);
CREATE TABLE celery_tasksetmeta (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, taskset_id VARCHAR(155), result BLOB, date_done DATETIME,
    UNIQUE (taskset_id)
);
"""

GROUP_OF_5_6 = base64.b64decode(
    "gAWVTgEAAAAAAACMDWNlbGVyeS5yZXN1bHSUjAtHcm91cFJlc3VsdJSTlIwCZzGUXZQoaACMC0FzeW5jUmVzdWx0lJOUKIwCdDGUjBRjZWxl"
    "cnkuYmFja2VuZHMuYmFzZZSMEHVucGlja2xlX2JhY2tlbmSUk5SMGGNlbGVyeS5iYWNrZW5kcy5kYXRhYmFzZZSMD0RhdGFiYXNlQmFja2VuZJ"
    "STlCl9lCiMBWRidXJplIwcc3FsaXRlOi8vLy90bXAvYmIzXzU2LnNxbGl0ZZSMB2V4cGlyZXOUjAhkYXRldGltZZSMCXRpbWVkZWx0YZSTlEsBS"
    "wBLAIeUUpSMDmVuZ2luZV9vcHRpb25zlH2UKIwNcG9vbF9wcmVfcGluZ5SIjAxwb29sX3JlY3ljbGWUTRAOdXWHlFKUTk5OdJRSlGgGKIwCdDKU"
    "aBxOTk50lFKUZYaUUpQu"
)
"""What Celery 5.6.3 pickled for a group g1 of t1 and t2."""

MADE: list[DatabaseBackend] = []


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "results.sqlite"
    while MADE:
        MADE.pop().close()


def make(path: Path, **options: Any) -> DatabaseBackend:
    backend = by_url(f"db+sqlite:///{path}", BackendOptions(**options))
    assert isinstance(backend, DatabaseBackend)
    MADE.append(backend)
    return backend


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def execute(path: Path, script: str, *values: Any) -> None:
    connection = sqlite3.connect(path)
    try:
        if values:
            connection.execute(script, values)
        else:
            connection.executescript(script)
        connection.commit()
    finally:
        connection.close()


class Instant(SystemClock):
    """Sleeps in no time, and counts."""

    def __init__(self) -> None:
        self.naps = 0

    def sleep(self, seconds: float) -> None:
        self.naps += 1


def test_the_tables_are_celerys(path: Path) -> None:
    make(path)
    columns = [row[1] for row in rows(path, "PRAGMA table_info(celery_taskmeta)")]
    assert columns == [
        *("id", "task_id", "status", "result", "date_done", "traceback", "children"),
        *("name", "args", "kwargs", "worker", "retries", "queue", "stamps"),
    ]
    columns = [row[1] for row in rows(path, "PRAGMA table_info(celery_tasksetmeta)")]
    assert columns == ["id", "taskset_id", "result", "date_done"]
    assert rows(path, "SELECT name FROM sqlite_master WHERE name LIKE 'ix%' ORDER BY 1") == [
        ("ix_celery_taskmeta_date_done",),
        ("ix_celery_tasksetmeta_date_done",),
    ]


def test_rows_are_celery_5_7s(path: Path) -> None:
    backend = make(path)
    backend.store(ResultMeta(task_id="t1", status="SUCCESS", result={"a": 1}, date_done=DONE))
    backend.store(
        ResultMeta(
            task_id="t2", status="FAILURE", result=FAILURE, traceback="tb", date_done=DONE.isoformat(),
            children=[[["c", None], None]],
        )
    )  # fmt: skip
    backend.store(ResultMeta(task_id="t3", status="STARTED", date_done=DONE))
    backend.store(
        ResultMeta(
            task_id="t4", status="SUCCESS", result=3, date_done=DONE, extended=True, name="apptasks.add",
            args=[1, 2], kwargs={}, worker="w1@host", retries=0, queue="celery",
            stamped_headers=("mystamp",), stamps={"mystamp": "abc"},
        )
    )  # fmt: skip
    done = "2026-11-22 20:13:51.505261"
    encoded = b'{"exc_type": "ValueError", "exc_message": ["boom"], "exc_module": "builtins"}'
    none = (None,) * 7
    assert rows(path, "SELECT * FROM celery_taskmeta") == [
        (1, "t1", "SUCCESS", b'{"a": 1}', done, None, None, *none),
        (2, "t2", "FAILURE", encoded, done, "tb", b'[[["c", null], null]]', *none),
        (3, "t3", "STARTED", b"null", None, None, None, *none),
        (
            *(4, "t4", "SUCCESS", b"3", done, None, None, "apptasks.add", b"[1, 2]", b"{}"),
            *("w1@host", 0, "celery"),
            b'{"stamped_headers": ["mystamp"], "stamps": {"mystamp": "abc"}}',
        ),
    ]


def test_date_done_is_wall_time_of_the_apps_timezone(path: Path) -> None:
    tokyo = DONE.astimezone(ZoneInfo("Asia/Tokyo"))
    backend = make(path)
    backend.store(ResultMeta(task_id="t1", status="SUCCESS", date_done=tokyo))
    assert rows(path, "SELECT date_done FROM celery_taskmeta") == [("2026-11-23 05:13:51.505261",)]
    assert backend.fetch("t1").date_done == datetime(2026, 11, 23, 5, 13, 51, 505261)  # noqa: DTZ001


def test_old_readers_get_pickles_of_plain_values(path: Path) -> None:
    backend = make(path, transport_options={"layout": "<=5.6"})
    backend.store(ResultMeta(task_id="t1", status="SUCCESS", result=3))
    backend.store(ResultMeta(task_id="t2", status="FAILURE", result=FAILURE))
    backend.store(ResultMeta(task_id="t3", status="STARTED"))
    blobs = [row[0] for row in rows(path, "SELECT result FROM celery_taskmeta ORDER BY id")]
    assert [blob and pickle.loads(blob) for blob in blobs] == [
        3,
        {**FAILURE, "exc_message": ("boom",)},
        None,
    ]


def test_an_unknown_layout_is_refused(path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="layout"):
        make(path, transport_options={"layout": "5"})


def test_rows_and_groups_of_5_6_are_read(path: Path) -> None:
    execute(path, TABLES_OF_5_6)
    execute(
        path,
        "INSERT INTO celery_taskmeta (task_id, status, result, args) VALUES ('t1', 'SUCCESS', ?, ?)",
        pickle.dumps({"when": DONE, "tags": {"a"}}, protocol=5),
        b"[1]",
    )
    execute(
        path, "INSERT INTO celery_tasksetmeta (taskset_id, result) VALUES ('g1', ?)", GROUP_OF_5_6
    )
    backend = make(path)
    meta = backend.fetch("t1")
    assert meta.result == {"when": DONE, "tags": {"a"}}
    assert meta.args == [1]
    assert backend.fetch_group("g1") == [["g1", None], [[["t1", None], None], [["t2", None], None]]]


def test_columns_an_old_table_lacks_are_added(path: Path) -> None:
    execute(path, TABLES_OF_5_6)
    backend = make(path)
    backend.store(ResultMeta(task_id="t1", status="SUCCESS", children=[[["c", None], None]]))
    assert list(backend.fetch("t1").children or ()) == [[["c", None], None]]


def test_a_table_that_must_not_change_goes_without_them(path: Path) -> None:
    execute(path, TABLES_OF_5_6)
    before = rows(path, "PRAGMA table_info(celery_taskmeta)")
    backend = make(path, transport_options={"layout": "<=5.6"})
    backend.store(ResultMeta(task_id="t1", status="SUCCESS", children=[[["c", None], None]]))
    assert backend.fetch("t1").children == ()
    assert rows(path, "PRAGMA table_info(celery_taskmeta)") == before


def test_tables_have_the_names_from_the_settings(path: Path) -> None:
    names = {"task": "mytasks", "group": "mygroups"}
    backend = make(path, settings={"database_table_names": names})
    backend.store(ResultMeta(task_id="t1", status="SUCCESS"))
    backend.store_group("g1", [["g1", None], []])
    assert rows(path, "SELECT task_id FROM mytasks") == [("t1",)]
    assert rows(path, "SELECT taskset_id FROM mygroups") == [("g1",)]


def test_tables_are_made_at_first_use_when_asked(path: Path) -> None:
    backend = make(path, settings={"database_create_tables_at_setup": False})
    assert not path.exists()
    assert backend.fetch("t1").status == "PENDING"


def test_many_workers_may_start_and_store_at_the_same_time(path: Path) -> None:
    start = threading.Barrier(6)
    errors: list[Exception] = []

    def work(number: int) -> None:
        start.wait()
        try:
            backend = make(path, settings={"database_engine_options": {"pool_size": number + 1}})
            for round_number in range(5):
                backend.store(ResultMeta(task_id=f"t{round_number}", status="STARTED"))
                backend.store(
                    ResultMeta(task_id=f"t{round_number}", status="SUCCESS", result=number)
                )
        except Exception as exc:  # noqa: BLE001 - shown by the assertion below
            errors.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert rows(path, "SELECT status, count(*) FROM celery_taskmeta GROUP BY 1") == [("SUCCESS", 5)]


def test_dropped_tables_are_made_again(path: Path) -> None:
    backend = make(path)
    execute(path, "DROP TABLE celery_taskmeta")
    backend.store(ResultMeta(task_id="t1", status="SUCCESS", result=1))
    assert backend.fetch("t1").result == 1


def test_operational_errors_are_retried_three_times_then_reported(tmp_path: Path) -> None:
    clock = Instant()
    nowhere = tmp_path / "missing" / "results.sqlite"
    backend = make(nowhere, clock=clock, settings={"database_create_tables_at_setup": False})
    with pytest.raises(BackendStoreError) as caught:
        backend.store(ResultMeta(task_id="t1", status="SUCCESS"))
    assert isinstance(caught.value.__cause__, OperationalError)
    first = clock.naps
    with pytest.raises(BackendGetMetaError):
        backend.fetch("t1")
    assert clock.naps == 2 * first


def test_threads_share_an_engine_and_the_last_close_disposes_it(path: Path) -> None:
    first, second = make(path), make(path)
    assert first.engine is second.engine
    first.close()
    assert second._engine_key in module._engines
    second.close()
    assert second._engine_key not in module._engines


def test_the_engine_callback_gets_the_engine(path: Path) -> None:
    seen: list[object] = []
    backend = make(path, settings={"database_engine_callback": seen.append})
    assert seen == [backend.engine]


def test_an_in_memory_database_is_one_for_all_threads() -> None:
    backend = by_url("db+sqlite://", BackendOptions())
    try:
        thread = threading.Thread(
            target=backend.store, args=(ResultMeta(task_id="t1", status="SUCCESS", result=1),)
        )
        thread.start()
        thread.join()
        assert backend.fetch("t1").result == 1
    finally:
        backend.close()


def test_cleanup_deletes_what_is_done_for_longer_than_results_live(path: Path) -> None:
    backend = make(path, expires_s=3600.0)
    now = datetime.now(UTC)
    backend.store(ResultMeta(task_id="old", status="SUCCESS", date_done=now - timedelta(hours=2)))
    backend.store(ResultMeta(task_id="new", status="SUCCESS", date_done=now))
    backend.store(ResultMeta(task_id="running", status="STARTED"))
    backend.store_group("g1", [["g1", None], []])
    assert backend.cleanup() == 1
    assert rows(path, "SELECT task_id FROM celery_taskmeta ORDER BY 1") == [("new",), ("running",)]
    assert backend.fetch_group("g1") is not None
    assert make(path, expires_s=None).cleanup() == 0


@pytest.mark.parametrize("url", ["db", "database"])
def test_the_url_may_come_from_database_url(url: str, path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="Missing connection string!"):
        by_url(url, BackendOptions())
    backend = by_url(url, BackendOptions(settings={"database_url": f"sqlite:///{path}"}))
    assert backend.fetch("t1").status == "PENDING"
    backend.close()


class Evil:
    """Runs something when unpickled."""

    def __reduce__(self) -> Any:
        return (print, ("owned",))


@pytest.mark.parametrize("load", [load_value, load_group])
@pytest.mark.parametrize(
    "blob",
    [
        pickle.dumps(Evil()),
        pickle.dumps(print),
        pickle.dumps(Path("/")),
        b"\x80\x05cos\nsystem\n(S'true'\ntR.",
        b"\x80\x05garbage",
        b"\x80",
        pickle.dumps([Evil()]),
    ],
)
def test_a_pickle_that_is_no_plain_data_is_refused(
    load: Any, blob: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UndecodableBodyError):
        load(blob)
    assert capsys.readouterr().out == ""


def test_a_pickled_group_in_a_row_of_plain_values_is_refused() -> None:
    with pytest.raises(UndecodableBodyError, match="GroupResult"):
        load_value(GROUP_OF_5_6)
