"""Making kombu connections the way the broker and the publisher need them, and naming what goes wrong with them.

Spec: transports#1.9, transports#6
"""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final

import kombu
from kombu.exceptions import OperationalError
from kombu.utils.url import maybe_sanitize_url

from celeriac.brokers.base import BrokerAccessError, BrokerError, BrokerLostError

__all__ = [
    "BrokerErrors",
    "ConnectionMaker",
    "abandon",
    "connection_errors",
    "display_url",
    "is_amqp",
]

logger = logging.getLogger(__name__)

_kombu: Any = kombu

_REFUSED_CODES: Final = frozenset({403, 406, 530})
"""access-refused, precondition-failed (another declaration), not-allowed (virtual host)."""
_RETRY_KEYS: Final = frozenset(
    {"max_retries", "interval_start", "interval_step", "interval_max", "connect_retries_timeout"}
)
_CALL_DEADLINE_S: Final = 30.0
"""A broker that does not answer a synchronous call for so long counts as lost."""
_AMQP_SCHEMES: Final = frozenset({"amqp", "amqps", "pyamqp", "librabbitmq"})


def display_url(url: str) -> str:
    """Return the URL, or the first of several, with the password as ``**``."""
    shown: str = maybe_sanitize_url(url.partition(";")[0])
    return shown


@dataclass
class ConnectionMaker:
    """Knows the URLs of a broker and makes unopened `kombu.Connection` objects for them, one URL after another.

    Args:
        url: Broker URL, or several joined by ``;``.
        transport_options: kombu's, by transport.
        connect_timeout_s: Limit for one attempt.
        heartbeat_s: Asked of an AMQP broker; `None` or 0: none.
        ssl: `broker_use_ssl`.
        login_method: AMQP SASL mechanism; `None`: PLAIN.
        failover_strategy: ``round-robin``, ``shuffle`` or a callable from the list of URLs to an infinite iterator.
        guard: Returns the transport class to use in place of a named one, or `None` for kombu's own.
    """

    url: str
    transport_options: Mapping[str, Any] = field(default_factory=dict)
    connect_timeout_s: float = 4.0
    heartbeat_s: float | None = None
    ssl: Any = None
    login_method: str | None = None
    failover_strategy: str | Callable[[list[str]], Iterator[str]] | None = None
    guard: Callable[[str], type | None] | None = None

    def __post_init__(self) -> None:
        # A list of sentinels is one address: its transport takes it whole.
        whole = self.url.startswith("sentinel")
        self.urls = [self.url] if whole else [u for u in self.url.split(";") if u]
        self._cycle = self._strategy()(list(self.urls))
        self._made_for = self.url

    def _strategy(self) -> Callable[[list[str]], Iterator[str]]:
        strategy = self.failover_strategy or "round-robin"
        if callable(strategy):
            return strategy
        if strategy == "shuffle":
            return _shuffled
        return itertools.cycle

    def make(self) -> Any:
        """Return an unopened connection for the next URL."""
        url = next(self._cycle)
        connection = _kombu.Connection(
            url,
            connect_timeout=self.connect_timeout_s,
            heartbeat=self.heartbeat_s or 0,
            ssl=self.ssl or False,
            login_method=self.login_method,
            transport_options=self._options(url),
        )
        name = connection.transport_cls
        self._made_for = url
        guarded = self.guard(name) if self.guard is not None and isinstance(name, str) else None
        if guarded is not None:
            connection.transport_cls = guarded
        return connection

    @property
    def uri(self) -> str:
        """Full URL of the connection made last, password included."""
        # Asked of a connection of its own: with a class for transport kombu does not know the scheme, and `as_uri`
        # makes the transport, guarded or not.
        uri: str = _kombu.Connection(self._made_for).as_uri(include_password=True)
        return uri

    def open(self) -> Any:
        """Return an open connection, trying every URL once.

        Raises:
            OperationalError: The last attempt failed as connections do.
            Exception: It was refused with a code, or failed in a way that no client library announces.
        """
        error: BaseException | None = None
        for _ in self.urls:
            connection = self.make()
            try:
                # `Connection.connect` would sleep and try again by itself.
                connection._connection_factory()
            except Exception as exc:  # noqa: BLE001 - whatever it was, the next URL may do
                error = exc
                # Only this connection knows what its client library raises when a broker is away.
                if isinstance(exc, _known(connection)) and _reply_code(exc) is None:
                    error = OperationalError(str(exc))
                    error.__cause__ = exc
                abandon(connection)
            else:
                return connection
        assert error is not None
        raise error

    def _options(self, url: str) -> dict[str, Any]:
        options = {k: v for k, v in self.transport_options.items() if k not in _RETRY_KEYS}
        scheme = _scheme(url)
        if scheme in _AMQP_SCHEMES:
            options.setdefault("read_timeout", _CALL_DEADLINE_S)
            options.setdefault("write_timeout", _CALL_DEADLINE_S)
        elif scheme.startswith(("redis", "sentinel", "valkey")):
            options.setdefault("socket_connect_timeout", self.connect_timeout_s)
            options.setdefault("socket_timeout", _CALL_DEADLINE_S)
            options.setdefault("socket_keepalive", True)
        return options


def _shuffled(urls: list[str]) -> Iterator[str]:
    while True:
        yield from random.sample(urls, len(urls))


def _scheme(url: str) -> str:
    head, found, _ = url.partition("://")
    return head.partition("+")[0].lower() if found else url.rstrip(":/").lower() or "amqp"


def is_amqp(connection: Any) -> bool:
    """Whether the connection speaks AMQP 0-9-1."""
    return bool(connection.transport.driver_type == "amqp")


def abandon(connection: Any) -> None:
    """Drop a connection of whatever state without a word to the broker."""
    raw = connection._connection
    try:
        if raw is not None and hasattr(raw, "collect"):
            raw.collect()
            connection._connection = None
            connection._default_channel = None
            connection._closed = True
        else:
            connection.release()
    except Exception as exc:  # noqa: BLE001 - it is being thrown away
        logger.debug("closing a lost connection: %r", exc)


def connection_errors(connection: Any) -> tuple[type[BaseException], ...]:
    """What an operation raises when trying again on a new connection may help."""
    return (
        *connection.recoverable_connection_errors,
        *connection.recoverable_channel_errors,
        OSError,
    )


def _reply_code(exc: BaseException) -> int | None:
    code = getattr(exc, "reply_code", None) or getattr(exc, "code", None)
    return code if isinstance(code, int) else None


def _known(connection: Any) -> tuple[type[BaseException], ...]:
    if connection is None:
        return (OSError, OperationalError)
    return (*connection.connection_errors, *connection.channel_errors, OSError, OperationalError)


class BrokerErrors:
    """A context that lets nothing out but `BrokerError`; stateless, so that one serves every call of a kind.

    Args:
        connection: Returns the kombu connection in use, or `None`.
        doing: For the message: what was tried.
        declaring: A refusal now concerns the configuration (credentials, virtual host, declarations); at other
            times a closed channel is like a lost connection.
        on_error: Called before an error leaves.
    """

    __slots__ = ("_connection", "_declaring", "_doing", "_on_error")

    def __init__(
        self,
        connection: Callable[[], Any],
        doing: str,
        *,
        declaring: bool = False,
        on_error: Callable[[], None] | None = None,
    ) -> None:
        self._connection = connection
        self._doing = doing
        self._declaring = declaring
        self._on_error = on_error

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if exc is None or not isinstance(exc, Exception):
            return
        if self._on_error is not None:
            self._on_error()
        if isinstance(exc, BrokerError):
            return
        if self._declaring and _reply_code(exc) in _REFUSED_CODES:
            raise BrokerAccessError(f"{self._doing}: {exc}") from exc
        if not isinstance(exc, _known(self._connection())):
            # The client library broke down on what came in; a new connection is a new chance.
            logger.error("Unexpected error while %s", self._doing, exc_info=exc)
        raise BrokerLostError(f"{self._doing}: {exc!r}") from exc
