"""Records sorted into the tables of the page: who talks to whom, in which version, in which area."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from celeriac_conformance.outcomes import Outcome
from celeriac_conformance.report.records import Record

__all__ = ["WORST_FIRST", "Direction", "Pairing", "count", "directions", "worst"]

WORST_FIRST = (
    Outcome.FAILED,
    Outcome.ERROR,
    Outcome.KNOWN,
    Outcome.UNSUPPORTED,
    Outcome.PASSED,
)


@dataclass
class Pairing:
    """One version of one implementation with one version of another, over every carrier."""

    label: str
    """The versions that tell it from the others of its direction."""
    records: list[Record] = field(default_factory=list)

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Carriers and runtimes it ran on."""
        return sorted({(one.carrier, one.runtime) for one in self.records})

    @property
    def areas(self) -> list[str]:
        """Areas of its cases."""
        return sorted({one.area for one in self.records})

    def of(self, area: str) -> list[Record]:
        """Return its records in an area."""
        return [one for one in self.records if one.area == area]


@dataclass
class Direction:
    """Who produces and who works, whatever the version."""

    producer: str
    worker: str
    is_control: bool
    pairings: list[Pairing]

    @property
    def title(self) -> str:
        """Name it."""
        return f"{self.producer} → {self.worker}"

    @property
    def areas(self) -> list[str]:
        """Areas of its cases."""
        return sorted({area for pairing in self.pairings for area in pairing.areas})


def count(records: Iterable[Record]) -> Counter[Outcome]:
    """Count outcomes, each for itself."""
    return Counter(one.outcome for one in records)


def worst(counts: Counter[Outcome]) -> Outcome:
    """Return the outcome that has to be seen first."""
    return next((one for one in WORST_FIRST if counts[one]), Outcome.PASSED)


def directions(records: Iterable[Record]) -> list[Direction]:
    """Sort records into directions and pairings, the tested ones first."""
    found: dict[tuple[bool, str, str], dict[str, Pairing]] = {}
    for one in records:
        producer = _family(one.producer, one.producer_version)
        worker = _family(one.worker, one.worker_version)
        pairings = found.setdefault((one.role == "control", producer, worker), {})
        label = _label(one)
        pairings.setdefault(label, Pairing(label)).records.append(one)
    return [
        Direction(
            producer=producer,
            worker=worker,
            is_control=is_control,
            pairings=sorted(pairings.values(), key=lambda pairing: _version_key(pairing.label)),
        )
        for (is_control, producer, worker), pairings in sorted(found.items())
    ]


def _family(name: str, version: str | None) -> str:
    """Return the name of an implementation without its version."""
    return name if version is None else name.removesuffix(f"-{version}")


def _label(record: Record) -> str:
    versions = [one for one in (record.producer_version, record.worker_version) if one is not None]
    return " → ".join(dict.fromkeys(versions)) or "checkout"


def _version_key(label: str) -> tuple[list[int], str]:
    return ([int(number) for number in re.findall(r"\d+", label)], label)
