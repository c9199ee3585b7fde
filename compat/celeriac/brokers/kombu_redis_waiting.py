"""Waiting for an item in any of several Redis lists, on a connection of its own.

A BRPOP hands its item to a socket: a worker that is killed before it reads the answer loses it. So the server is
asked to tell when a list changes (`CLIENT TRACKING`, Redis 6), and the taking is left to the script that records as
it takes. Only where the server refuses that, a BRPOP waits.

Spec: transports#2.3, transports#2.5, transports#2.8, pains B
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import redis

from celeriac.brokers.base import BrokerLostError

__all__ = ["NoticeWait", "PopWait", "Popped", "Wait", "start_waiting"]

logger = logging.getLogger(__name__)

_redis: Any = redis

_CHANNEL: Final = "__redis__:invalidate"
_OVERDUE_S: Final = 10.0
"""What is not answered for so long was sent into a dead connection."""
_POP_TIMEOUT_S: Final = 1.0


class Popped(NamedTuple):
    """An item that a wait has taken from its list; nobody else knows of it."""

    key: str
    raw: bytes


class Wait(ABC):
    """One waiting connection, named after the owner: as long as it is open the owner lives.

    Args:
        connection: Of redis-py; not subscribed to anything, used by nobody else.
        owner: The name.
    """

    is_on = False
    """`begin` was called and `finish` was not."""

    def __init__(self, connection: Any, owner: str) -> None:
        self.connection = connection
        self._send("CLIENT", "SETNAME", owner)
        self._read()
        self._send("CLIENT", "ID")
        self.client_id: int = self._read()
        self._asked_at: float | None = None
        """When the server was asked something that it has not answered yet (monotonic)."""

    def prepare(self) -> None:
        """Called before the lists are looked at, after which `begin` may follow."""

    @abstractmethod
    def begin(self, keys: Sequence[str]) -> None:
        """Wait for a change of these lists, which the script has just found empty."""

    @abstractmethod
    def finish(self) -> Popped | None:
        """Take in what has come; the lists are worth a look now."""

    @abstractmethod
    def stop(self) -> Popped | None:
        """Wait no longer."""

    @abstractmethod
    def check(self) -> None:
        """Called every few seconds. Raises `BrokerLostError` when the server does not answer."""

    def is_ready(self) -> bool:
        """Whether `finish` would not block."""
        ready: bool = self.connection.can_read(timeout=0)
        return ready

    def fileno(self) -> int:
        """The socket."""
        number: int = self.connection._sock.fileno()
        return number

    def close(self) -> None:
        """Close the connection."""
        self.connection.disconnect()

    def _send(self, *command: Any) -> None:
        # Without redis-py's health check: it does not know the answers a subscribed connection gets.
        self.connection.send_command(*command, check_health=False)

    def _read(self) -> Any:
        return self.connection.read_response()

    def _check_answered_within(self, limit_s: float) -> None:
        asked_at = self._asked_at
        is_overdue = asked_at is not None and time.monotonic() - asked_at > limit_s
        if is_overdue and not self.is_ready():
            raise BrokerLostError("Redis does not answer on the waiting connection")


class NoticeWait(Wait):
    """Takes nothing: the server tells this connection when a list changes that `client` has looked at.

    A notice that gets lost, as when `client` had to connect again meanwhile, costs a few seconds: `check` ends the
    wait by the answer to a PING.

    Args:
        connection: See `Wait`. Must speak RESP2.
        owner: See `Wait`.
        client: redis-py client of one connection, on which the lists are looked at.

    Raises:
        redis.ResponseError: The server or the user's rights do not allow it.
    """

    def __init__(self, connection: Any, owner: str, client: Any) -> None:
        super().__init__(connection, owner)
        self._client = client
        self._tracked: Any = None
        """The socket of `client` that tracking was switched on for."""
        self._send("SUBSCRIBE", _CHANNEL)
        self._read()
        self.prepare()

    def prepare(self) -> None:
        """Switch tracking on, unless it is on for the present connection."""
        if self._tracked is not None and self._client.connection._sock is self._tracked:
            return
        self._client.execute_command("CLIENT", "TRACKING", "ON", "REDIRECT", self.client_id)
        self._tracked = self._client.connection._sock

    def begin(self, keys: Sequence[str]) -> None:
        """Nothing is sent: the script has looked at the lists."""
        self.is_on = True

    def finish(self) -> None:
        """Read the notices."""
        self.is_on = False
        while self.is_ready():
            kind = self._read()[0]
            if kind == b"pong":
                self._asked_at = None

    def stop(self) -> None:
        """What comes now is read by the next wait."""
        self.is_on = False

    def check(self) -> None:
        """See that the server answers, and have the lists looked at."""
        self._check_answered_within(_OVERDUE_S)
        if self.is_on and self._asked_at is None:
            self._asked_at = time.monotonic()
            self._send("PING")


class PopWait(Wait):
    """Waits by BRPOP, and may lose the one item that comes just before the process is killed.

    Args:
        connection: See `Wait`.
        owner: See `Wait`.
        client: Unblocks the waiting connection.
        timeout_s: After which BRPOP is repeated.
    """

    def __init__(
        self, connection: Any, owner: str, client: Any, *, timeout_s: float = _POP_TIMEOUT_S
    ) -> None:
        super().__init__(connection, owner)
        self._client = client
        self._timeout_s = timeout_s

    def begin(self, keys: Sequence[str]) -> None:
        """Send BRPOP."""
        self._send("BRPOP", *keys, self._timeout_s)
        self._asked_at = time.monotonic()
        self.is_on = True

    def finish(self) -> Popped | None:
        """Return the item, or `None` after a time-out."""
        self.is_on = False
        reply = self._read()
        self._asked_at = None
        return Popped(reply[0].decode(), reply[1]) if reply else None

    def stop(self) -> Popped | None:
        """End the BRPOP; return what it has brought nevertheless."""
        if not self.is_on:
            return None
        self._client.execute_command("CLIENT", "UNBLOCK", self.client_id)
        return self.finish()

    def check(self) -> None:
        """See that the BRPOP was answered in time."""
        self._check_answered_within(self._timeout_s + _OVERDUE_S)


def start_waiting(pool: Any, client: Any, owner: str, *, pop_timeout_s: float | None) -> Wait:
    """Return the safest wait that the server allows.

    Args:
        pool: redis-py connection pool; says how to connect.
        client: redis-py client of one connection, on which the lists are looked at.
        owner: Name of the waiting connection.
        pop_timeout_s: For `PopWait`; `None`: its default.
    """
    # RESP 2, in which notices are ordinary messages; redis-py's maintenance notices need RESP 3.
    arguments = {k: v for k, v in pool.connection_kwargs.items() if "maint" not in k}
    arguments["protocol"] = 2
    connection = pool.connection_class(**arguments)
    try:
        return NoticeWait(connection, owner, client)
    except _redis.ResponseError as exc:
        logger.info("Redis gives no notice of changes, waiting by BRPOP: %s", exc)
        connection.disconnect()
    return PopWait(
        pool.connection_class(**arguments),
        owner,
        client,
        timeout_s=pop_timeout_s or _POP_TIMEOUT_S,
    )
