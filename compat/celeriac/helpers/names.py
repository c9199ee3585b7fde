"""The names found directly in `celery.utils`. Spec: app-and-cli#10.2."""

from __future__ import annotations

from functools import cached_property
from typing import Any
from uuid import uuid4

from celeriac.helpers.functional import chunks, memoize, noop
from celeriac.helpers.imports import (
    gen_task_name,
    import_from_cwd,
    instantiate,
    qualname,
    symbol_by_name,
)
from celeriac.helpers.nodenames import nodename, nodesplit, worker_direct

__all__ = [
    "cached_property",
    "chunks",
    "gen_task_name",
    "gen_unique_id",
    "get_cls_by_name",
    "get_full_cls_name",
    "import_from_cwd",
    "instantiate",
    "memoize",
    "nodename",
    "nodesplit",
    "noop",
    "uuid",
    "worker_direct",
]

get_cls_by_name: Any = symbol_by_name
get_full_cls_name = qualname


def uuid() -> str:
    """Return a new random id, as tasks have it."""
    return str(uuid4())


gen_unique_id = uuid
