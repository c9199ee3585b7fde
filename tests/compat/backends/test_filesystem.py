"""Files as Celery names and fills them, seen by others only when whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from celeriac.backends import BackendOptions, by_url
from celeriac.exceptions import BackendStoreError, ImproperlyConfigured
from celeriac_protocol.result import ResultMeta

SUCCESS = ResultMeta(task_id="t1", status="SUCCESS", result=3)


def make(path: Path, **options: Any) -> Any:
    return by_url(f"file://{path}", BackendOptions(**options))


def test_a_file_is_named_like_the_key_and_holds_the_document(tmp_path: Path) -> None:
    make(tmp_path).store(SUCCESS)
    assert [path.name for path in tmp_path.iterdir()] == ["celery-task-meta-t1"]
    assert (tmp_path / "celery-task-meta-t1").read_bytes() == (
        b'{"status": "SUCCESS", "result": 3, "traceback": null, "children": [], "date_done": null, '
        b'"task_id": "t1"}'
    )


def test_localhost_is_a_host(tmp_path: Path) -> None:
    by_url(f"file://localhost{tmp_path}", BackendOptions()).store(SUCCESS)
    assert (tmp_path / "celery-task-meta-t1").exists()


@pytest.mark.parametrize("url", ["file", "file://", "file://elsewhere/dir"])
def test_a_url_without_a_directory_is_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="You need to configure a path"):
        by_url(url, BackendOptions())


def test_a_directory_that_does_not_work_is_noticed_at_start(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="does not\nwork correctly"):
        make(tmp_path / "missing")


def test_a_directory_that_went_away_is_a_store_error(tmp_path: Path) -> None:
    directory = tmp_path / "results"
    directory.mkdir()
    backend = make(directory)
    directory.rmdir()
    with pytest.raises(BackendStoreError) as caught:
        backend.store(SUCCESS)
    assert (caught.value.state, caught.value.task_id) == ("SUCCESS", "t1")


def test_an_id_does_not_lead_out_of_the_directory(tmp_path: Path) -> None:
    directory = tmp_path / "results"
    (directory / "celery-task-meta-").mkdir(parents=True)
    make(directory).store(ResultMeta(task_id="/../../outside", status="SUCCESS"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results"]


def test_a_failed_write_leaves_the_old_document_and_no_debris(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = make(tmp_path)
    backend.store(ResultMeta(task_id="t1", status="STARTED"))

    def fail(self: Path, target: Path) -> Path:
        raise OSError("disk gone")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(BackendStoreError, match="disk gone"):
        backend.store(SUCCESS)
    assert backend.fetch("t1").status == "STARTED"
    assert len(list(tmp_path.iterdir())) == 1


def test_cleanup_deletes_old_documents_groups_and_debris_and_nothing_else(tmp_path: Path) -> None:
    backend = make(tmp_path, expires_s=3600.0)
    for task_id in ("old", "new"):
        backend.store(ResultMeta(task_id=task_id, status="SUCCESS"))
    backend.store_group("old", [["old", None], []])
    (tmp_path / ".fs-backend-half-written").touch()
    (tmp_path / "somebody-elses").touch()
    for path in tmp_path.iterdir():
        if "new" not in path.name:
            os.utime(path, (0, 0))
    assert backend.cleanup() == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "celery-task-meta-new",
        "somebody-elses",
    ]
    assert make(tmp_path, expires_s=None).cleanup() == 0
