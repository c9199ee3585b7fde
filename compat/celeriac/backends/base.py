"""The result backend port.

Documents are `celeriac_protocol.result.ResultMeta`; a backend owns keys, bytes and waiting, and nothing else: what a
state means, how an exception looks and who is told about it is decided by its callers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from celeriac.clock import Clock, SystemClock

if TYPE_CHECKING:
    from celeriac.backends.rpc import ReplyConsumer
    from celeriac.brokers.base import Publisher
    from celeriac_protocol.result import ResultMeta

__all__ = ["BackendOptions", "ChordPart", "ChordState", "ResultBackend"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendOptions:
    """Settings a backend may use; made by the app from its configuration, so that nothing here reaches up."""

    serializer: str = "json"
    accept: frozenset[str] = frozenset({"application/json"})
    """Content types accepted when reading."""
    expires_s: float | None = 86400.0
    """Time to live of documents in seconds; `None` or 0: for ever."""
    failure_expires_s: float | None = None
    chord_expires_s: float | None = None
    compression: str | None = None
    extended: bool = False
    persistent: bool = False
    """rpc: delivery mode 2."""
    timezone_now: Callable[[], Any] | None = None
    transport_options: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    """Everything else, by setting name (`database_table_names`, `redis_socket_timeout`, …)."""
    publisher: Publisher | None = None
    """rpc only: how replies are sent."""
    broker_url: str | None = None
    """rpc only: where the client waits for replies, unless `reply_consumer` says how."""
    reply_consumer: Callable[[str, float | None], ReplyConsumer] | None = None
    """rpc only: makes what receives replies, from the queue's name and its time to live in seconds. The app gives one
    that knows its TLS, login and transport settings."""
    oid: Callable[[], str] | None = None
    """rpc only: name of this thread's reply queue."""
    chord_join_timeout_s: float = 3.0
    clock: Clock = field(default_factory=SystemClock)
    """For time to live, polling and the pauses between retries."""

    def transport(self, name: str, default: Any = None) -> Any:
        """Return one of `result_backend_transport_options`."""
        return self.transport_options.get(name, default)

    def setting(self, name: str, default: Any = None) -> Any:
        """Return a setting by its name; one that is absent or `None` has the default."""
        value = self.settings.get(name)
        return default if value is None else value


@dataclass(frozen=True, slots=True)
class ChordPart:
    """One finished header task. `result` is the encoded value or exception mapping, as in a result document."""

    task_id: str
    state: str
    result: Any
    group_index: int | None


@dataclass(frozen=True, slots=True)
class ChordState:
    """All parts are in: the caller that receives this sends the body, then calls `finish_chord`."""

    parts: tuple[ChordPart, ...]
    """In header order."""
    token: str | None = None
    """Proof of the claim to send the body, for `renew_chord` and `finish_chord`."""
    group: Any | None = None
    """Tuple form of the saved header group, when the header holds nested groups: the body's argument then has its
    shape, filled from the members' documents (see `celeriac.backends.chords.chord_values`)."""


class ResultBackend(ABC):
    """Stores and finds result documents.

    Instances are used by one thread at a time; the app keeps one per thread unless `thread_safe`.
    """

    chords: ClassVar[Literal["native", "unlock", "refused"]]
    """How chords complete here: counted by the store, polled by `celery.chord_unlock`, or not at all."""
    no_chords_text: ClassVar[str] = ""
    """Text of the `NotImplementedError` that starting a chord raises where `chords` is ``refused``."""
    supports_native_join: ClassVar[bool] = False
    """True: one `wait` serves all members of a group, and a failed member is noticed as soon as it is there."""
    expires_by_itself: ClassVar[bool] = False
    persistent: ClassVar[bool] = True
    """False: documents cannot be read again by others (rpc)."""
    thread_safe: ClassVar[bool] = False

    def __init__(self, url: str, options: BackendOptions) -> None:
        self.url = url
        self.options = options

    @abstractmethod
    def store(
        self, meta: ResultMeta, *, reply_to: str | None = None, correlation_id: str | None = None
    ) -> None:
        """Replace the document of `meta.task_id`; a stored SUCCESS is final and silently wins.

        Raises:
            BackendStoreError: The store stayed unreachable, or refused the document.
            EncodeError: The value cannot be encoded; nothing was written.
        """

    @abstractmethod
    def fetch(self, task_id: str) -> ResultMeta:
        """Return the document, or one with status PENDING when there is none.

        Raises:
            BackendGetMetaError: The store stayed unreachable.
            RemoteProtocolError: What is stored cannot be read: content type refused, undecodable, no document.
        """

    def fetch_many(self, task_ids: Sequence[str]) -> dict[str, ResultMeta]:
        """Return the documents of all ids."""
        return {task_id: self.fetch(task_id) for task_id in task_ids}

    @abstractmethod
    def forget(self, task_id: str) -> None:
        """Delete the document if there is one."""

    def exists(self, task_id: str) -> bool:
        """Tell whether a document is stored."""
        return self.fetch(task_id).status != "PENDING"

    def expect(self, task_id: str) -> None:
        """Prepare to wait for a task that is about to be published (declare the reply queue). Cheap and bounded."""

    @abstractmethod
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
        """Block until every id has a READY document, calling `on_meta` once for each as it becomes ready.

        Args:
            task_ids: What to wait for; repeated ids count once.
            timeout_s: Seconds; `None`: for ever; 0: look once.
            interval_s: Longest pause between looks and between calls of `on_interval`.
            on_meta: Gets each READY document. An error it raises ends the wait.
            on_interval: Called about every `interval_s` while waiting. An error it raises ends the wait.
            on_message: Gets every document seen, unready ones too; only stores that push documents call it.

        Raises:
            TimeoutError: `celeriac.exceptions.TimeoutError` after `timeout_s`.
            BackendGetMetaError: The store stayed unreachable.
        """

    def store_group(self, group_id: str, form: Any) -> None:
        """Keep the tuple form of a group result. Raises `NotImplementedError` where the store cannot."""
        raise NotImplementedError("save_group is not supported by this backend.")

    def fetch_group(self, group_id: str) -> Any | None:
        """Return the tuple form of a saved group, or `None`."""
        raise NotImplementedError("restore_group is not supported by this backend.")

    def forget_group(self, group_id: str) -> None:
        """Delete a saved group."""
        raise NotImplementedError("delete_group is not supported by this backend.")

    def start_chord(self, group_id: str, size: int) -> None:
        """Native chords: note the number of parts, before the last header task is sent.

        A no-op where `chords` is not ``native``.
        """

    def add_chord_part(
        self, group_id: str, part: ChordPart, *, size_hint: int | None = None
    ) -> ChordState | None:
        """Native chords: count one part exactly once; return the state to the one caller that completes the chord.

        `size_hint` is the size carried by the chord body of Celery 4.4/5.0 senders.
        """
        return None

    def renew_chord(self, group_id: str, token: str | None) -> bool:
        """Native chords: keep the claim while the body is being sent; False when another worker has taken it."""
        return True

    def extend_chord(self, group_id: str, extra: int = 1) -> None:
        """Native chords: `add_to_chord` adds parts."""
        raise NotImplementedError("Backend does not support add_to_chord")

    def finish_chord(self, group_id: str, *, ok: bool, token: str | None = None) -> None:
        """Native chords: delete the bookkeeping after the body was sent (`ok`) or failed."""

    def cleanup(self) -> int:
        """Delete expired documents where they do not expire by themselves; return how many."""
        return 0

    def process_cleanup(self) -> None:
        """Called after every task in the process that ran it."""

    def close(self) -> None:
        """Release connections and subscriptions."""

    def after_fork(self) -> None:
        """Forget inherited connections without touching their sockets."""
