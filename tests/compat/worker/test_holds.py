from __future__ import annotations

from datetime import UTC, datetime, timedelta

from celeriac.worker.holds import Holds

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_things_come_back_when_due_in_order_of_time_then_arrival() -> None:
    holds: Holds[str] = Holds()
    for seconds, name in ((5, "late"), (1, "first"), (1, "second"), (9, "latest")):
        holds.add(at(seconds), name)
    assert holds.due(at(0)) == []
    assert holds.due(at(5)) == ["first", "second", "late"]
    assert len(holds) == 1


def test_the_wait_is_the_distance_to_the_next_due_time_and_never_negative() -> None:
    holds: Holds[str] = Holds()
    assert holds.next_in_s(NOW) is None
    holds.add(at(2.5), "x")
    assert holds.next_in_s(NOW) == 2.5
    assert holds.next_in_s(at(10)) == 0.0


def test_clearing_returns_everything_in_order() -> None:
    holds: Holds[str] = Holds()
    holds.add(at(9), "b")
    holds.add(at(1), "a")
    assert holds.clear() == ["a", "b"]
    assert len(holds) == 0
