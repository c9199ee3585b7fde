"""The pool grows at once with the load, and shrinks when the load has been gone for a while."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from celeriac.app.outcome import Succeeded
from celeriac.worker.autoscale import Autoscaler
from tests.compat.worker.doubles import ScriptedPool
from tests.compat.worker.remote.bench import Bench


class GrowingPool(ScriptedPool):
    def grow(self, count: int = 1) -> None:
        self.size += count

    def shrink(self, count: int = 1) -> None:
        assert self.size - count >= 1
        self.size -= count


class Scaled(Bench):
    """A bench whose pool has from one to four slots, and fetches two messages per slot."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = self.loop.pool = GrowingPool(1)
        self.scaler = Autoscaler(self.loop, 4, 1, multiplier=2, keepalive_s=30.0)
        self.worker.autoscaler = self.scaler
        self.loop.services.append(self.scaler)

    def after(self, seconds: float) -> int:
        self.clock.sleep(seconds)
        for _ in range(2):
            self.loop.turn()
        return self.pool.size

    def finish_all(self) -> None:
        for number in list(self.pool.jobs):
            self.pool.accept(number)
            self.pool.finish(number, Succeeded("1", 0.1))
        self.loop.turn()


@pytest.fixture
def bench() -> Iterator[Scaled]:
    subject = Scaled()
    yield subject
    subject.close()


def test_the_pool_grows_to_what_is_wanted_and_no_further(bench: Scaled) -> None:
    bench.deliver(1)
    assert bench.after(0) == 1
    bench.deliver(2)
    bench.deliver(3)
    assert bench.after(0) == 3
    for tag in range(4, 9):
        bench.deliver(tag)
    assert bench.after(0) == 4
    assert len(bench.pool.jobs) == 4
    assert bench.run("stats")["autoscaler"] == {"max": 4, "min": 1, "current": 4, "qty": 8}


def test_it_shrinks_when_the_load_is_gone_for_long_enough(bench: Scaled) -> None:
    for tag in range(3):
        bench.deliver(tag)
    assert bench.after(0) == 3
    bench.finish_all()
    assert bench.after(29) == 3
    assert bench.scaler.due_in_s(bench.clock.monotonic()) is not None
    assert bench.after(2) == 1
    assert bench.scaler.due_in_s(bench.clock.monotonic()) is None


def test_what_runs_keeps_its_slot(bench: Scaled) -> None:
    for tag in range(3):
        bench.deliver(tag)
    bench.after(0)
    assert bench.after(31) == 3


def test_the_range_is_changed_by_command(bench: Scaled) -> None:
    before = bench.loop.prefetch
    assert bench.run("autoscale", max=6, min=2) == {"ok": "autoscale now max=6 min=2"}
    assert (bench.pool.size, bench.loop.prefetch) == (2, before + 4)
    assert bench.run("autoscale", max=3) == {"ok": "autoscale now max=3 min=2"}
    assert "ValueError" in bench.run("autoscale", max=1)["error"]
    assert "ValueError" in bench.run("autoscale", max="x")["error"]


def test_its_size_is_not_changed_by_other_commands(bench: Scaled) -> None:
    for name in ("pool_grow", "pool_shrink"):
        assert bench.run(name) == {
            "error": f"{name} is not supported with autoscale. Adjust autoscale range instead."
        }


def test_a_stopping_worker_does_not_grow(bench: Scaled) -> None:
    bench.scaler.stop()
    for tag in range(3):
        bench.deliver(tag)
    assert bench.after(0) == 1


def test_a_pool_that_cannot_grow_goes_on(
    bench: Scaled, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(count: int = 1) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(bench.pool, "grow", refuse)
    bench.deliver(1)
    bench.deliver(2)
    assert bench.after(0) == 1
    assert "cannot grow" in caplog.text
