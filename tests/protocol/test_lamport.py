"""The logical clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac_protocol.lamport import LamportClock


def test_it_starts_at_nought_and_counts_own_events() -> None:
    clock = LamportClock()
    assert clock.value == 0
    assert [clock.forward(), clock.forward()] == [1, 2]
    assert repr(clock) == "LamportClock(2)"


@pytest.mark.parametrize(("own", "other", "result"), [(5, 3, 6), (5, 5, 6), (5, 100, 101)])
def test_it_moves_past_the_larger_value(own: int, other: int, result: int) -> None:
    clock = LamportClock(own)
    assert clock.adjust(other) == result
    assert clock.value == result


@pytest.mark.parametrize("other", [None, "100", 100.5, True, [], {}])
def test_a_peer_without_a_clock_counts_as_one_event(other: object) -> None:
    assert LamportClock(5).adjust(other) == 6


@given(st.lists(st.none() | st.integers(), max_size=20))
def test_it_never_stands_still_or_goes_back(heard: list[int | None]) -> None:
    clock = LamportClock()
    for other in heard:
        before = clock.value
        assert clock.adjust(other) > max(before, other or 0)
