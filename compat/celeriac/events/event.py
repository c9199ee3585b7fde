"""One event as a mapping, and the exchange events travel through. Spec: control-and-events#2.1, #2.2."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from kombu import Exchange as _Exchange  # type: ignore[attr-defined]

__all__ = ["Event", "event_exchange", "get_exchange", "group_from"]

Exchange: Any = _Exchange

_NAME = "celeryev"

event_exchange = Exchange(_NAME, type="topic")
"""The exchange, where nothing else is configured and the transport has topics."""


def get_exchange(connection: Any, name: str = _NAME) -> Any:
    """Return the event exchange as a connection's transport wants it: on Redis topics are a matter of fanout."""
    exchange = Exchange(name, type="topic")
    if connection.transport.driver_type in ("redis", "gcpubsub"):
        exchange.type = "fanout"
    return exchange


def Event(  # noqa: N802 - the public name
    type: str,
    _fields: Mapping[str, Any] | None = None,
    __dict__: Callable[..., dict[str, Any]] = dict,
    __now__: Callable[[], float] = time.time,
    **fields: Any,
) -> dict[str, Any]:
    """Return an event: fields, type and, unless it is among the fields, the time."""
    event = __dict__(_fields or {}, **fields)
    event.setdefault("timestamp", __now__())
    event["type"] = type
    return event


def group_from(type: str) -> str:
    """Return the group of a type of event: ``task`` of ``task-sent``."""
    return type.split("-", 1)[0]
