"""The backends the contract runs on: how to make one, and what it promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from celeriac.backends import BackendOptions, ResultBackend, by_url
from celeriac_protocol.result import ResultMeta


@dataclass
class Subject:
    """One kind of backend under test; `make` gives instances that share one store."""

    name: str
    url: str
    options: dict[str, Any] = field(default_factory=dict)
    reply_to: str | None = None
    """Where a worker sends replies; only rpc reads it."""
    keeps_success: bool = True
    saves_groups: bool = True
    compresses: bool = True
    made: list[ResultBackend] = field(default_factory=list)

    def make(self, **changes: Any) -> ResultBackend:
        """Return another instance on the same store, as another process would have one."""
        backend = by_url(self.url, BackendOptions(**{**self.options, **changes}))
        self.made.append(backend)
        return backend

    def store(self, meta: ResultMeta, backend: ResultBackend | None = None) -> None:
        """Store as the worker that ran the task does."""
        (backend or self.make()).store(meta, reply_to=self.reply_to, correlation_id=meta.task_id)

    def close(self) -> None:
        for backend in self.made:
            backend.close()


def wait_for(backend: ResultBackend, *task_ids: str, **options: Any) -> dict[str, ResultMeta]:
    """Wait for all ids and return what came."""
    found: dict[str, ResultMeta] = {}

    def keep(meta: ResultMeta) -> None:
        assert meta.task_id not in found, "handed over twice"
        found[meta.task_id] = meta

    backend.wait(task_ids, **{"timeout_s": 20, "interval_s": 0.05, **options, "on_meta": keep})
    return found


MakeSubject = Callable[[], Subject]
