"""What a worker prints when it starts. Spec: control-and-events#6.3, app-and-cli#13.6."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

__all__ = ["banner", "task_list"]

_ART = (
    " --------------",
    "--- ***** -----",
    "-- ******* ----",
    "- *** --- * ---",
    "- ** ----------",
    "- ** ----------",
    "- ** ----------",
    "- ** ----------",
    "- *** --- * ---",
    "-- ******* ----",
    "--- ***** -----",
    " --------------",
)
_INDENT = " " * 16


def banner(
    *,
    node: str,
    version: str,
    app: str,
    broker: str,
    results: str,
    concurrency: str,
    task_events: bool,
    queues: Sequence[Any],
    now: datetime,
) -> str:
    """Return the banner; URLs must already have their passwords masked.

    Args:
        node: Node name.
        version: Text after the `v`.
        app: ``main:0x…``, plus the loader in parentheses when it is not the usual one.
        broker: Broker URL.
        results: Result backend URL.
        concurrency: ``2 (prefork)``.
        task_events: Whether task events are sent.
        queues: The consumed `kombu.Queue` values.
        now: Local time shown.
    """
    events = "ON" if task_events else "OFF (enable -E to monitor tasks in this worker)"
    text = [
        f"{node} v{version}",
        "",
        f"{platform.platform()} {now:%Y-%m-%d %H:%M:%S}",
        "",
        "[config]",
        f".> app:         {app}",
        f".> transport:   {broker}",
        f".> results:     {results}",
        f".> concurrency: {concurrency}",
        f".> task events: {events}",
        "",
        "[queues]",
        *(_queue_line(queue) for queue in sorted(queues, key=lambda queue: str(queue.name))),
    ]
    lines = []
    for number, line in enumerate(text):
        lines.append(f"{_ART[number]} {line}" if number < len(_ART) else f"{_INDENT}{line}")
    return "\n".join([" ", *lines, _INDENT])


def _queue_line(queue: Any) -> str:
    exchange = queue.exchange
    name, kind = (exchange.name, exchange.type) if exchange is not None else ("", "direct")
    return f".> {queue.name:<16} exchange={name}({kind}) key={queue.routing_key}"


def task_list(names: Iterable[str], *, builtins: bool) -> str:
    """Return the `[tasks]` part: sorted names, built-in ones only when asked."""
    shown = sorted(name for name in names if builtins or not name.startswith("celery."))
    return "\n".join(["", "[tasks]", *(f"  . {name}" for name in shown), ""])
