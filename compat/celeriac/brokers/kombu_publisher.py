"""Publishing through kombu: a bounded pool of connections, bodies handed through as they are.

A connection is opened when it is first needed, remembers what it has declared, and is thrown away after any error.
Publishing to an AMQP broker waits for its confirm unless `confirm_publish` is switched off in the transport options.

Spec: transports#1.5, transports#1.7, transports#2.2, task-message#1
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from kombu.entity import Exchange
from kombu.exceptions import OperationalError

from celeriac.brokers.base import Publisher
from celeriac.brokers.kombu_connection import (
    ConnectionMaker,
    abandon,
    connection_errors,
    display_url,
    is_amqp,
)
from celeriac.brokers.kombu_virtual import guarded_transport
from celeriac_protocol.message import Message, Properties

__all__ = ["KombuPublisher"]

_PERSISTENT: Final = 2
_CONFIRM_TIMEOUT_S: Final = 30.0
_ACQUIRE_TIMEOUT_S: Final = 30.0
_DEFAULT_LIMIT: Final = 10
_BEFORE_MODE: Final = ("message_id", "timestamp", "type", "user_id", "app_id", "cluster_id")
_DEFAULT_POLICY: Final[Mapping[str, Any]] = {
    "max_retries": 3,
    "interval_start": 0,
    "interval_step": 0.2,
    "interval_max": 1,
}

_inherited: list[Any] = []
"""Connections of a parent process: kept alive so that no destructor touches their sockets."""


class _Link:
    """One publishing connection; used by one thread at a time."""

    __slots__ = ("_declared", "amqp", "channel", "connection", "errors", "fresh")

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.channel: Any = connection.channel()
        self.amqp = is_amqp(connection)
        self.errors = connection_errors(connection)
        self.fresh = True
        """Nothing has been published on it yet."""
        self._declared: dict[int, Any] = {}

    def declare(self, entity: Any) -> None:
        """Declare an exchange or queue unless this connection has done so."""
        if id(entity) in self._declared:
            return
        if not getattr(entity, "no_declare", False):
            entity(self.channel).declare()
        if entity.can_cache_declaration:
            self._declared[id(entity)] = entity  # kept, so that the id stays its own

    def send(
        self,
        message: Message,
        properties: dict[str, Any],
        exchange: str,
        routing_key: str,
        options: Mapping[str, Any],
    ) -> None:
        given = message.properties
        channel = self.channel
        prepared = channel.prepare_message(
            message.body,
            given.priority,
            given.content_type,
            given.content_encoding,
            dict(message.headers),
            dict(properties),
        )
        if self.amqp:
            channel.basic_publish(
                prepared,
                exchange=exchange,
                routing_key=routing_key,
                mandatory=bool(options.get("mandatory")),
                immediate=bool(options.get("immediate")),
                timeout=options.get("timeout"),
                confirm_timeout=options.get("confirm_timeout") or _CONFIRM_TIMEOUT_S,
            )
        else:
            channel.basic_publish(prepared, exchange=exchange, routing_key=routing_key)
        self.fresh = False

    def close(self) -> None:
        self.connection.release()


class KombuPublisher(Publisher):
    """Sends messages through any kombu transport, from any thread.

    Args:
        url: Broker URL, or several joined by ``;``.
        transport_options: `broker_transport_options`; `confirm_publish` defaults to true on AMQP.
        connect_timeout: Limit for one connection attempt, in seconds.
        pool_limit: Number of connections kept and used at once; `None` or 0: a new one for each message.
        ssl: `broker_use_ssl`.
        login_method: AMQP SASL mechanism.
        failover_strategy: ``round-robin``, ``shuffle``, or a callable from the URLs to an infinite iterator.
    """

    def __init__(
        self,
        url: str,
        *,
        transport_options: Mapping[str, Any] | None = None,
        connect_timeout: float | None = 4.0,
        pool_limit: int | None = _DEFAULT_LIMIT,
        ssl: Any = None,
        login_method: str | None = None,
        failover_strategy: str | Callable[[list[str]], Iterator[str]] | None = None,
    ) -> None:
        self.url = url
        self.display_url = display_url(url)
        self._maker = ConnectionMaker(
            url,
            transport_options={"confirm_publish": True, **(transport_options or {})},
            connect_timeout_s=connect_timeout or 4.0,
            ssl=ssl,
            login_method=login_method,
            failover_strategy=failover_strategy,
            guard=guarded_transport,
        )
        self._limit = pool_limit or 0
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._idle: list[_Link] = []
        self._slots = threading.BoundedSemaphore(self._limit) if self._limit else None
        self._make_lock = threading.Lock()

    # -- publishing ------------------------------------------------------------------------------

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
        """Hand one message to the broker. See `Publisher.publish`."""
        if os.getpid() != self._pid:
            self.after_fork()
        name, mode = exchange, None
        if isinstance(exchange, Exchange):
            name, mode = exchange.name, exchange.delivery_mode
        properties = _properties(message.properties, mode)
        pauses = _pauses(retry_policy) if retry else iter(())
        deadline = _deadline(retry_policy)
        slots = self._slots
        if slots is not None and not slots.acquire(timeout=_ACQUIRE_TIMEOUT_S):
            raise OperationalError(
                f"all {self._limit} publishing connections were busy for {_ACQUIRE_TIMEOUT_S:.0f} s"
            )
        try:
            while True:
                try:
                    self._publish_once(
                        message, properties, name or "", routing_key, declare, options or {}
                    )
                except _UnreachableError as exc:
                    pause = next(pauses, None)
                    if pause is None or (deadline is not None and time.monotonic() > deadline):
                        raise OperationalError(str(exc.cause)) from exc.cause
                    if pause:
                        time.sleep(pause)
                else:
                    return
        finally:
            if slots is not None:
                slots.release()

    def _publish_once(
        self,
        message: Message,
        properties: dict[str, Any],
        exchange: str,
        routing_key: str,
        declare: Sequence[Any],
        options: Mapping[str, Any],
    ) -> None:
        while True:
            link = self._take()
            was_fresh = link.fresh
            try:
                for entity in declare:
                    link.declare(entity)
                link.send(message, properties, exchange, routing_key, options)
            except link.errors as exc:
                abandon(link.connection)
                if was_fresh:
                    raise _UnreachableError(exc) from exc
                # The connection had idled and its end went unnoticed: that is no failed attempt yet. Whatever else
                # idles is likely to be as dead, and each would cost its own time-out.
                self._abandon_idle()
                continue
            except BaseException:
                # Whatever it was (a refused declaration closes the channel), the connection may be half used.
                abandon(link.connection)
                raise
            self._give_back(link)
            return

    def _take(self) -> _Link:
        try:
            return self._idle.pop()
        except IndexError:
            pass
        with self._make_lock:
            make = self._maker.make  # one thread at a time turns the wheel of URLs
            connections = [make() for _ in self._maker.urls]
        error: Exception | None = None
        for connection in connections:
            try:
                connection._connection_factory()
                return _Link(connection)
            except Exception as exc:
                abandon(connection)
                if not isinstance(exc, (*connection.connection_errors, OSError)):
                    raise
                error = exc
        assert error is not None
        raise _UnreachableError(error) from error

    def _abandon_idle(self) -> None:
        while True:
            try:
                link = self._idle.pop()
            except IndexError:
                return
            abandon(link.connection)

    def _give_back(self, link: _Link) -> None:
        if self._limit:
            self._idle.append(link)
        else:
            link.close()

    # -- life ------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the idle connections; one in use is closed with the process."""
        while self._idle:
            self._idle.pop().close()

    def after_fork(self) -> None:
        """Start afresh in a forked child."""
        _inherited.extend(self._idle)
        self._reset()


class _UnreachableError(Exception):
    """An attempt failed in a way that another connection may cure."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(cause)
        self.cause = cause


def _properties(given: Properties, exchange_mode: int | None) -> dict[str, Any]:
    """Return kombu's mapping of properties, in the order they have on the wire."""
    properties: dict[str, Any] = {}
    if given.correlation_id is not None:
        properties["correlation_id"] = given.correlation_id
    if given.reply_to is not None:
        properties["reply_to"] = given.reply_to
    for name in _BEFORE_MODE:
        value = getattr(given, name)
        if value is not None:
            properties[name] = value
    properties.update(given.extra)
    properties["delivery_mode"] = given.delivery_mode or exchange_mode or _PERSISTENT
    if given.expiration is not None:
        properties["expiration"] = given.expiration
    return properties


def _pauses(policy: Mapping[str, Any] | None) -> Iterator[float]:
    """Yield how long to wait before each further attempt. Spec: transports#1.7."""
    policy = {**_DEFAULT_POLICY, **(policy or {})}
    pause = policy["interval_start"] or 0
    limit = policy["max_retries"]
    attempt = 0
    while limit is None or attempt < limit:
        yield max(0.0, float(pause))
        attempt += 1
        pause = min(pause + (policy["interval_step"] or 0), policy["interval_max"] or 0)


def _deadline(policy: Mapping[str, Any] | None) -> float | None:
    timeout = (policy or {}).get("timeout")
    return None if timeout is None else time.monotonic() + timeout
