"""What several nodes answered, as one table. Spec: control-and-events#1.4."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from celeriac.exceptions import DuplicateNodenameWarning

__all__ = ["flatten_reply"]

_DUPLICATE = (
    "Received multiple replies from node {}: {}.\n"
    "Please make sure you give each node a unique nodename using\n"
    "the celery worker `-n` option."
)


def flatten_reply(reply: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Join replies into one mapping of node name to answer; the last answer of a node counts.

    Warns:
        DuplicateNodenameWarning: A node answered twice, so there are two of one name.
    """
    nodes: dict[str, Any] = {}
    twice: set[str] = set()
    for item in reply:
        twice.update(name for name in item if name in nodes)
        nodes.update(item)
    if twice:
        names = "name" if len(twice) == 1 else "names"
        warnings.warn(
            _DUPLICATE.format(names, ", ".join(sorted(twice))),
            DuplicateNodenameWarning,
            stacklevel=2,
        )
    return nodes
