"""One case that did not pass: what was said, what crossed the broker, and the logs."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from celeriac_conformance.report.records import Record
from celeriac_conformance.report.style import LETTERS

__all__ = ["Finding", "finding_html", "frame_text", "trace_html"]

_FRAMES = 120
"""Frames shown in the page; the file of the trace has all."""
_TEXT = 3000
"""Characters of a frame shown in the page."""
_LOG = 8000
"""Characters of a log shown in the page."""


@dataclass(frozen=True)
class Finding:
    """A record with a place on the page."""

    anchor: str
    record: Record


def finding_html(folder: Path, finding: Finding) -> str:
    """Show a finding, folded."""
    one = finding.record
    letter = LETTERS[one.outcome]
    parts = [
        f'<details class="finding" id="{finding.anchor}"><summary><span class="chip {letter}">{letter}</span> '
        f"<code>{escape(one.case)}</code> in <code>{escape(one.cell)}</code> ({escape(one.runtime)})</summary>",
        f"<p>{escape(one.outcome)}: {escape(one.reason) or 'no reason was given'}<br>",
        f"<small>{escape(one.spec)}, {one.duration_s:.2f} s</small></p>",
    ]
    if one.message:
        parts.append(
            f"<details><summary>Message</summary><pre>{escape(one.message)}</pre></details>"
        )
    if one.trace is not None:
        parts += trace_html(folder, one.trace)
    parts.append("</details>")
    return "".join(parts)


def trace_html(folder: Path, path: str) -> Iterator[str]:
    """Show a wire trace and the logs beside it."""
    file = folder / path
    if not file.exists():
        yield f"<p>The trace <code>{escape(path)}</code> is missing.</p>"
        return
    trace = json.loads(file.read_text("utf-8"))
    frames: list[dict[str, Any]] = trace["frames"]
    merged = _without_repetition(frames)
    yield (
        f'<details class="trace"><summary>Wire trace ({len(frames)} frames)</summary>'
        f'<p><a href="{escape(path)}">all of it as JSON</a></p>'
    )
    for note in trace["notes"]:
        yield f"<p>Not recorded: {escape(note)}</p>"
    if not frames:
        yield "<p>Nothing crossed the broker.</p>"
    start = float(frames[0]["at"]) if frames else 0.0
    yield "<ol>"
    for frame, times in merged[:_FRAMES]:
        again = f" ×{times}" if times > 1 else ""
        yield (
            f"<li><b>+{float(frame['at']) - start:.3f} s {escape(frame['action'])}</b> "
            f"<code>{escape(_visible(frame['where'][:200]))}</code>{again} "
            f"<small>{escape(frame['wire'])} {escape(frame['peer'])}</small>"
        )
        text = frame_text(frame["parts"])
        if text:
            yield f"<pre>{escape(_cut(text, _TEXT))}</pre>"
        yield "</li>"
    yield "</ol>"
    if len(merged) > _FRAMES:
        yield f"<p>… and {len(merged) - _FRAMES} more in the file.</p>"
    yield "</details>"
    for log in trace["logs"]:
        yield (
            f"<details><summary>{escape(log['name'])}</summary><pre>{escape(log['text'][-_LOG:])}</pre></details>"
        )


def frame_text(parts: Sequence[str]) -> str:
    """Write the parts of a frame for reading: JSON indented, bodies of envelopes decoded."""
    return _visible("\n".join(filter(None, map(_readable, parts))))


def _visible(text: str) -> str:
    """Write control characters, which some keys are made with, as Python would."""
    return "".join(
        f"\\x{ord(one):02x}" if ord(one) < 32 and one not in "\n\t" else one for one in text
    )


def _readable(part: str) -> str:
    if not part.startswith(("{", "[")):
        return part
    try:
        value = json.loads(part)
    except ValueError:
        # Cut, or no JSON after all: shown as it is.
        return part
    if isinstance(value, dict):
        value = {**value, **_decoded_body(value)}
    return json.dumps(value, ensure_ascii=False, indent=1)


def _decoded_body(envelope: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of an envelope as it was before base64, where it can be shown."""
    properties = envelope.get("properties")
    if not isinstance(properties, Mapping) or properties.get("body_encoding") != "base64":
        return {}
    try:
        data = base64.b64decode(str(envelope.get("body")), validate=True)
    except binascii.Error:
        # A broken envelope is one of the things to be seen here.
        return {}
    try:
        return {"body, decoded": json.loads(data)}
    except ValueError:
        return {"body, decoded": data.decode("utf-8", "backslashreplace")}


def _without_repetition(frames: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], int]]:
    """Merge frames that repeat the one before, as polls do."""
    merged: list[tuple[dict[str, Any], int]] = []
    for frame in frames:
        if merged and _content(merged[-1][0]) == _content(frame):
            merged[-1] = (merged[-1][0], merged[-1][1] + 1)
        else:
            merged.append((frame, 1))
    return merged


def _content(frame: Mapping[str, Any]) -> tuple[object, ...]:
    return (frame["wire"], frame["peer"], frame["action"], frame["where"], frame["parts"])


def _cut(text: str, limit: int) -> str:
    return (
        text if len(text) <= limit else f"{text[:limit]}\n… ({len(text) - limit} more characters)"
    )
