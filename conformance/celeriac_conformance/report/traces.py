"""What crossed the broker while a case ran, kept for cases that did not pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from celeriac_conformance.broker_taps import RedisTap, ResultTap
from celeriac_conformance.report.records import TRACES
from celeriac_conformance.runtimes.base import Ground
from celeriac_conformance.wires import Wire, WireError

__all__ = ["CaseTraces"]


class CaseTraces:
    """Records one cell after the other.

    Args:
        folder: Folder of the report.
        runtime: Name of the way the programs run: part of the paths, so that reports of several can be merged.
    """

    def __init__(self, folder: Path, runtime: str) -> None:
        self._folder = folder
        self._runtime = runtime
        self._wires: list[Wire] = []
        self._refused: list[str] = []
        self._starts: list[int] = []

    def open(self, ground: Ground) -> None:
        """Begin to record a cell."""
        self.close()
        watchers = [ground.broker.watch]
        if ground.results is not None and not _same_server(ground):
            watchers.append(ground.results.watch)
        for watch in watchers:
            try:
                self._wires.append(watch())
            except WireError as error:
                self._refused.append(str(error))
        self.begin()

    def begin(self) -> None:
        """A case begins here."""
        self._starts = [wire.mark() for wire in self._wires]

    def save(self, case_id: str, cell_id: str, logs: Sequence[tuple[str, str]]) -> str | None:
        """Write the trace of the case that just ended.

        Args:
            case_id: Which case.
            cell_id: In which cell.
            logs: Heading and text of each log.

        Returns:
            Its path, from the folder of the report; None when nothing was started, so there is nothing to tell.
        """
        if not (self._wires or self._refused or logs):
            return None
        frames: list[dict[str, Any]] = []
        notes = list(self._refused)
        for wire, start in zip(self._wires, self._starts, strict=True):
            frames += [{"wire": wire.name, **frame.to_dict()} for frame in wire.since(start)]
            if wire.ended is not None:
                notes.append(f"the recording of {wire.name} ended: {wire.ended}")
        frames.sort(key=lambda frame: float(frame["at"]))
        path = f"{TRACES}/{self._runtime}/{cell_id}/{case_id.replace('/', '.')}.json"
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "case": case_id,
            "cell": cell_id,
            "notes": notes,
            "frames": frames,
            "logs": [{"name": name, "text": text} for name, text in logs],
        }
        target.write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")
        return path

    def close(self) -> None:
        """Record no more of this cell."""
        for wire in self._wires:
            wire.close()
        self._wires.clear()
        self._refused.clear()
        self._starts.clear()


def _same_server(ground: Ground) -> bool:
    """Say whether results are stored in the server that carries the messages: it is watched once."""
    if not isinstance(ground.results, ResultTap) or not isinstance(ground.broker, RedisTap):
        return False
    return ground.broker.url.rpartition("/")[0] == ground.results.url.rpartition("/")[0]
