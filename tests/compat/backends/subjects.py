"""The backends the contract runs on: how to make one, and what it promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kombu.connection import Connection

from celeriac.backends import BackendOptions, ResultBackend, by_url
from celeriac.brokers.base import Publisher
from celeriac_protocol.message import Message
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
    is_shared: bool = True
    """Any instance reads what any instance stored; else one instance, the sender's."""
    saves_groups: bool = True
    checks_content_type: bool = True
    made: list[ResultBackend] = field(default_factory=list)
    only_reader: ResultBackend | None = None

    def make(self, **changes: Any) -> ResultBackend:
        """Return another instance on the same store, as another process would have one."""
        backend = by_url(self.url, BackendOptions(**{**self.options, **changes}))
        self.made.append(backend)
        return backend

    def reader(self, **changes: Any) -> ResultBackend:
        """Return an instance that reads: a new one where documents are shared, else the only one that gets them."""
        if self.is_shared or changes:
            return self.make(**changes)
        if self.only_reader is None:
            self.only_reader = self.make()
        return self.only_reader

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


class DirectPublisher(Publisher):
    """Sends to a queue over a connection per message, from whatever thread or process."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.sent: list[tuple[Message, object, str]] = []

    def connect(self) -> Any:
        return Connection(self._url)  # type: ignore[no-untyped-call]

    def publish(
        self,
        message: Message,
        *,
        exchange: Any = "",
        routing_key: str = "",
        declare: Sequence[Any] = (),
        retry: bool = True,
        retry_policy: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.sent.append((message, exchange, routing_key))
        properties = message.properties
        with self.connect() as connection:
            connection.Producer(auto_declare=False).publish(
                message.body,
                exchange=exchange,
                routing_key=routing_key,
                content_type=properties.content_type,
                content_encoding=properties.content_encoding,
                headers=dict(message.headers),
                correlation_id=properties.correlation_id,
                delivery_mode=properties.delivery_mode,
                priority=properties.priority,
            )

    def close(self) -> None:
        self.sent.clear()

    def after_fork(self) -> None:
        self.sent.clear()
