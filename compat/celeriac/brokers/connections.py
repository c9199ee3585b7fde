"""kombu connections and pools for code that asks an app for one: `app.connection()`, `app.pool`, `app.producer_pool`.

The worker and the publisher do not use these; see `celeriac.brokers.kombu`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kombu
from kombu import pools
from kombu.connection import maybe_channel as _maybe_channel
from kombu.mixins import ConsumerMixin as _ConsumerMixin

__all__ = [
    "ConsumerMixin",
    "connect",
    "connection_pool",
    "consumer",
    "maybe_channel",
    "producer",
    "producer_pool",
    "reset_pools",
]

_kombu: Any = kombu
_pools: Any = pools
maybe_channel: Any = _maybe_channel
ConsumerMixin: Any = _ConsumerMixin
"""Base of programs that consume, and connect again by themselves."""


def connect(url: str, **options: Any) -> Any:
    """Return a `kombu.Connection`; nothing is opened before it is used.

    Args:
        url: Broker URL, or several joined by ``;``.
        **options: As `kombu.Connection` takes them.
    """
    return _kombu.Connection(url, **options)


def connection_pool(connection: Any, limit: int | None) -> Any:
    """Return the process's pool of connections like `connection`."""
    _pools.set_limit(limit)
    return _pools.connections[connection]


def producer_pool(connection: Any, limit: int | None) -> Any:
    """Return the process's pool of producers over connections like `connection`."""
    _pools.set_limit(limit)
    return _pools.producers[connection]


def reset_pools() -> None:
    """Forget every pool without closing what is in it: in a forked child the sockets are the parent's."""
    _pools.connections.clear()
    _pools.producers.clear()


def consumer(channel: Any, **options: Mapping[str, Any] | Any) -> Any:
    """Return a `kombu.Consumer` on a channel or connection."""
    return _kombu.Consumer(channel, **options)


def producer(channel: Any, **options: Any) -> Any:
    """Return a `kombu.Producer` on a channel or connection."""
    return _kombu.Producer(channel, **options)
