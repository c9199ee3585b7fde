"""The cases aimed at a broker that somebody else runs: nothing is started but workers and producers.

What is not ours is left alone. On Redis each run takes numbered databases that are empty, marks them as taken, and
empties them again; on RabbitMQ a virtual host is made for each cell where the management plugin lets us, else the one
of the URL is used if nothing in it has the name of what the cases use. A place that is not empty is refused, unless
flushing it was allowed; other databases and virtual hosts are never touched.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import kombu.connection
import redis
from amqp.exceptions import AMQPError, NotFound, ResourceLocked

from celeriac_conformance.broker_taps import AmqpTap, RedisTap, ResultTap
from celeriac_conformance.environments import Environments
from celeriac_conformance.management import Management, ManagementError
from celeriac_conformance.matrix import Carrier, Implementation
from celeriac_conformance.processes import ManagedProcess
from celeriac_conformance.runtimes.base import (
    CannotSetUpError,
    Ground,
    WorkerOptions,
    backend_url,
)
from celeriac_conformance.runtimes.process import ProcessRuntime
from celeriac_conformance.unsupported import UnsupportedError

__all__ = ["GivenBrokerRuntime", "GivenRabbit", "GivenRedis", "broker_kind"]

CLAIM = "celeriac-conformance-claim"
"""Key, or exclusive queue, that marks a place as taken by a run."""

_CLAIM_S = 86400
_DATABASES = 16
_QUEUES = ("celery", "other", "acks", "default", *(f"celery_delayed_{n}" for n in range(28)))
_EXCHANGES = (
    *_QUEUES,
    "celeryev",
    "celery.pidbox",
    "reply.celery.pidbox",
    "celery_delayed_delivery",
)


def broker_kind(url: str) -> str:
    """Return how the matrix calls the kind of broker that a URL names.

    Raises:
        ValueError: Neither ``redis(s)://`` nor ``amqp(s)://``.
    """
    scheme = urlsplit(url).scheme
    kinds = {"redis": "redis", "rediss": "redis", "amqp": "rabbitmq", "amqps": "rabbitmq"}
    if scheme not in kinds:
        raise ValueError(f"{scheme}:// is neither redis:// nor amqp://")
    return kinds[scheme]


class GivenRedis:
    """Numbered databases of a server that is not ours.

    Args:
        url: Its URL. A database in it is the one to take; else any empty one is.
        may_flush: Take a database that is not empty, too.
    """

    def __init__(self, url: str, *, may_flush: bool) -> None:
        self._parts = urlsplit(url)
        self._may_flush = may_flush
        self._taken: list[int] = []

    def take(self, *, other: bool = False) -> str:
        """Take an empty database and return its URL; with `other` it need not be the one of the URL.

        Raises:
            CannotSetUpError: There is none, or the server cannot be reached.
        """
        named = self._parts.path.strip("/")
        wanted = [int(named)] if named and not other else range(_DATABASES)
        try:
            for database in wanted:
                if database not in self._taken and self._claim(database):
                    return self._url(database)
            if named and self._may_flush and not other:
                with redis.Redis.from_url(self._url(int(named))) as client:
                    client.flushdb()
                if self._claim(int(named)):
                    return self._url(int(named))
        except redis.RedisError as error:
            raise CannotSetUpError(f"{self._parts.hostname}: {error}") from error
        if other and self._taken:
            # A server with one database carries both: their keys are not the same.
            return self._url(self._taken[0])
        raise CannotSetUpError(
            f"{self._parts.hostname}: no empty database among {', '.join(map(str, wanted))}; "
            "with --allow-flush the one that the URL names is emptied"
        )

    def give_back(self) -> None:
        """Empty the databases that were taken: they were empty, or allowed to be flushed."""
        for database in self._taken:
            with redis.Redis.from_url(self._url(database)) as client:
                client.flushdb()
        self._taken.clear()

    def _claim(self, database: int) -> bool:
        with redis.Redis.from_url(self._url(database)) as client:
            try:
                size: Any = client.dbsize()
            except redis.ResponseError:
                # Fewer databases than usual.
                return False
            if size or not client.set(CLAIM, str(uuid.uuid4()), nx=True, ex=_CLAIM_S):
                return False
            if client.dbsize() != 1:
                # Somebody began to use it meanwhile.
                client.delete(CLAIM)
                return False
        self._taken.append(database)
        return True

    def _url(self, database: int) -> str:
        return urlunsplit(self._parts._replace(path=f"/{database}"))


class GivenRabbit:
    """Virtual hosts of a node that is not ours.

    Args:
        url: AMQP URL.
        management: Its management interface, where it can be reached.
        may_flush: Use a virtual host that holds queues of the names that the cases use, and delete those.
    """

    def __init__(self, url: str, management: Management | None, *, may_flush: bool) -> None:
        self.url = url
        self.management = management
        self._may_flush = may_flush
        self._made: str | None = None
        self._claim: Any = None
        self._foreign: set[str] = set()
        self._own_queues: set[str] = set()

    def take(self) -> AmqpTap:
        """Make a place for a cell.

        Raises:
            CannotSetUpError: Nothing can be made, and the given virtual host is in use.
        """
        if self.management is None:
            self._take_given()
            return AmqpTap(self.url, _count_nothing)
        management, vhost = self.management, f"celeriac-conformance-{uuid.uuid4()}"
        parts = urlsplit(self.url)
        try:
            management.add_vhost(vhost, unquote(parts.username or "guest"))
        except ManagementError as error:
            raise CannotSetUpError(str(error)) from error
        self._made = vhost
        return AmqpTap(
            urlunsplit(parts._replace(path=f"/{quote(vhost, safe='')}")),
            lambda queue: management.unacked(vhost, queue),
            switch_tracing_on=lambda: management.trace(vhost),
        )

    def note_queues(self, queues: Iterable[str]) -> None:
        """Remember queues that a worker of ours is about to declare."""
        self._own_queues.update(queues)

    def give_back(self) -> None:
        """Remove what was made."""
        if self._made is not None and self.management is not None:
            self.management.delete_vhost(self._made)
            self._made = None
        if self._claim is not None:
            self._delete({*_QUEUES, *self._own_queues}, {*_EXCHANGES, *self._own_queues})
            self._claim.release()
            self._claim = None
        self._own_queues.clear()

    def _take_given(self) -> None:
        connect: Any = kombu.connection.Connection
        self._claim = connect(self.url)
        try:
            self._claim.default_channel.queue_declare(CLAIM, exclusive=True, auto_delete=True)
        except ResourceLocked as error:
            self._claim.release()
            self._claim = None
            raise CannotSetUpError("another run uses this virtual host: run without -n") from error
        except (AMQPError, OSError) as error:
            raise CannotSetUpError(f"{urlsplit(self.url).hostname}: {error}") from error
        queues = {name for name in _QUEUES if self._exists(_queue_is_there, name)}
        if queues and not self._may_flush:
            self._claim.release()
            self._claim = None
            raise CannotSetUpError(
                f"the virtual host has queues {', '.join(sorted(queues))} already: give one without, the URL of "
                "the management plugin (--management-url), or --allow-flush to have them deleted"
            )
        self._delete(queues, set())
        self._foreign = {name for name in _EXCHANGES if self._exists(_exchange_is_there, name)}

    def _exists(self, look: Callable[[Any, str], object], name: str) -> bool:
        channel = self._claim.channel()
        try:
            look(channel, name)
        except NotFound:
            # The broker closed the channel with its answer.
            return False
        channel.close()
        return True

    def _delete(self, queues: set[str], exchanges: set[str]) -> None:
        with self._claim.channel() as channel:
            for name in sorted(queues):
                channel.queue_delete(name)
            for name in sorted(exchanges - self._foreign):
                channel.exchange_delete(name)


def _queue_is_there(channel: Any, name: str) -> None:
    channel.queue_declare(name, passive=True)


def _exchange_is_there(channel: Any, name: str) -> None:
    channel.exchange_declare(name, "direct", passive=True)


def _count_nothing(queue: str) -> int:
    raise UnsupportedError(
        "held messages are counted by the management plugin, which was not found: --management-url"
    )


class GivenBrokerRuntime(ProcessRuntime):
    """Workers and producers as processes, with a broker (and result store) that is not ours.

    Args:
        environments: Where interpreters come from.
        progress: Told one line whenever something slow starts.
        broker_url: ``redis://`` or ``amqp://``.
        backend_url: ``redis://`` for results where the broker is RabbitMQ, or elsewhere than it; None for there.
        management_url: Of RabbitMQ's management plugin; None: its usual place is tried.
        may_flush: Take places that are not empty.
    """

    def __init__(
        self,
        environments: Environments,
        progress: Callable[[str], None],
        broker_url: str,
        *,
        backend_url: str | None = None,
        management_url: str | None = None,
        may_flush: bool = False,
    ) -> None:
        super().__init__(environments, progress)
        self.kind = broker_kind(broker_url)
        self._redis_broker: GivenRedis | None = None
        self._rabbit_broker: GivenRabbit | None = None
        if self.kind == "redis":
            self._redis_broker = GivenRedis(broker_url, may_flush=may_flush)
        else:
            management = _find_management(broker_url, management_url, progress)
            self._rabbit_broker = GivenRabbit(broker_url, management, may_flush=may_flush)
        self._results = (
            self._redis_broker
            if backend_url is None
            else GivenRedis(backend_url, may_flush=may_flush)
        )

    def offers(self, carrier: Carrier) -> bool:
        """Say whether a carrier can be made of what was given."""
        if carrier.broker != self.kind:
            return False
        return carrier.backend in ("rpc", "database") or (
            carrier.backend == "redis" and self._results is not None
        )

    def open_ground(self, carrier: Carrier, name: str) -> Ground:
        if not self.offers(carrier):
            raise CannotSetUpError(f"the given URLs offer no {carrier.name}")
        self._give_back()
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        tap: RedisTap | AmqpTap
        if self._redis_broker is not None:
            tap = RedisTap(self._redis_broker.take())
        else:
            assert self._rabbit_broker is not None
            tap = self._rabbit_broker.take()
        results = None
        url = backend_url(carrier.backend, folder)
        if carrier.backend == "redis":
            assert self._results is not None
            url = self._results.take(other=self._results is self._redis_broker)
            results = ResultTap(url)
        ground = Ground(tap.url, url, tap, results, folder, dict(carrier.settings))
        self._grounds.append(ground)
        return ground

    def start_worker(
        self, implementation: Implementation, ground: Ground, options: WorkerOptions
    ) -> ManagedProcess:
        if self._rabbit_broker is not None:
            self._rabbit_broker.note_queues(options.queues)
        return super().start_worker(implementation, ground, options)

    def close(self, *, keep_logs: bool = False) -> None:
        self._give_back()
        super().close(keep_logs=keep_logs)

    def _give_back(self) -> None:
        """The cell before is through: its place is emptied."""
        for ground in self._grounds:
            ground.broker.close()
            if ground.results is not None:
                ground.results.close()
        self._grounds.clear()
        for place in {self._redis_broker, self._rabbit_broker, self._results}:
            if place is not None:
                place.give_back()


def _find_management(
    broker_url: str, given: str | None, progress: Callable[[str], None]
) -> Management | None:
    """Return the management interface, if there is one that answers.

    Raises:
        CannotSetUpError: It was given and does not answer.
    """
    parts = urlsplit(broker_url)
    credentials = f"{parts.username or 'guest'}:{parts.password or 'guest'}"
    found = Management(given or f"http://{credentials}@{parts.hostname}:15672")
    try:
        found.check()
    except ManagementError as error:
        if given is not None:
            raise CannotSetUpError(str(error)) from error
        progress("no management plugin: held messages cannot be counted, nor messages traced")
        return None
    return found
