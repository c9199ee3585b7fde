"""A cold shutdown waits for running tasks if the settings say so, once, and not past its time."""

from __future__ import annotations

import signal

import pytest

from celeriac.worker.shutdown import ShutdownSignals, Stop
from celeriac.worker.soft_stop import SoftStop
from tests.compat.worker.doubles import SimulatedClock


def soft_stop(
    timeout_s: float, clock: SimulatedClock, *, running: bool = True, on_idle: bool = False
) -> SoftStop:
    return SoftStop(timeout_s, clock, lambda: running, waits_when_idle=on_idle)


def test_running_tasks_get_the_time_that_is_set() -> None:
    clock = SimulatedClock()
    subject = soft_stop(4.0, clock)
    assert subject.due_in_s(clock.monotonic()) is None
    assert subject.waits(1)
    clock.sleep(3.9)
    assert subject.waits(1)
    assert subject.due_in_s(clock.monotonic()) == pytest.approx(0.1)
    clock.sleep(0.2)
    assert not subject.waits(1)


def test_being_asked_again_ends_the_wait() -> None:
    subject = soft_stop(4.0, SimulatedClock())
    assert subject.waits(1)
    assert not subject.waits(2)


@pytest.mark.parametrize(("on_idle", "waits"), [(False, False), (True, True)])
def test_an_idle_worker_waits_only_if_told_to(on_idle: bool, waits: bool) -> None:
    assert soft_stop(4.0, SimulatedClock(), running=False, on_idle=on_idle).waits(1) is waits


def test_without_a_time_nothing_waits() -> None:
    assert not soft_stop(0.0, SimulatedClock()).waits(1)


def test_signals_count_how_often_a_cold_stop_was_asked_for() -> None:
    signals = ShutdownSignals(say=lambda text: None)
    signals.on_int(signal.SIGINT, None)
    assert (signals.stop, signals.colds) == (Stop.WARM, 0)
    signals.on_int(signal.SIGINT, None)
    signals.on_quit(signal.SIGQUIT, None)
    assert (signals.stop, signals.colds) == (Stop.COLD, 2)
