"""The broker ports: `Broker` is what the worker's loop consumes through, `Publisher` what everyone sends through.

Both speak `celeriac_protocol.Message`: raw body bytes, headers, properties. Nothing behind a port decodes a task.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from celeriac_protocol.errors import RemoteProtocolError
from celeriac_protocol.message import Message

__all__ = [
    "Broker",
    "BrokerAccessError",
    "BrokerError",
    "BrokerLostError",
    "Delivery",
    "EventQueue",
    "Mailbox",
    "PublishError",
    "Publisher",
    "SideChannel",
    "SideChannelUnsupportedError",
    "Tag",
]

Tag: TypeAlias = Hashable
"""Identifies one delivery to the broker that made it. It carries the connection epoch: a tag of an earlier
connection is known to be stale and is ignored by `ack`, `reject` and `renew`."""


class BrokerError(Exception):
    """Base of what the ports raise."""


class BrokerLostError(BrokerError):
    """The connection cannot be made, or is gone; `connect` again."""


class BrokerAccessError(BrokerError):
    """Refused for good: credentials, virtual host, conflicting declaration. Trying again is slow or useless."""


class SideChannelUnsupportedError(BrokerAccessError):
    """The transport cannot broadcast: there is no remote control and nobody to send events to."""


class PublishError(BrokerError):
    """A message could not be handed to the broker within the retry policy and deadline."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message handed over by the broker, to be settled exactly once by `tag`."""

    tag: Tag
    message: Message
    broken: RemoteProtocolError | None = None
    """Set when the broker's own envelope was unusable: `message.body` then holds the raw bytes."""


class Broker(ABC):
    """One consuming connection, owned and called by one thread: the worker's loop.

    No method but `connect` blocks for longer than a network write. Every method raises `BrokerLostError` when the
    connection is gone; the caller then calls `disconnect`, `connect` and `consume` again.
    """

    url: str
    """Where to, password included; never log it, log `display_url`."""
    display_url: str
    """The URL with the password as ``**``."""
    poll_interval_s: float | None
    """How long the loop may wait between `fetch` calls when `filenos` is empty; `None`: `filenos` wake it."""

    @abstractmethod
    def connect(self) -> None:
        """Open the connection once. Raises `BrokerLostError` (try again) or `BrokerAccessError` (configuration)."""

    @abstractmethod
    def disconnect(self) -> None:
        """Drop the connection without raising, whatever state it is in. All tags become stale."""

    @abstractmethod
    def consume(self, queues: Sequence[Any], prefetch_count: int) -> None:
        """Declare `queues` (`kombu.Queue` values) and start consuming them with at most `prefetch_count` unsettled."""

    @abstractmethod
    def add_queue(self, queue: Any) -> None:
        """Consume one more queue, which exists already."""

    @abstractmethod
    def remove_queue(self, name: str) -> None:
        """Stop consuming one queue; nothing if it is not consumed."""

    @abstractmethod
    def cancel(self) -> None:
        """Stop consuming; deliveries already fetched stay valid and can be settled."""

    @abstractmethod
    def set_prefetch(self, prefetch_count: int) -> None:
        """Change the window of unsettled deliveries; 0 means no limit."""

    @abstractmethod
    def filenos(self) -> Iterable[int]:
        """File descriptors whose readability means `fetch` may have something."""

    @abstractmethod
    def fetch(self, limit: int) -> list[Delivery]:
        """Return up to `limit` deliveries that are there already; never waits."""

    @abstractmethod
    def ack(self, tags: Sequence[Tag]) -> None:
        """Acknowledge deliveries. Stale tags are ignored."""

    @abstractmethod
    def reject(self, tags: Sequence[Tag], *, requeue: bool) -> None:
        """Refuse deliveries: give back to the queue, or discard (dead-letter). Stale tags are ignored."""

    @abstractmethod
    def renew(self, tags: Sequence[Tag]) -> None:
        """Keep the lease of held deliveries alive where the broker has one; else nothing."""

    @abstractmethod
    def after_fork_in_child(self) -> None:
        """In a forked child: close the inherited sockets without a word to the broker."""

    @abstractmethod
    def heartbeat(self) -> float | None:
        """Send or check heartbeats if due; return seconds until the next call is due, `None` for never."""


class Publisher(ABC):
    """A pool of publishing connections, usable from any thread, dropped in a forked child."""

    @abstractmethod
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
        """Hand one message to the broker.

        Args:
            message: Body already serialized and compressed; headers and properties complete.
            exchange: Name or `kombu.Exchange`.
            routing_key: Routing key; the queue's name on the default exchange.
            declare: `kombu.Queue`/`kombu.Exchange` values to declare first (once per connection).
            retry: Try again on connection errors following `retry_policy`.
            retry_policy: kombu's keys: `max_retries`, `interval_start`, `interval_step`, `interval_max`, `timeout`.
            options: `mandatory`, `immediate`, `timeout`, `confirm_timeout` as kombu's `Producer.publish` takes them.

        Raises:
            kombu.exceptions.OperationalError: The broker could not be reached within the policy.
        """

    @abstractmethod
    def close(self) -> None:
        """Close every connection."""

    @abstractmethod
    def after_fork(self) -> None:
        """Forget inherited connections without touching their sockets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQueue:
    """How a worker hears other workers' events. Spec: control-and-events#2.1, control-and-events#3.3."""

    prefix: str = "celeryev"
    """First part of the queue's name."""
    durable: bool = False
    exclusive: bool = True
    expires_s: float | None = 60.0
    """Life of the unused queue."""
    ttl_s: float | None = 5.0
    """Life of an event in the queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """Where a worker hears remote control. Spec: control-and-events#1.1."""

    node: str
    namespace: str = "celery"
    """`control_exchange`: first part of the exchanges' names."""
    durable: bool = False
    exclusive: bool = True
    expires_s: float | None = 10.0
    """Life of the unused queue."""
    ttl_s: float | None = 300.0
    """Life of a request in the queue."""


class SideChannel(ABC):
    """A worker's second connection: remote control comes in, replies and events go out.

    It is owned and called by the worker's loop. Its loss concerns nobody else: every method may raise
    `BrokerLostError`, whereupon the caller calls `disconnect` and, later, `connect`.
    """

    display_url: str
    """Where to, with the password as ``**``."""
    poll_interval_s: float | None
    """How long to wait between `fetch` calls, whatever `filenos` say; `None`: `filenos` tell."""
    event_queue: str | None = None
    """Deliveries of this queue are events of other workers; `None`: none are heard."""
    reply_queue: str | None = None
    """Deliveries of this queue answer what `ask` asked; `None` while nothing is asked."""

    @abstractmethod
    def connect(self) -> None:
        """Connect, declare and listen.

        Raises:
            BrokerLostError: Try again.
            BrokerAccessError: Refused; trying again helps only if somebody changes something.
            SideChannelUnsupportedError: This transport never will.
        """

    @abstractmethod
    def disconnect(self) -> None:
        """Leave, whatever state the connection is in; never raises."""

    @abstractmethod
    def filenos(self) -> Iterable[int]:
        """File descriptors whose readability means `fetch` may have something."""

    @abstractmethod
    def fetch(self, limit: int) -> list[Delivery]:
        """Return up to `limit` control requests that are there already; never waits. They need no settling."""

    def ask(self, message: Message, oid: str) -> bool:
        """Send a request to all workers; what they answer is fetched from `reply_queue`, until `end_replies`.

        Args:
            message: The request; it names `oid` as the routing key of its replies.
            oid: Identifies this asker.

        Returns:
            Whether this transport can do so.
        """
        return False

    def end_replies(self) -> None:
        """Hear no more answers."""

    @abstractmethod
    def reply(self, message: Message, *, exchange: str, routing_key: str) -> None:
        """Answer a request. Raises `PublishError` when this one answer is refused and the connection lives on."""

    @abstractmethod
    def publish_event(self, message: Message, *, routing_key: str) -> None:
        """Send one event, or a batch of them, to the event exchange."""

    @abstractmethod
    def declare(self, queue: Any) -> None:
        """Declare a `kombu.Queue`. Raises `BrokerAccessError` when the broker refuses; the connection lives on."""

    @abstractmethod
    def heartbeat(self) -> float | None:
        """Send or check heartbeats if due; return seconds until the next call is due, `None` for never."""

    @abstractmethod
    def after_fork_in_child(self) -> None:
        """In a forked child: close the inherited sockets without a word to the broker."""
