"""The golden records below `fixtures/`: what real versions of Celery put on the wire, as messages of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from celeriac_conformance.drivers import typed_values
from celeriac_conformance.recorder.traffic import message_in
from celeriac_protocol.message import Message, Properties
from celeriac_protocol.virtual import read_envelope

__all__ = ["FIXTURES", "SETS", "every_set", "message_of", "records", "version_of"]

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
SETS = sorted(
    str(folder.relative_to(FIXTURES)) for folder in FIXTURES.glob("celery-*/*") if folder.is_dir()
)
"""``celery-X.Y.Z/<broker>``, one for each recording."""

every_set = pytest.mark.parametrize("recording", SETS)

_PROPERTIES = {each.name for each in fields(Properties)} - {"extra"}


def records(recording: str) -> Iterator[dict[str, Any]]:
    """Yield the records of one version on one broker."""
    for path in sorted((FIXTURES / recording).glob("*.json")):
        yield json.loads(path.read_text("utf-8"))


def version_of(recording: str) -> tuple[int, ...]:
    """Return the version of Celery that a recording is of."""
    return tuple(int(part) for part in recording.partition("/")[0].split("-")[1].split("."))


def message_of(wire: Mapping[str, Any]) -> Message:
    """Return a recorded message as a broker hands it over."""
    if "command" in wire:
        return read_envelope(wire["value"], queue=wire["key"]).message
    headers, properties, body = message_in(wire)
    return Message(
        headers,
        Properties(
            **{name: value for name, value in properties.items() if name in _PROPERTIES},
            extra={name: value for name, value in properties.items() if name not in _PROPERTIES},
        ),
        body,
    )


def typed(value: Any) -> Any:
    """Return the value that a record stands for."""
    return typed_values.decode(value)
