"""Native delayed delivery: a ladder of 28 queues that hold a message for as many seconds as its routing key says.

The routing key of such a message begins with its delay in binary, one digit a level. Level L has a topic exchange;
a digit 1 there sends the message into the level's queue, which keeps it 2^L seconds and dead-letters it one level
down; a digit 0 passes it down at once. Below level 0 stands the delivery exchange, which knows the real queues.

Spec: transports#1.12
"""

from __future__ import annotations

import re

from celeriac_protocol.errors import LocalProtocolError

__all__ = [
    "DELIVERY_EXCHANGE",
    "LEVELS",
    "MAX_DELAY_S",
    "PUBLISH_EXCHANGE",
    "hold_binding",
    "level_name",
    "pass_binding",
    "queue_arguments",
    "routing_key",
    "strip_delay",
    "task_queue_binding",
]

LEVELS = 28
MAX_DELAY_S = 2**LEVELS - 1
"""About eight and a half years."""
DELIVERY_EXCHANGE = "celery_delayed_delivery"

_DELAY_PREFIX = re.compile(rf"(?:[01]\.){{{LEVELS}}}")


def level_name(level: int) -> str:
    """Return the name of a level's exchange, which is that of its queue as well; -1 is below the last."""
    return f"celery_delayed_{level}" if level >= 0 else DELIVERY_EXCHANGE


PUBLISH_EXCHANGE = level_name(LEVELS - 1)
"""Where a producer sends."""


def routing_key(delay_s: float, key: str) -> str:
    """Return the routing key that delivers to `key` after a delay.

    Args:
        delay_s: Seconds, cut to whole ones. More than `MAX_DELAY_S` counts as that: a message that arrives early
            still waits for its `eta`, while a longer key would mean a wrong delay.
        key: The task queue's routing key; a delay already in front of it, as a retried task has, is replaced.

    Raises:
        LocalProtocolError: Less than a whole second, or no key.
    """
    if not delay_s >= 1:  # so written, it holds for NaN as well
        raise LocalProtocolError(f"delay: expected at least 1 second, got {delay_s!r}")
    if not key:
        raise LocalProtocolError("routing key: expected a non-empty one")
    seconds = int(min(delay_s, MAX_DELAY_S))
    return f"{'.'.join(f'{seconds:0{LEVELS}b}')}.{strip_delay(key)}"


def strip_delay(key: str) -> str:
    """Return a routing key as it was before any delay was put in front of it."""
    while match := _DELAY_PREFIX.match(key):
        key = key[match.end() :]
    return key


def hold_binding(level: int) -> str:
    """Return the key that binds a level's exchange to its queue: the messages with a 1 there."""
    return f"{'*.' * (LEVELS - 1 - level)}1.#"


def pass_binding(level: int) -> str:
    """Return the key that binds a level's exchange to the next lower one: the messages with a 0 there."""
    return f"{'*.' * (LEVELS - 1 - level)}0.#"


def queue_arguments(level: int, queue_type: str = "quorum") -> dict[str, object]:
    """Return the declare arguments of a level's queue.

    Args:
        level: 27 down to 0.
        queue_type: ``quorum`` or ``classic``.

    Raises:
        LocalProtocolError: Another queue type.
    """
    if queue_type not in ("quorum", "classic"):
        raise LocalProtocolError(f"queue type: expected quorum or classic, got {queue_type!r}")
    arguments: dict[str, object] = {
        "x-queue-type": queue_type,
        "x-overflow": "reject-publish",
        "x-message-ttl": 2**level * 1000,
        "x-dead-letter-exchange": level_name(level - 1),
    }
    if queue_type == "quorum":
        arguments["x-dead-letter-strategy"] = "at-least-once"
    return arguments


def task_queue_binding(key: str) -> str:
    """Return the key by which a task queue's exchange and queue are bound for delayed messages."""
    return key if key.startswith("#") else f"#.{key}"
