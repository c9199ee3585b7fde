"""The commands that show where memory goes; each needs a package that is not installed by default.

Spec: control-and-events#1.7
"""

from __future__ import annotations

import importlib
import tempfile
from collections import deque
from typing import Any, Final

from celeriac.worker.remote.registry import inspect_command
from celeriac.worker.remote.state import ControlState

__all__ = ["memdump", "memsample", "objgraph"]

_SAMPLES: Final[deque[float]] = deque(maxlen=1000)
"""Resident bytes at each sample of this process."""


def _resident() -> float | None:
    """Return the resident bytes of this process; None without psutil."""
    try:
        psutil = importlib.import_module("psutil")
    except ImportError:
        return None
    return float(psutil.Process().memory_info().rss)


def _text(size: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1024 or unit == "GB":
            break
        size /= 1024
    return f"{size:g}{unit}" if unit == "bytes" else f"{size:.3f}".rstrip("0").rstrip(".") + unit


@inspect_command()
def memsample(state: ControlState, **kwargs: Any) -> str | None:
    """Sample current RSS memory usage."""
    resident = _resident()
    if resident is None:
        return None
    _SAMPLES.append(resident)
    return _text(resident)


@inspect_command(args=[("samples", int)], signature="[n_samples=10]")
def memdump(state: ControlState, samples: int = 10, **kwargs: Any) -> str:
    """Dump statistics of previous memsample requests."""
    resident = _resident()
    if resident is None:
        return "- rss: (psutil not installed).\n"
    chosen = list(_SAMPLES)
    if len(chosen) > samples:
        step = len(chosen) / max(samples, 1)
        chosen = [chosen[int(index * step)] for index in range(max(samples, 1))]
    _SAMPLES.clear()
    lines = "".join(f"-    > {_text(each)},\n" for each in chosen)
    return f"- rss (sample):\n{lines}- rss (end): {_text(resident)}.\n"


@inspect_command(
    args=[("type", str), ("num", int), ("max_depth", int)],
    signature="[object_type=Request] [num=200 [max_depth=10]]",
    default_timeout=60.0,
)
def objgraph(
    state: ControlState, num: int = 200, max_depth: int = 10, type: str = "Request"
) -> dict[str, str]:
    """Create graph of uncollected objects (memory-leak debugging)."""
    try:
        library = importlib.import_module("objgraph")
    except ImportError as exc:
        raise ImportError("Requires the objgraph library") from exc
    with tempfile.NamedTemporaryFile(prefix="cobjg", suffix=".png", delete=False) as file:
        objects = library.by_type(type)[:num]
        library.show_backrefs(
            objects, max_depth=max_depth, highlight=lambda each: each in objects, filename=file.name
        )
        return {"filename": file.name}
