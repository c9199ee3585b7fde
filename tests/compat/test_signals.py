"""Signals: who is told, how often, and what a failing receiver does."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import gc
import logging
from typing import Any

import pytest

from celeriac import signals
from celeriac.local import PromiseProxy, Proxy
from celeriac.signals import Signal


@pytest.fixture
def signal() -> Signal:
    return Signal(("value",), name="probe")


def test_a_receiver_gets_signal_sender_and_arguments(signal: Signal) -> None:
    def receiver(**kwargs: Any) -> Any:
        return kwargs

    assert signal.connect(receiver) is receiver
    assert signal.send(sender="me", value=1) == [
        (receiver, {"signal": signal, "sender": "me", "value": 1})
    ]


def test_receivers_run_in_the_order_they_connected(signal: Signal) -> None:
    order: list[int] = []
    for number in range(3):
        signal.connect(lambda number=number, **_: order.append(number), weak=False)
    signal.send(sender=None)
    assert order == [0, 1, 2]


def test_text_senders_match_by_value_and_others_by_identity(signal: Signal) -> None:
    seen: list[Any] = []
    target = ["a"]
    signal.connect(lambda sender, **_: seen.append(sender), sender="".join(["a", "b"]), weak=False)
    signal.connect(lambda sender, **_: seen.append(sender), sender=target, weak=False)
    signal.send(sender="ab")
    signal.send(sender=["a"])
    signal.send(sender=target)
    assert seen == ["ab", target]
    assert seen[1] is target


def test_connecting_twice_counts_once(signal: Signal) -> None:
    def receiver(**_: Any) -> None: ...

    def another(**_: Any) -> None: ...

    signal.connect(receiver)
    signal.connect(receiver)
    signal.connect(receiver, sender="s", dispatch_uid="one")
    signal.connect(another, sender="s", dispatch_uid="one")
    assert len(signal.receivers) == 2


def test_disconnecting_tells_whether_anybody_was_connected(signal: Signal) -> None:
    def receiver(**_: Any) -> None: ...

    signal.connect(receiver)
    assert signal.disconnect(receiver)
    assert not signal.disconnect(receiver)
    signal.connect(receiver, dispatch_uid="u", sender="s")
    assert signal.disconnect(dispatch_uid="u", sender="s")
    assert not signal.has_listeners("s")


def test_receivers_are_held_weakly_unless_asked_otherwise(signal: Signal) -> None:
    class Owner:
        def method(self, **_: Any) -> None: ...

    owner = Owner()
    signal.connect(owner.method)
    assert len(signal.send(sender=None)) == 1
    del owner
    gc.collect()
    assert signal.send(sender=None) == []


def test_a_receiver_must_accept_keyword_arguments(signal: Signal) -> None:
    with pytest.raises(ValueError, match="must accept keyword arguments"):
        signal.connect(lambda sender: None)


def test_it_decorates_with_and_without_arguments(signal: Signal) -> None:
    @signal.connect
    def plain(**_: Any) -> str:
        return "plain"

    @signal.connect(sender="s", weak=False)
    def chosen(**_: Any) -> str:
        return "chosen"

    assert [response for _, response in signal.send(sender="s")] == ["plain", "chosen"]


def test_a_failing_receiver_is_logged_and_the_others_still_run(
    signal: Signal, caplog: pytest.LogCaptureFixture
) -> None:
    failure = ValueError("no")

    @signal.connect
    def bad(**_: Any) -> None:
        raise failure

    @signal.connect
    def good(**_: Any) -> str:
        return "fine"

    with caplog.at_level(logging.ERROR):
        responses = signal.send(sender=None)
    assert responses == [(bad, failure), (good, "fine")]
    assert "raised: ValueError('no')" in caplog.text


def test_retry_calls_a_failing_receiver_again_until_it_succeeds(
    signal: Signal, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("celeriac.signals.time.sleep", pauses.append)
    attempts: list[int] = []

    @signal.connect(retry=True)
    def flaky(**_: Any) -> int:
        attempts.append(1)
        if len(attempts) < 3:
            raise ValueError(len(attempts))
        return len(attempts)

    assert [response for _, response in signal.send(sender=None)] == [3]
    assert pauses == [2.0, 4.0]


def test_a_lazy_sender_is_connected_when_it_is_first_used(signal: Signal) -> None:
    task = object()
    made: list[object] = []

    def make() -> object:
        made.append(task)
        return task

    lazy = PromiseProxy(make)
    signal.connect(lambda **_: "heard", sender=lazy, weak=False)
    assert made == []
    assert signal.send(sender=task) == []
    lazy.__evaluate__()
    assert [response for _, response in signal.send(sender=task)] == ["heard"]


def test_a_proxy_and_its_object_are_one_sender(signal: Signal) -> None:
    task = object()
    signal.connect(lambda **_: "heard", sender=Proxy(lambda: task), weak=False)
    assert len(signal.send(sender=task)) == 1


def test_every_documented_signal_is_there() -> None:
    names = set(signals.__all__) - {"Signal"}
    assert len(names) == 34
    assert all(getattr(signals, name).name == name for name in names)
