"""Callbacks, errbacks, chains and chords that are no signatures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from celeriac_conformance.malformed.entry import (
    EMBED,
    FREE,
    ID,
    REFUSED,
    Malformed,
    good_body,
    v2,
)

__all__ = ["canvas"]


def canvas() -> Iterator[Malformed]:
    """Yield messages with garbage where signatures belong."""
    signature: dict[str, Any] = {
        "task": "collect",
        "args": [],
        "kwargs": {},
        "options": {},
        "subtask_type": None,
        "immutable": False,
    }
    garbage: dict[str, Any] = {
        "number": 5,
        "text": "abc",
        "bare-mapping": signature,
        "list-of-numbers": [1, 2],
        "list-of-null": [None],
        "list-of-lists": [[signature]],
        "without-task": [{**signature, "task": None}],
        "task-a-list": [{**signature, "task": ["collect"]}],
        "options-a-list": [{**signature, "options": [1]}],
        "args-a-number": [{**signature, "args": 5}],
        "unknown-type": [{**signature, "subtask_type": "bogus"}],
        "bad-nested-chain": [{**signature, "subtask_type": "chain", "kwargs": {"tasks": [5]}}],
    }
    for name, value in garbage.items():
        yield v2(f"callbacks-{name}", FREE, body=good_body(embed={**EMBED, "callbacks": value}))
        yield v2(f"chain-{name}", FREE, body=good_body(embed={**EMBED, "chain": value}))
        failing = good_body(["ValueError", "on purpose"], embed={**EMBED, "errbacks": value})
        yield v2(f"errbacks-{name}", REFUSED, headers={"task": "fail"}, body=failing)
        yield v2(
            f"chord-{name}",
            FREE,
            headers={"group": f"g-{ID}"},
            body=good_body(embed={**EMBED, "chord": value}),
        )
    yield v2("chord-garbage-without-group", FREE, body=good_body(embed={**EMBED, "chord": 5}))
