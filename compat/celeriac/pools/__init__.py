"""Where tasks run. A new pool is one module and its row here."""

from __future__ import annotations

from importlib import import_module

from celeriac.pools.base import Pool

__all__ = ["POOLS", "pool_class"]

POOLS = {
    "prefork": "celeriac.pools.prefork:PreforkPool",
    "processes": "celeriac.pools.prefork:PreforkPool",
    "threads": "celeriac.pools.threads:ThreadsPool",
    "solo": "celeriac.pools.solo:SoloPool",
}
"""Name → ``module:class``; imported only when chosen."""


def pool_class(name: str) -> type[Pool]:
    """Return the pool of this name. Raises `KeyError` when there is none."""
    module, _, attribute = POOLS[name].partition(":")
    cls: type[Pool] = getattr(import_module(module), attribute)
    return cls
