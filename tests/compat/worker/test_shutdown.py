from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from celeriac.worker.shutdown import ShutdownSignals, Stop


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def signals(said: list[str]) -> ShutdownSignals:
    return ShutdownSignals(say=said.append)


def test_the_first_term_is_warm_and_the_second_cold(
    signals: ShutdownSignals, said: list[str]
) -> None:
    signals.on_term(signal.SIGTERM, None)
    assert (signals.stop, signals.exitcode) == (Stop.WARM, 0)
    signals.on_term(signal.SIGTERM, None)
    assert (signals.stop, signals.exitcode) == (Stop.COLD, 0)
    assert said == [
        "\nworker: Warm shutdown (MainProcess)",
        "\nworker: Cold shutdown (MainProcess)",
    ]


def test_an_interrupt_announces_the_next_one_and_makes_the_status_one(
    signals: ShutdownSignals, said: list[str]
) -> None:
    signals.on_int(signal.SIGINT, None)
    assert (signals.stop, signals.exitcode) == (Stop.WARM, 1)
    assert "Hitting Ctrl+C again will initiate cold shutdown" in said[0]
    signals.on_int(signal.SIGINT, None)
    assert signals.stop is Stop.COLD


def test_quit_is_cold_at_once(signals: ShutdownSignals) -> None:
    signals.on_quit(signal.SIGQUIT, None)
    assert (signals.stop, signals.exitcode) == (Stop.COLD, 0)


def test_every_stop_is_told_with_its_exit_status(said: list[str]) -> None:
    told: list[tuple[str, str, int]] = []
    subject = ShutdownSignals(say=said.append, on_stop=lambda *args: told.append(args))
    subject.on_int(signal.SIGINT, None)
    subject.on_term(signal.SIGTERM, None)
    assert told == [("SIGINT", "Warm", 1), ("SIGTERM", "Cold", 1)]


def test_installed_handlers_are_given_back(signals: ShutdownSignals) -> None:
    before = signal.getsignal(signal.SIGTERM)
    signals.install()
    assert signal.getsignal(signal.SIGTERM) == signals.on_term
    signals.restore()
    assert signal.getsignal(signal.SIGTERM) == before


def test_term_can_be_remapped_to_quit(
    signals: ShutdownSignals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMAP_SIGTERM", "SIGQUIT")
    signals.install()
    try:
        assert signal.getsignal(signal.SIGTERM) == signals.on_quit
    finally:
        signals.restore()


def test_a_signal_after_the_loop_ends_an_owned_process_with_its_status(said: list[str]) -> None:
    left: list[int] = []
    subject = ShutdownSignals(say=said.append, leave=left.append)
    subject.on_int(signal.SIGINT, None)
    assert left == []
    subject.loop_is_over()
    subject.on_term(signal.SIGTERM, None)
    assert left == [1]


OWNED = """
import os, signal
from celeriac.worker.shutdown import ShutdownSignals

class Late:  # taken down with the modules, when the interpreter has given its handlers up
    kill, term, pid = os.kill, signal.SIGTERM, os.getpid()
    def __del__(self):
        self.kill.__call__(self.pid, self.term)

late = Late()
subject = ShutdownSignals(leave=os._exit)
subject.install()
subject.restore()
"""


def test_a_signal_while_the_interpreter_ends_does_not_change_the_status() -> None:
    assert subprocess.run([sys.executable, "-c", OWNED], check=False).returncode == 0
