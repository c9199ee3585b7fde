from __future__ import annotations

import random

import pytest

from celeriac.worker.connection import ConnectionGivenUpError, Reconnector


def reconnector(**options: object) -> Reconnector:
    return Reconnector(jitter=random.Random(1), **options)  # type: ignore[arg-type]


def test_waits_grow_and_are_capped() -> None:
    subject = reconnector(max_wait_s=4.0)
    waits = []
    for _ in range(8):
        subject.failed(OSError("refused"), "amqp://", 100.0)
        waits.append(subject.due_in_s(100.0))
    assert waits[0] < waits[1] < waits[2]
    assert max(waits) <= 4.0 * 1.2
    assert not subject.is_due(100.0)
    assert subject.is_due(100.0 + waits[-1])


def test_a_lost_connection_is_tried_again_at_once_and_success_resets_the_wait() -> None:
    subject = reconnector()
    subject.failed(OSError("x"), "amqp://", 0.0)
    assert subject.succeeded() is True
    subject.lost(50.0)
    assert subject.is_due(50.0)
    assert subject.succeeded() is False


def test_giving_up_after_the_configured_number_of_tries() -> None:
    subject = reconnector(max_retries=2)
    subject.failed(OSError("x"), "amqp://", 0.0)
    subject.failed(OSError("x"), "amqp://", 0.0)
    with pytest.raises(ConnectionGivenUpError):
        subject.failed(OSError("x"), "amqp://", 0.0)


def test_no_retry_at_startup_gives_up_at_the_first_failure() -> None:
    with pytest.raises(ConnectionGivenUpError):
        reconnector(retry_on_startup=False).failed(OSError("x"), "amqp://", 0.0)


def test_no_retry_after_a_loss_gives_up_when_it_is_lost() -> None:
    subject = reconnector(retry=False)
    subject.succeeded()
    with pytest.raises(ConnectionGivenUpError):
        subject.lost(0.0)


def test_a_refusal_is_fatal_at_first_and_slow_later() -> None:
    with pytest.raises(ConnectionGivenUpError):
        reconnector().refused(OSError("403"), "amqp://", 0.0)
    subject = reconnector()
    subject.succeeded()
    subject.refused(OSError("403"), "amqp://", 0.0)
    assert subject.due_in_s(0.0) > 5.0
