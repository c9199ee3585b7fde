"""Cases: test functions with an id that is stable for ever.

```python
@case("retries/keeps-task-id", spec="task-message#7.2")
def test_a_retry_is_published_under_the_same_id(exchange: Exchange) -> None: ...

@case("compression/{method}", spec="task-message#6.4", each={"method": ["gzip", "bzip2"]})
def test_a_compressed_body_is_read(exchange: Exchange, method: str) -> None: ...
```
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

__all__ = ["CASE_ATTRIBUTE", "Case", "case", "version_tuple"]

CASE_ATTRIBUTE = "conformance_case"

_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*/[a-z0-9{][a-z0-9{}_]*(-[a-z0-9{}_]+)*")
_Function = TypeVar("_Function", bound=Callable[..., None])


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a case says about itself."""

    template: str
    """Its id; names in braces are filled from the parameters of `each`."""
    spec: str
    """Sections of the specification it checks."""
    since: str
    """First Celery version that behaves so; older peers make it unsupported."""
    until: str | None
    """Last Celery version that behaves so (with all its patch releases, where it names none)."""
    needs: frozenset[str]
    """Carrier features it cannot do without."""
    has_control: bool
    """False where real Celery is known to fail: then only tested cells run it."""

    def not_in(self, version: str) -> str | None:
        """Say why a version of Celery does not behave so, or return None when it does."""
        if version_tuple(version) < version_tuple(self.since):
            return f"is older than {self.since}"
        if self.until is not None:
            last = version_tuple(self.until)
            if version_tuple(version)[: len(last)] > last:
                return f"is newer than {self.until}"
        return None

    def id_for(self, parameters: Mapping[str, object]) -> str:
        """Return the id of the case with these parameters."""
        return self.template.format_map({name: _slug(value) for name, value in parameters.items()})


def _slug(value: object) -> str:
    """Write a parameter the way it stands in a case id."""
    return re.sub(r"[^a-z0-9]+", "-", str(value).lower()).strip("-")


def version_tuple(version: str) -> tuple[int, ...]:
    """Return a version as numbers to compare; anything after the numbers is ignored."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def case(
    case_id: str,
    *,
    spec: str,
    since: str = "4.0",
    until: str | None = None,
    needs: Sequence[str] = (),
    control: bool = True,
    each: Mapping[str, Sequence[object]] | None = None,
) -> Callable[[_Function], _Function]:
    """Make a test function a conformance case.

    Args:
        case_id: ``area/kebab-name``, never to change once published.
        spec: Sections, as ``document#section``, separated by blanks.
        since: First Celery version with this behaviour.
        until: Last Celery version with it; ``5.5`` means 5.5 with all its patch releases.
        needs: Features of the carrier, as `matrix.toml` names them.
        control: Whether real Celery, as the worker, is expected to pass.
        each: Parameters and their values; every value is a case of its own.

    Raises:
        ValueError: The id is not of the form ``area/kebab-name``.
    """
    if not _ID.fullmatch(case_id):
        raise ValueError(f"case id {case_id!r}: expected area/kebab-name")

    def mark(function: _Function) -> _Function:
        described: Any = function
        setattr(
            described,
            CASE_ATTRIBUTE,
            Case(
                template=case_id,
                spec=spec,
                since=since,
                until=until,
                needs=frozenset(needs),
                has_control=control,
            ),
        )
        for name, values in (each or {}).items():
            described = pytest.mark.parametrize(name, values, ids=_slug)(described)
        result: _Function = described
        return result

    return mark
