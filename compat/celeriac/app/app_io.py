"""How an app reaches its broker and its result backend. Mixed into `Celery`. Spec: app-and-cli#3.2, #11.7."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import NAMESPACE_OID, getnode, uuid3

from celeriac.app.settings_table import SETTINGS
from celeriac.app.state import get_current_task, get_current_worker_task
from celeriac.brokers.base import Publisher

if TYPE_CHECKING:
    from celeriac.app.loader import BaseLoader
    from celeriac.app.settings import Settings
    from celeriac.backends.base import BackendOptions, ResultBackend
    from celeriac.signals import Signal

__all__ = ["AppConnections", "process_oid"]

_BACKEND_GROUPS = (
    "arangodb_",
    "azureblockblob_",
    "cache_",
    "cassandra_",
    "cosmosdbsql_",
    "couchbase_",
    "database_",
    "elasticsearch_",
    "gcs_",
    "mongodb_",
    "override_backends",
    "redis_",
    "result_",
    "s3_",
)
_BACKEND_SETTINGS = tuple(row.name for row in SETTINGS if row.name.startswith(_BACKEND_GROUPS))


def process_oid(thread_id: int, app: object) -> str:
    """Return the name under which a thread of this process listens for results. Spec: task-message#1.3."""
    text = f"{getnode():x}-{os.getpid():x}-{thread_id:x}-{id(app):x}"
    return str(uuid3(NAMESPACE_OID, text))


class AppConnections:
    """The part of `Celery` that talks to the outside."""

    backend_cls: Any
    on_after_fork: Signal
    _per_thread: Any
    _shared_backend: ResultBackend | None
    _backends: list[ResultBackend]
    _publisher: Publisher | None
    _io_lock: threading.RLock

    if TYPE_CHECKING:

        @property
        def conf(self) -> Settings:
            """The settings."""

        @property
        def loader(self) -> BaseLoader:
            """The loader."""

        @property
        def amqp(self) -> Any:
            """Queues and routes."""

        def now(self) -> Any:
            """The time."""

        def either(self, default_key: str, *defaults: Any) -> Any:
            """First value, or a setting."""

    # -- names of this process ---------------------------------------------------------------------

    @property
    def oid(self) -> str:
        """Id of this app in this process."""
        return process_oid(0, self)

    @property
    def thread_oid(self) -> str:
        """Id of this app in this thread: its reply queue."""
        known: tuple[int, str] | None = getattr(self._per_thread, "oid", None)
        pid = os.getpid()
        if known is None or known[0] != pid:
            known = (pid, process_oid(threading.get_ident(), self))
            self._per_thread.oid = known
        return known[1]

    # -- result backend ----------------------------------------------------------------------------

    @property
    def backend(self) -> ResultBackend:
        """The result backend: one per thread, unless it may be shared."""
        if self._shared_backend is not None:
            return self._shared_backend
        found: ResultBackend | None = getattr(self._per_thread, "backend", None)
        if found is None:
            found = self._get_backend()
            with self._io_lock:
                self._backends.append(found)
            if found.thread_safe or self.conf.result_backend_thread_safe:
                self._shared_backend = found
            else:
                self._per_thread.backend = found
        return found

    @backend.setter
    def backend(self, backend: ResultBackend) -> None:
        self._shared_backend = backend

    def _get_backend(self) -> ResultBackend:
        from celeriac.backends import by_url

        return by_url(self.backend_cls or self.conf.result_backend, self.backend_options())

    def backend_options(self) -> BackendOptions:
        """Return what the result backend may know of the settings."""
        from celeriac.backends.base import BackendOptions
        from celeriac_protocol.serializers import accept_set

        conf = self.conf
        accept = conf.result_accept_content
        settings = {name: conf.get(name) for name in _BACKEND_SETTINGS}
        settings["override_backends"] = {
            **self.loader.override_backends,
            **(settings["override_backends"] or {}),
        }
        return BackendOptions(
            serializer=conf.result_serializer,
            accept=accept_set(conf.accept_content if accept is None else accept),
            expires_s=_seconds(conf.result_expires),
            failure_expires_s=_seconds(conf.result_failure_expires),
            chord_expires_s=_seconds(conf.result_chord_expires),
            compression=conf.result_compression,
            extended=bool(conf.result_extended),
            persistent=bool(conf.result_persistent),
            timezone_now=self.now,
            transport_options=dict(conf.result_backend_transport_options),
            settings=settings,
            publisher=_LazyPublisher(self),
            broker_url=self.broker_url_for(self.conf.broker_read_url),
            oid=lambda: self.thread_oid,
            chord_join_timeout_s=conf.result_chord_join_timeout,
        )

    # -- broker ------------------------------------------------------------------------------------

    def broker_url_for(self, url: Any = None) -> str:
        """Return a broker URL as one text.

        Args:
            url: URL or list of them; `None`: made of the settings `broker_host`, `broker_user` and so on, which by
                default is a RabbitMQ server on this machine.
        """
        conf = self.conf
        transport = conf.broker_transport
        if isinstance(url, list | tuple):
            url = ";".join(url)
        if not url or "://" not in url:
            host = url or conf.broker_host or "localhost"
            login = ""
            if conf.broker_user:
                login = f"{quote(conf.broker_user, safe='')}:{quote(conf.broker_password or '', safe='')}@"
            port = f":{conf.broker_port}" if conf.broker_port else ""
            vhost = quote(conf.broker_vhost, safe="") if conf.broker_vhost else "/"
            return f"{transport or 'amqp'}://{login}{host}{port}/{vhost}"
        if transport:
            return ";".join(f"{transport}://{part.partition('://')[2]}" for part in url.split(";"))
        return str(url)

    @property
    def publisher(self) -> Publisher:
        """What messages are sent through: a pool of publishing connections, shared by all threads."""
        if self._publisher is None:
            with self._io_lock:
                if self._publisher is None:
                    self._publisher = self._new_publisher()
        return self._publisher

    @publisher.setter
    def publisher(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def _new_publisher(self) -> Publisher:
        from celeriac.brokers.kombu import KombuPublisher

        conf = self.conf
        return KombuPublisher(
            self.broker_url_for(conf.broker_write_url),
            transport_options=dict(conf.broker_transport_options),
            connect_timeout=conf.broker_connection_timeout,
            pool_limit=conf.broker_pool_limit,
            ssl=conf.broker_use_ssl,
            login_method=conf.broker_login_method,
        )

    def connection_for_read(self, url: Any = None, **kwargs: Any) -> Any:
        """Return a `kombu.Connection` for consuming; not opened yet."""
        return self._connection(url or self.conf.broker_read_url, **kwargs)

    def connection_for_write(self, url: Any = None, **kwargs: Any) -> Any:
        """Return a `kombu.Connection` for publishing; not opened yet."""
        return self._connection(url or self.conf.broker_write_url, **kwargs)

    def connection(
        self,
        hostname: Any = None,
        userid: str | None = None,
        password: str | None = None,
        virtual_host: str | None = None,
        port: int | None = None,
        ssl: Any = None,
        connect_timeout: float | None = None,
        transport: str | None = None,
        transport_options: dict[str, Any] | None = None,
        heartbeat: float | None = None,
        login_method: str | None = None,
        failover_strategy: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Return a `kombu.Connection`; what is left out comes from the settings."""
        return self._connection(
            hostname or self.conf.broker_write_url,
            userid=userid,
            password=password,
            virtual_host=virtual_host,
            port=port,
            ssl=ssl,
            connect_timeout=connect_timeout,
            transport=transport,
            transport_options=transport_options,
            heartbeat=heartbeat,
            login_method=login_method,
            failover_strategy=failover_strategy,
            **kwargs,
        )

    broker_connection = connection

    def _connection(
        self,
        url: Any,
        *,
        transport_options: dict[str, Any] | None = None,
        heartbeat: float | None = None,
        **options: Any,
    ) -> Any:
        from celeriac.brokers.connections import connect

        conf = self.conf
        for name in ("ssl", "login_method", "failover_strategy"):
            setting = "broker_use_ssl" if name == "ssl" else f"broker_{name}"
            options[name] = self.either(setting, options.get(name))
        timeout = options.pop("connect_timeout", None)
        given = {name: value for name, value in options.items() if value is not None}
        return connect(
            self.broker_url_for(url),
            connect_timeout=self.either("broker_connection_timeout", timeout),
            heartbeat=heartbeat,
            transport_options={**conf.broker_transport_options, **(transport_options or {})},
            **given,
        )

    @property
    def pool(self) -> Any:
        """Pool of `kombu.Connection` for publishing."""
        from celeriac.brokers.connections import connection_pool

        return connection_pool(self.connection_for_write(), self.conf.broker_pool_limit)

    @property
    def producer_pool(self) -> Any:
        """Pool of `kombu.Producer`."""
        from celeriac.brokers.connections import producer_pool

        return producer_pool(self.connection_for_write(), self.conf.broker_pool_limit)

    @contextmanager
    def connection_or_acquire(
        self, connection: Any = None, pool: bool = True, *_: Any, **__: Any
    ) -> Iterator[Any]:
        """Yield `connection`, or one from the pool (a new one, without `pool`) for the time of the block."""
        if connection is not None:
            yield connection
            return
        with self.pool.acquire(block=True) if pool else self.connection_for_write() as acquired:
            yield acquired

    default_connection = connection_or_acquire

    @contextmanager
    def producer_or_acquire(self, producer: Any = None) -> Iterator[Any]:
        """Yield `producer`, or one from the pool for the time of the block."""
        if producer is not None:
            yield producer
            return
        with self.producer_pool.acquire(block=True) as acquired:
            yield acquired

    default_producer = producer_or_acquire

    def select_queues(self, queues: Any = None) -> None:
        """Let a worker of this app consume these queues only."""
        self.amqp.queues.select(queues)

    # -- what runs here ----------------------------------------------------------------------------

    @property
    def current_task(self) -> Any:
        """The task that runs in this thread, or `None`."""
        return get_current_task()

    @property
    def current_worker_task(self) -> Any:
        """The innermost task that was not called like a function, or `None`."""
        return get_current_worker_task()

    # -- ending ------------------------------------------------------------------------------------

    def after_fork(self) -> None:
        """Forget, in a forked child, every connection of the parent, without touching its sockets."""
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.after_fork()
        backends, self._backends = self._backends, []
        self._io_lock = threading.RLock()  # another thread of the parent may have held it
        self._per_thread = threading.local()
        self._shared_backend = None
        for backend in backends:
            backend.after_fork()
        connections = sys.modules.get("celeriac.brokers.connections")
        if connections is not None:  # else there are no pools, and a fork is no time to import
            connections.reset_pools()
        self.on_after_fork.send(sender=self)

    def close_connections(self) -> None:
        """Close the publisher and every backend; the next use opens new ones."""
        with self._io_lock:
            publisher, self._publisher = self._publisher, None
            backends, self._backends = self._backends, []
            self._per_thread = threading.local()
            self._shared_backend = None
        if publisher is not None:
            publisher.close()
        for backend in backends:
            backend.close()


class _LazyPublisher(Publisher):
    """The app's publisher, made when a backend first sends through it."""

    def __init__(self, app: AppConnections) -> None:
        self._app = app

    def publish(self, *args: Any, **kwargs: Any) -> None:
        self._app.publisher.publish(*args, **kwargs)

    def close(self) -> None:
        """Do nothing: the publisher belongs to the app."""

    def after_fork(self) -> None:
        """Do nothing: the app sees to its publisher itself."""


def _seconds(value: float | timedelta | None) -> float | None:
    return value.total_seconds() if isinstance(value, timedelta) else value
