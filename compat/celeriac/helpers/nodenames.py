"""Node names, ``name@host``, and the ``%`` expansions in file names. Spec: control-and-events#6.4, app-and-cli#13.4."""

from __future__ import annotations

import os
import re
import socket
from functools import cache
from typing import Any

__all__ = [
    "NODENAME_DEFAULT",
    "NODENAME_SEP",
    "anon_nodename",
    "default_nodename",
    "gethostname",
    "host_format",
    "node_format",
    "nodename",
    "nodesplit",
    "worker_direct",
]

NODENAME_SEP = "@"
NODENAME_DEFAULT = "celery"

gethostname = cache(socket.gethostname)


def nodename(name: str, hostname: str) -> str:
    """Return ``name@hostname``."""
    return f"{name}{NODENAME_SEP}{hostname}"


def nodesplit(name: str) -> tuple[str | None, str]:
    """Split a node name at its ``@``; a bare host has no name."""
    left, found, right = name.partition(NODENAME_SEP)
    return (left, right) if found else (None, name)


def anon_nodename(hostname: str | None = None, prefix: str = "gen") -> str:
    """Return the node name of a process that is no worker."""
    return nodename(f"{prefix}{os.getpid()}", hostname or gethostname())


def default_nodename(hostname: str | None) -> str:
    """Return the full node name for what ``-n`` was given: a name with ``@``, or a host."""
    name, host = nodesplit(hostname or "")
    return nodename(name or NODENAME_DEFAULT, host or gethostname())


def host_format(s: str, host: str | None = None, name: str | None = None, **extra: Any) -> str:
    """Replace ``%h`` by the host, ``%n`` by the name (or the host's first label), ``%d`` by the domain.

    Args:
        s: The text.
        host: Host name; by default this machine's.
        name: Name of the node.
        **extra: More one-letter expansions.

    Raises:
        ValueError: A letter that has no meaning.
    """
    host = host or gethostname()
    label, _, domain = host.partition(".")
    return _expanded(s, {"h": host, "n": name or label, "d": domain, "i": "0", "I": "", **extra})


def node_format(s: str, name: str, **extra: Any) -> str:
    """Replace ``%p`` by the node name, ``%h``, ``%n`` and ``%d`` by its parts."""
    short, host = nodesplit(name)
    return host_format(s, host, short or NODENAME_DEFAULT, p=name, **extra)


def worker_direct(hostname: Any) -> Any:
    """Return the queue that only the worker of that node name consumes; a queue is returned as it is."""
    from kombu import Exchange, Queue  # type: ignore[attr-defined]

    queue_type: Any = Queue
    exchange_type: Any = Exchange
    if isinstance(hostname, queue_type):
        return hostname
    return queue_type(f"{hostname}.dq2", exchange_type("C.dq2"), hostname)


def _expanded(text: str, values: dict[str, Any]) -> str:
    def one(match: re.Match[str]) -> str:
        letter = match.group(1)
        if letter == "%":
            return "%"
        if letter not in values:
            raise ValueError(
                f"unknown expansion %{letter} in {text!r}; a percent sign is written %%"
            )
        return str(values[letter])

    return re.sub(r"%(.)", one, text)
