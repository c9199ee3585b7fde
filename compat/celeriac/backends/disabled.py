"""No result backend: nothing is stored, reading says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal, NoReturn

from celeriac.backends.base import ResultBackend
from celeriac_protocol.result import ResultMeta

__all__ = ["NOTE_ON_CHORDS", "DisabledBackend"]

_TEXT = "No result backend is configured.\nPlease see the documentation for more information."
NOTE_ON_CHORDS = (
    "\n\nNote that a group chained with a task is also upgraded to be a chord,\n"
    "as this pattern requires synchronization.\n\n"
    "Result backends that supports chords: Redis, Database, Memcached, and more."
)


class DisabledBackend(ResultBackend):
    """What an app without `result_backend` has. Spec: results-and-workflows#1.6, #2.0."""

    chords: ClassVar[Literal["native", "unlock", "refused"]] = "refused"
    no_chords_text = "Starting chords requires a result backend to be configured." + NOTE_ON_CHORDS
    persistent = False
    expires_by_itself = True
    thread_safe = True

    def store(
        self, meta: ResultMeta, *, reply_to: str | None = None, correlation_id: str | None = None
    ) -> None:
        """Do nothing: the task's outcome is not kept."""

    def fetch(self, task_id: str) -> ResultMeta:
        self._refuse()

    def exists(self, task_id: str) -> bool:
        self._refuse()

    def forget(self, task_id: str) -> None:
        self._refuse()

    def wait(
        self,
        task_ids: Iterable[str],
        *,
        timeout_s: float | None,
        interval_s: float = 0.5,
        on_meta: Callable[[ResultMeta], None],
        on_interval: Callable[[], None] | None = None,
        on_message: Callable[[ResultMeta], None] | None = None,
    ) -> None:
        self._refuse()

    def store_group(self, group_id: str, form: Any) -> None:
        self._refuse()

    def fetch_group(self, group_id: str) -> Any | None:
        self._refuse()

    def forget_group(self, group_id: str) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise NotImplementedError(_TEXT)
