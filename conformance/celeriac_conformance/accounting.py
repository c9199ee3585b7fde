"""What a tree of processes has used, read from Linux's /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Usage", "tree", "usage"]

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PARENT, _UTIME, _STIME, _CUTIME, _CSTIME = 1, 11, 12, 13, 14
"""Positions in /proc/PID/stat, counted after the command name in brackets."""


@dataclass(frozen=True)
class Usage:
    """Use of resources by a process and all its descendants."""

    cpu_s: float
    """User and system time, with that of ended children that were waited for."""
    memory_mb: float
    """Proportional set size: shared pages count once over all processes."""
    processes: int


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name may hold blanks and brackets; everything after its last bracket is plain.
    return text.rpartition(")")[2].split()


def tree(root: int) -> list[int]:
    """Return the ids of a process and its living descendants."""
    children: dict[int, list[int]] = {}
    for pid in _all_pids():
        fields = _stat(pid)
        if fields is not None:
            children.setdefault(int(fields[_PARENT]), []).append(pid)
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def _all_pids() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            yield int(entry.name)


def usage(root: int) -> Usage:
    """Return what the tree of a process has used until now."""
    ticks, memory_kb, count = 0, 0, 0
    for pid in tree(root):
        fields = _stat(pid)
        if fields is None:
            continue
        count += 1
        ticks += sum(int(fields[position]) for position in (_UTIME, _STIME, _CUTIME, _CSTIME))
        memory_kb += _proportional_kb(pid)
    return Usage(ticks / _TICKS_PER_S, memory_kb / 1024, count)


def _proportional_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        # It ended since the tree was read.
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
