"""The connections of one redis backend, and the rules for trying again when they are lost."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from celeriac.backends.redis_url import RedisTarget
from celeriac.backends.retries import ReconnectPolicy, RetryPolicy, call_with_retries
from celeriac.clock import Clock
from celeriac.exceptions import ImproperlyConfigured

__all__ = ["RedisClient"]

logger = logging.getLogger(__name__)
T = TypeVar("T")


class RedisClient:
    """A redis-py client made when first used in a process, and one connection kept for the hot path.

    Args:
        target: Where to connect.
        reconnect: How often a lost connection is tried again in `ensured`.
        patience: What `result_backend_always_retry` adds in `patiently`.
        clock: For the pauses.

    Attributes:
        errors: The module `redis.exceptions`.
        lost: What redis-py raises when the server cannot be used just now.
    """

    def __init__(
        self, target: RedisTarget, reconnect: ReconnectPolicy, patience: RetryPolicy, clock: Clock
    ) -> None:
        self._redis = _import_redis()
        self.errors: Any = self._redis.exceptions
        self.lost: tuple[type[Exception], ...] = (
            self.errors.ConnectionError,
            self.errors.TimeoutError,
            self.errors.ReadOnlyError,
            OSError,
        )
        self.target = target
        self.reconnect = reconnect
        self._patience = patience
        self._clock = clock
        self._pid = os.getpid()
        self._client: Any = None
        self._connection: Any = None
        """Of the pool, kept by `execute`."""
        self._exchanging = threading.Lock()
        """Threads that share a backend (`result_backend_thread_safe`) take turns on that connection."""

    @property
    def is_inherited(self) -> bool:
        """True in a forked child until `forget`."""
        return self._pid != os.getpid()

    @property
    def redis(self) -> Any:
        """The redis-py client."""
        if self.is_inherited:
            self.forget()
        if self._client is None:
            self._client = _connect(self._redis, self.target)
        return self._client

    def execute(self, *command: Any) -> Any:
        """Send one command over a connection kept for this: the pool's checks cost as much as the command.

        A connection that turns out to be closed, as after a long idle time, is made again once without a word.
        """
        client = self.redis
        if self.target.max_connections is not None:
            return client.execute_command(*command)  # none to spare
        with self._exchanging:
            was_used = self._connection is not None
            if self._connection is None:
                self._connection = client.connection_pool.get_connection()
            try:
                return self._exchange(command)
            except self.lost:
                if not was_used:
                    raise
            return self._exchange(command)

    def _exchange(self, command: tuple[Any, ...]) -> Any:
        is_answered = False
        try:
            self._connection.send_command(*command)
            try:
                answer = self._connection.read_response()
            except self.errors.ResponseError:
                is_answered = True
                raise
            is_answered = True
            return answer
        finally:
            # Whatever came in between, also a time limit: a late answer must not be taken for the next command's.
            if not is_answered:
                self._connection.disconnect()

    def ensured(self, fun: Callable[[], T]) -> T:
        """Call `fun`, again after each loss of the connection as `retry_policy` says."""
        attempt = 0
        while True:
            try:
                return fun()
            except self.lost as exc:
                attempt += 1
                if not self.may_retry(exc, attempt):
                    raise
            self.pause(attempt, self.reconnect.delay_s(attempt))

    def patiently(self, fun: Callable[[], T]) -> T:
        """Call `fun`, again after losses that outlast `retry_policy`, if `result_backend_always_retry` is on."""
        return call_with_retries(
            fun,
            policy=self._patience,
            is_recoverable=lambda exc: isinstance(exc, self.lost),
            sleep=self._clock.sleep,
        )

    def may_retry(self, exc: Exception, attempt: int) -> bool:
        """Tell whether retry number `attempt`, counted from 1, is allowed and of any use."""
        if isinstance(exc, self.errors.AuthenticationError | self.errors.AuthorizationError):
            return False
        return self.reconnect.allows(attempt)

    def pause(self, attempt: int, delay_s: float) -> None:
        """Say that the connection is lost, and sleep before the retry."""
        limit = self.reconnect.max_retries
        logger.error(
            "Connection to Redis lost: Retry (%s/%s) %s",
            attempt,
            "inf" if limit is None else limit,
            f"in {delay_s:.2f} seconds." if delay_s else "now.",
        )
        self._clock.sleep(delay_s)

    def close(self) -> None:
        """Close every connection; the next use opens new ones."""
        if self._client is not None and not self.is_inherited:
            self._client.close()
            self._client.connection_pool.disconnect()
        self.forget()

    def forget(self) -> None:
        """Drop connections without a word to the server, which still talks to the process that opened them."""
        self._client = self._connection = None
        self._exchanging = threading.Lock()
        self._pid = os.getpid()


def _import_redis() -> Any:
    try:
        return import_module("redis")
    except ImportError as exc:
        raise ImproperlyConfigured(
            "You need to install the redis library in order to use the Redis result store backend."
        ) from exc


def _connect(redis: Any, target: RedisTarget) -> Any:
    arguments = dict(target.arguments)
    retry_on_timeout = arguments.pop("retry_on_timeout", False)
    # Our own policy decides about retries; redis-py's would multiply with it.
    arguments["retry"] = redis.retry.Retry(
        redis.backoff.NoBackoff(), 1 if retry_on_timeout else 0, (redis.exceptions.TimeoutError,)
    )
    arguments.setdefault("protocol", 2)
    provider = arguments.get("credential_provider")
    if isinstance(provider, str):
        module, _, name = provider.rpartition(".")
        arguments["credential_provider"] = getattr(import_module(module), name)()
    if target.kind == "sentinel":
        sentinel = redis.sentinel.Sentinel(
            target.sentinels,
            min_other_sentinels=target.min_other_sentinels,
            sentinel_kwargs=target.sentinel_arguments,
            **arguments,
        )
        return sentinel.master_for(target.master_name, redis.Redis)
    connection_class = {
        "tls": redis.connection.SSLConnection,
        "unix": redis.connection.UnixDomainSocketConnection,
    }.get(target.kind, redis.connection.Connection)
    pool = redis.ConnectionPool(
        connection_class=connection_class, max_connections=target.max_connections, **arguments
    )
    return redis.Redis(connection_pool=pool)
