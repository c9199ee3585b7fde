"""Routing keys that hold a message for a while."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac_protocol import delayed
from celeriac_protocol.errors import LocalProtocolError


def test_the_key_of_a_countdown_is_its_binary_digits() -> None:
    assert delayed.routing_key(5, "tq.key") == "0." * 25 + "1.0.1.tq.key"
    assert delayed.routing_key(5.9, "a.b") == (
        "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.1.a.b"
    )


def test_a_retried_tasks_prefix_is_replaced_not_repeated() -> None:
    once = delayed.routing_key(5, "a.b")
    assert delayed.routing_key(2, once) == "0." * 26 + "1.0.a.b"
    # Celery up to 5.6 piles prefixes up.
    assert delayed.strip_delay("0." * 28 + once) == "a.b"


def test_a_delay_past_28_digits_is_held_at_the_longest_one() -> None:
    assert delayed.routing_key(2**28, "k") == "1." * 28 + "k"
    assert delayed.routing_key(1e300, "k") == delayed.routing_key(delayed.MAX_DELAY_S, "k")


@pytest.mark.parametrize("seconds", [0, 0.5, 0.999, -5, float("-inf"), float("nan")])
def test_less_than_a_second_cannot_be_delayed(seconds: float) -> None:
    with pytest.raises(LocalProtocolError):
        delayed.routing_key(seconds, "k")


def test_an_empty_key_leads_nowhere() -> None:
    with pytest.raises(LocalProtocolError):
        delayed.routing_key(5, "")


def test_the_ladder_has_28_levels_above_the_delivery_exchange() -> None:
    assert delayed.PUBLISH_EXCHANGE == "celery_delayed_27"
    assert delayed.level_name(0) == "celery_delayed_0"
    assert delayed.level_name(-1) == delayed.DELIVERY_EXCHANGE == "celery_delayed_delivery"


def test_a_level_looks_at_its_own_digit() -> None:
    assert delayed.hold_binding(27) == "1.#"
    assert delayed.hold_binding(25) == "*.*.1.#"
    assert delayed.hold_binding(0) == "*." * 27 + "1.#"
    assert delayed.pass_binding(27) == "0.#"
    assert delayed.pass_binding(0) == "*." * 27 + "0.#"


def test_a_levels_queue_holds_for_its_power_of_two() -> None:
    assert delayed.queue_arguments(27) == {
        "x-queue-type": "quorum",
        "x-overflow": "reject-publish",
        "x-message-ttl": 134217728000,
        "x-dead-letter-exchange": "celery_delayed_26",
        "x-dead-letter-strategy": "at-least-once",
    }
    assert delayed.queue_arguments(0, "classic") == {
        "x-queue-type": "classic",
        "x-overflow": "reject-publish",
        "x-message-ttl": 1000,
        "x-dead-letter-exchange": "celery_delayed_delivery",
    }
    with pytest.raises(LocalProtocolError):
        delayed.queue_arguments(0, "stream")


def test_a_task_queue_is_bound_behind_any_delay() -> None:
    assert delayed.task_queue_binding("a.b") == "#.a.b"
    assert delayed.task_queue_binding("#.a") == "#.a"


@given(st.floats(1, 2**28 - 1), st.text(alphabet="ab01.", min_size=1))
def test_the_ladder_adds_up_to_the_delay(seconds: float, key: str) -> None:
    routed = delayed.routing_key(seconds, key)
    digits = routed.split(".")[: delayed.LEVELS]
    held = sum(2 ** (delayed.LEVELS - 1 - at) for at, digit in enumerate(digits) if digit == "1")
    assert held == int(seconds)
    assert delayed.strip_delay(routed) == delayed.strip_delay(key)
