"""What the tasks wrote down: one JSON line per run, in the order of the runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celeriac_conformance.drivers import typed_values
from celeriac_conformance.unsupported import Offered

__all__ = ["Entry", "Journal"]

_POLL_S = 0.03


@dataclass(frozen=True)
class Entry:
    """One line of the journal."""

    event: str
    """``run`` at the start of a run; others as the task says."""
    task: str
    id: str | None
    pid: int
    time: float
    """Seconds since the epoch, by the worker's clock."""
    request: Offered
    """What the implementation tells its tasks of their call; a field it does not offer is *unsupported*."""
    extra: dict[str, Any]

    @property
    def parent_id(self) -> str | None:
        """Id of the task that sent this one."""
        parent: str | None = self.request["parent_id"]
        return parent

    @property
    def retries(self) -> int:
        """How many times this call had been retried."""
        retries: int = self.request["retries"]
        return retries


class Journal:
    """Reads the journal file of one cell; lines are only ever added to it.

    Args:
        path: The file.
        patience_s: How long `wait` waits where a case does not say.
    """

    def __init__(self, path: Path, patience_s: float = 20.0) -> None:
        self.path = path
        self.patience_s = patience_s
        self._offset = 0
        self._entries: list[Entry] = []

    def entries(self, **wanted: object) -> list[Entry]:
        """Return the entries so far whose attributes equal `wanted`, in order."""
        self._read()
        return [
            entry
            for entry in self._entries
            if all(getattr(entry, name) == value for name, value in wanted.items())
        ]

    def runs(self, task_id: str) -> list[Entry]:
        """Return the runs of one task id so far."""
        return self.entries(event="run", id=task_id)

    def wait(
        self,
        count: int = 1,
        *,
        timeout_s: float | None = None,
        check: Callable[[], None] | None = None,
        **wanted: object,
    ) -> list[Entry]:
        """Wait until at least `count` entries match, and return them.

        Raises:
            AssertionError: They did not come in time; the message lists what came.
        """
        patience_s = self.patience_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + patience_s
        while len(found := self.entries(**wanted)) < count:
            if check is not None:
                check()
            if time.monotonic() > deadline:
                last = [(entry.event, entry.task, entry.id) for entry in self._entries[-10:]]
                raise AssertionError(
                    f"journal: expected {count} entries with {wanted}, found {len(found)} after {patience_s} s; "
                    f"the last entries are {last}"
                )
            time.sleep(_POLL_S)
        return found

    def _read(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("rb") as stream:
            stream.seek(self._offset)
            data = stream.read()
        complete = data.rfind(b"\n") + 1
        self._offset += complete
        for line in data[:complete].splitlines():
            fields = typed_values.decode(json.loads(line))
            self._entries.append(
                Entry(
                    event=fields["event"],
                    task=fields["task"],
                    id=fields["id"],
                    pid=fields["pid"],
                    time=fields["time"],
                    request=Offered(fields["request"], "the worker tells its tasks no"),
                    extra=fields["extra"],
                )
            )
