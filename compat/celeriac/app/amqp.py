"""`app.amqp`: the queues and routes an app's settings describe. Spec: app-and-cli#3.2, transports#1.3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kombu import Exchange as _Exchange  # type: ignore[attr-defined]
from kombu import Queue as _Queue  # type: ignore[attr-defined]

from celeriac.app import queues as queue_types

if TYPE_CHECKING:
    from celeriac.app.app import Celery

__all__ = ["AMQP"]


Exchange: Any = _Exchange
Queue: Any = _Queue


class AMQP:
    """What an app knows about queues.

    Args:
        app: Whose settings count.
    """

    argsrepr_maxsize = 1024
    """Longest `argsrepr` header, in characters."""
    kwargsrepr_maxsize = 1024
    """Longest `kwargsrepr` header, in characters."""
    queues_cls = queue_types.Queues

    def __init__(self, app: Celery) -> None:
        self.app = app
        self._routes: Sequence[queue_types.Route] | None = None

    def Queues(  # noqa: N802 - the public name
        self,
        queues: Any,
        create_missing: bool | None = None,
        create_missing_queue_type: str | None = None,
        create_missing_queue_exchange_type: str | None = None,
        autoexchange: Any = None,
        max_priority: int | None = None,
    ) -> queue_types.Queues:
        """Make a mapping of queues from the value of `task_queues`; what is left out comes from the settings."""
        conf = self.app.conf
        if not queues and conf.task_default_queue:
            quorum = conf.task_default_queue_type == "quorum"
            queues = (
                Queue(
                    conf.task_default_queue,
                    exchange=self.default_exchange,
                    routing_key=conf.task_default_routing_key,
                    queue_arguments={"x-queue-type": "quorum"} if quorum else None,
                ),
            )
        if create_missing is None:
            create_missing = conf.task_create_missing_queues
        return self.queues_cls(
            queues,
            default_exchange=self.default_exchange,
            create_missing=create_missing,
            create_missing_queue_type=create_missing_queue_type
            or conf.task_create_missing_queue_type,
            create_missing_queue_exchange_type=create_missing_queue_exchange_type
            or conf.task_create_missing_queue_exchange_type,
            autoexchange=autoexchange or self.autoexchange,
            max_priority=conf.task_queue_max_priority if max_priority is None else max_priority,
            default_routing_key=conf.task_default_routing_key,
        )

    def autoexchange(self, name: str) -> Any:
        """Return the exchange of a queue that is made because somebody named it."""
        return Exchange(name)

    @property
    def queues(self) -> queue_types.Queues:
        """The queues, made from the settings at the first use."""
        return self._queues

    @queues.setter
    def queues(self, queues: Any) -> None:
        self._queues = self.Queues(queues)
        self.__dict__.pop("router", None)

    @cached_property
    def _queues(self) -> queue_types.Queues:
        return self.Queues(self.app.conf.task_queues)

    @property
    def default_queue(self) -> Any:
        """The queue of tasks that name none."""
        return self.queues[self.app.conf.task_default_queue]

    @cached_property
    def default_exchange(self) -> Any:
        """The exchange of queues that name none."""
        conf = self.app.conf
        return Exchange(conf.task_default_exchange, conf.task_default_exchange_type)

    @property
    def routes(self) -> Sequence[queue_types.Route]:
        """The routes of `task_routes`, as functions."""
        if self._routes is None:
            self.flush_routes()
        return self._routes or ()

    def flush_routes(self) -> None:
        """Read `task_routes` again."""
        self._routes = queue_types.prepare_routes(self.app.conf.task_routes)
        self.__dict__.pop("router", None)

    def Router(  # noqa: N802 - the public name
        self, queues: queue_types.Queues | None = None, create_missing: bool | None = None
    ) -> queue_types.Router:
        """Make a router over these queues, or the app's."""
        if create_missing is None:
            create_missing = self.app.conf.task_create_missing_queues
        return queue_types.Router(
            self.routes, self.queues if queues is None else queues, create_missing, app=self.app
        )

    @cached_property
    def router(self) -> queue_types.Router:
        """The app's router."""
        return self.Router()

    def TaskConsumer(  # noqa: N802 - the public name
        self,
        channel: Any,
        queues: Mapping[str, Any] | Sequence[Any] | None = None,
        accept: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Return a kombu consumer of these queues, or of those the worker consumes."""
        from celeriac.brokers.connections import consumer

        if queues is None:
            queues = list(self.queues.consume_from.values())
        return consumer(
            channel, accept=accept or self.app.conf.accept_content, queues=queues, **kwargs
        )

    @property
    def utc(self) -> bool:
        """The setting `enable_utc`."""
        return bool(self.app.conf.enable_utc)

    @property
    def producer_pool(self) -> Any:
        """The app's pool of kombu producers."""
        return self.app.producer_pool
