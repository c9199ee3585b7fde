"""Messages with something wrong: a table of what may arrive, and how each may end.

Whatever arrives, a worker lives on; every message ends in one of few ways. Placeholders `ID` and `MARKER` stand for a
task id and an argument that are new for each sending: a run shows up in the journal under either.

Spec: task-message#3.5
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from celeriac_conformance.malformed import bodies, canvas, envelopes, headers, protocol1
from celeriac_conformance.malformed.entry import FAILED, FREE, HELD, REFUSED, RUN, Malformed

__all__ = ["CORPUS", "FAILED", "FREE", "HELD", "REFUSED", "RUN", "Malformed", "corpus"]

_AREAS = (
    headers.ids_and_names,
    bodies.bodies,
    bodies.contents,
    headers.times,
    headers.headers,
    canvas.canvas,
    protocol1.protocol_1,
    envelopes.envelopes,
    headers.tables,
)


def corpus() -> Iterator[Malformed]:
    """Yield every entry of the table."""
    for area in _AREAS:
        yield from area()


CORPUS: Mapping[str, Malformed] = {entry.name: entry for entry in corpus()}
"""The table by name."""
