"""The page: one static file with everything in it, readable on a phone, without any script if need be.

Outcomes are letters first; colours only repeat them. Each of the five is counted for itself.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from celeriac_conformance.outcomes import Outcome
from celeriac_conformance.report.findings import Finding, finding_html
from celeriac_conformance.report.records import PAGE, RESULTS, Record
from celeriac_conformance.report.style import LETTERS, MEANINGS, SCRIPT, STYLE
from celeriac_conformance.report.tables import (
    WORST_FIRST,
    Direction,
    Pairing,
    count,
    directions,
    worst,
)

__all__ = ["page_html", "write_page"]


def write_page(folder: Path, records: Sequence[Record], *, now: float) -> Path:
    """Write the page of a report.

    Args:
        folder: Folder of the report, with the traces that the records name.
        records: What to show.
        now: Unix time.

    Returns:
        The path of the page.
    """
    target = folder / PAGE
    made = datetime.datetime.fromtimestamp(now, datetime.UTC)
    target.write_text("".join(page_html(folder, records, made)), "utf-8")
    return target


def page_html(folder: Path, records: Sequence[Record], made: datetime.datetime) -> Iterator[str]:
    """Make the page, piece by piece."""
    found = directions(records)
    findings = _findings(records)
    yield (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Conformance report</title><style>{STYLE}</style></head><body>"
        "<header><h1>Conformance report</h1>"
        f"<p>{len(records)} results of {len({one.case for one in records})} cases in "
        f"{len({(one.cell, one.runtime) for one in records})} cells, "
        f'{escape(made.strftime("%Y-%m-%d %H:%M UTC"))}; the same as <a href="{RESULTS}">JSON lines</a>.</p>'
    )
    yield _legend()
    yield from _totals(records)
    yield "</header><main>"
    for number, direction in enumerate(found):
        yield from _matrix(direction, number)
    yield from _environment(records)
    yield '<h2 id="cases">Cases</h2>'
    for number, direction in enumerate(found):
        for place, pairing in enumerate(direction.pairings):
            yield from _cases(direction, pairing, f"p{number}-{place}", findings)
    yield '<h2 id="findings">Failed, error and known</h2>'
    if not findings:
        yield "<p>None.</p>"
    for outcome in WORST_FIRST:
        chosen = [one for one in findings.values() if one.record.outcome is outcome]
        if chosen:
            yield f"<h3>{LETTERS[outcome]} {outcome} ({len(chosen)})</h3>"
            for one in chosen:
                yield finding_html(folder, one)
    yield f"</main><script>{SCRIPT}</script></body></html>\n"


def _findings(records: Sequence[Record]) -> dict[tuple[str, str, str], Finding]:
    shown = [
        one for one in records if one.outcome in (Outcome.FAILED, Outcome.ERROR, Outcome.KNOWN)
    ]
    return {one.key: Finding(f"f{number}", one) for number, one in enumerate(shown)}


def _legend() -> str:
    entries = "".join(
        f'<li><span class="chip {LETTERS[one]}">{LETTERS[one]}</span> {one}: {escape(MEANINGS[one])}</li>'
        for one in WORST_FIRST
    )
    return f'<details class="legend"><summary>What the letters mean</summary><ul>{entries}</ul></details>'


def _totals(records: Sequence[Record]) -> Iterator[str]:
    counts = {
        role: count(one for one in records if one.role == role) for role in ("tested", "control")
    }
    roles = [role for role, found in counts.items() if found]
    yield '<table class="totals"><thead><tr><th scope="col">outcome</th>'
    yield "".join(f'<th scope="col">{role}</th>' for role in roles)
    yield "</tr></thead><tbody>"
    for one in WORST_FIRST:
        letter = LETTERS[one]
        numbers = "".join(
            f'<td class="{letter if counts[role][one] else "none"}">{counts[role][one]}</td>'
            for role in roles
        )
        yield f'<tr><th scope="row">{letter} {one}</th>{numbers}</tr>'
    yield "</tbody></table>"


def _counts(counts: Counter[Outcome]) -> str:
    return " ".join(
        f'<span class="{LETTERS[one]}">{LETTERS[one]}{counts[one]}</span>'
        for one in WORST_FIRST
        if counts[one]
    )


def _matrix(direction: Direction, number: int) -> Iterator[str]:
    role = " (control)" if direction.is_control else ""
    yield f'<section><h2>{escape(direction.title)}{role}</h2><div class="wide"><table class="matrix">'
    yield '<thead><tr><th scope="col">area</th>'
    for place, pairing in enumerate(direction.pairings):
        yield f'<th scope="col"><a href="#p{number}-{place}">{escape(pairing.label)}</a></th>'
    yield "</tr></thead><tbody>"
    for area in direction.areas:
        yield f'<tr><th scope="row">{escape(area)}</th>'
        for place, pairing in enumerate(direction.pairings):
            records = pairing.of(area)
            if not records:
                yield "<td></td>"
                continue
            counts = count(records)
            yield (
                f'<td class="{LETTERS[worst(counts)]}"><a href="#p{number}-{place}-{escape(area)}" '
                f'title="{escape(area)}, {escape(pairing.label)}">{_counts(counts)}</a></td>'
            )
        yield "</tr>"
    yield '</tbody><tfoot><tr><th scope="row">all</th>'
    for pairing in direction.pairings:
        yield f"<td>{_counts(count(pairing.records))}</td>"
    yield "</tr></tfoot></table></div></section>"


def _environment(records: Sequence[Record]) -> Iterator[str]:
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for one in records:
        cells.setdefault((one.cell, one.runtime), {}).update(one.versions)
    yield "<details><summary>Cells and versions</summary><ul>"
    for (cell, runtime), versions in sorted(cells.items()):
        listed = ", ".join(f"{name} {value}" for name, value in versions.items())
        yield f"<li><code>{escape(cell)}</code> ({escape(runtime)}): {escape(listed) or 'never started'}</li>"
    yield "</ul></details>"


def _cases(
    direction: Direction,
    pairing: Pairing,
    anchor: str,
    findings: dict[tuple[str, str, str], Finding],
) -> Iterator[str]:
    title = f"{direction.title}, {pairing.label}{' (control)' if direction.is_control else ''}"
    yield (
        f'<details class="pairing" id="{anchor}"><summary>{escape(title)} '
        f"{_counts(count(pairing.records))}</summary>"
    )
    for area in pairing.areas:
        records = pairing.of(area)
        yield (
            f'<details id="{anchor}-{escape(area)}"><summary>{escape(area)} '
            f'{_counts(count(records))}</summary><ul class="cases">'
        )
        by_case: dict[str, list[Record]] = {}
        for one in records:
            by_case.setdefault(one.case, []).append(one)
        for case_id, lines in sorted(by_case.items()):
            lines.sort(key=lambda one: (one.carrier, one.runtime))
            chips = " ".join(_chip(one, findings) for one in lines)
            yield (
                f"<li><code>{escape(case_id)}</code> {chips}"
                f'<small class="spec">{escape(lines[0].spec)}</small>{_reasons(lines)}</li>'
            )
        yield "</ul></details>"
    yield "</details>"


def _chip(record: Record, findings: dict[tuple[str, str, str], Finding]) -> str:
    letter = LETTERS[record.outcome]
    text = f"{letter} {escape(record.carrier)}"
    if record.runtime != "process":
        text += f" {escape(record.runtime)}"
    found = findings.get(record.key)
    if found is None:
        return f'<span class="chip {letter}">{text}</span>'
    return f'<a class="chip {letter}" href="#{found.anchor}">{text}</a>'


def _reasons(records: Sequence[Record]) -> str:
    """Say why cases are unsupported, once each; a finding says its own."""
    reasons = dict.fromkeys(
        one.reason for one in records if one.outcome is Outcome.UNSUPPORTED and one.reason
    )
    return "".join(
        f"<small>{LETTERS[Outcome.UNSUPPORTED]}: {escape(one)}</small>" for one in reasons
    )
