"""The in-process store forgets in time, and wakes its waiters."""

from __future__ import annotations

import threading
from typing import Any
from uuid import uuid4

import pytest

from celeriac.backends import BackendOptions, ChordPart, by_url
from celeriac.backends.memory import MemoryBackend, forget_everything
from celeriac.clock import SystemClock
from celeriac_protocol.result import ResultMeta
from tests.compat.backends.subjects import wait_for


class StoppedClock(SystemClock):
    """Stands still until moved."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


def make(url: str | None = None, **options: Any) -> MemoryBackend:
    backend = by_url(url or f"cache+memory://{uuid4().hex}", BackendOptions(**options))
    assert isinstance(backend, MemoryBackend)
    return backend


def test_documents_live_as_long_as_results() -> None:
    clock = StoppedClock()
    backend = make(clock=clock, expires_s=60.0)
    backend.store(ResultMeta(task_id="t1", status="SUCCESS"))
    clock.now_s = 59.0
    assert backend.fetch("t1").status == "SUCCESS"
    clock.now_s = 61.0
    assert backend.fetch("t1").status == "PENDING"


def test_without_expiry_documents_stay() -> None:
    clock = StoppedClock()
    backend = make(clock=clock, expires_s=None)
    backend.store(ResultMeta(task_id="t1", status="SUCCESS"))
    clock.now_s = 1e9
    assert backend.fetch("t1").status == "SUCCESS"


def test_what_has_expired_is_swept_by_later_writes() -> None:
    clock = StoppedClock()
    backend = make(clock=clock, expires_s=60.0)
    for number in range(100):
        backend.store(ResultMeta(task_id=f"old{number}", status="SUCCESS"))
        backend.start_chord(f"old{number}", 1)
    clock.now_s = 61.0
    for number in range(20):
        backend.store(ResultMeta(task_id=f"new{number}", status="SUCCESS"))
        backend.add_chord_part(f"new{number}", ChordPart("t", "SUCCESS", 1, 0))
    store = backend._shared
    assert len(store.values) == 20
    assert len(store.chords) == 20
    assert len(store.expiries) == 20


def test_a_waiter_is_woken_without_polling() -> None:
    backend = make()
    is_waiting = threading.Event()

    def work() -> None:
        is_waiting.wait(10)
        backend.store(ResultMeta(task_id="t1", status="SUCCESS", result=1))

    worker = threading.Thread(target=work)
    worker.start()
    # An interval far beyond the test's patience: only a wake-up ends the wait in time.
    found = wait_for(backend, "t1", interval_s=3600, timeout_s=None, on_interval=is_waiting.set)
    worker.join()
    assert found["t1"].result == 1


def test_stores_of_other_urls_are_others() -> None:
    make("cache+memory://one").store(ResultMeta(task_id="t1", status="SUCCESS"))
    assert make("cache+memory://one").fetch("t1").status == "SUCCESS"
    assert make("cache+memory://two").fetch("t1").status == "PENDING"
    forget_everything()
    assert make("cache+memory://one").fetch("t1").status == "PENDING"


@pytest.mark.parametrize("ok", [True, False])
def test_a_foreign_token_finishes_nothing(ok: bool) -> None:
    backend = make()
    backend.start_chord("g", 1)
    assert backend.add_chord_part("g", ChordPart("t", "SUCCESS", 1, 0)) is not None
    backend.finish_chord("g", ok=ok, token="somebody else's")
    assert backend._shared.chords["g"].is_done is False
