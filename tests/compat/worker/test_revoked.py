"""Revoked ids are bounded in number and age."""

from __future__ import annotations

import pytest

from celeriac.worker.revoked import RevokedIds


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_ids_are_kept_oldest_first_and_become_new_again() -> None:
    ids = RevokedIds()
    ids.add(["a", "b"])
    ids.add(["a"])
    assert list(ids) == ["b", "a"]
    assert "a" in ids


def test_the_oldest_go_beyond_the_limit() -> None:
    ids = RevokedIds(2)
    ids.add(["a", "b", "c"])
    assert list(ids) == ["b", "c"]


def test_old_ids_are_forgotten() -> None:
    time = Time()
    ids = RevokedIds(10, 5.0, monotonic=time)
    ids.add(["a"])
    time.now = 3.0
    ids.add(["b"])
    time.now = 6.0
    ids.expire()
    assert list(ids) == ["b"]


def test_the_environment_sets_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_WORKER_REVOKES_MAX", "7")
    monkeypatch.setenv("CELERY_WORKER_REVOKE_EXPIRES", "1.5")
    ids = RevokedIds()
    assert (ids.limit, ids.expires_s) == (7, 1.5)
