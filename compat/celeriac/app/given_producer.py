"""Publishing through a producer or connection that the caller of a task brought along.

Programs that publish much take a producer from the app's pool, and some talk to a second broker that way; what they
hand over is used, and only then. It is asked for nothing but kombu's `Producer.publish`.

Spec: app-and-cli#5.3
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from celeriac.brokers.base import Publisher
from celeriac_protocol.message import Message

__all__ = ["GivenProducer", "publisher_for"]

_NAMED = (
    "correlation_id",
    "reply_to",
    "delivery_mode",
    "priority",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)


class GivenProducer(Publisher):
    """A kombu producer as a `Publisher`. It belongs to the caller, so it is neither closed nor kept.

    Args:
        producer: Has kombu's `publish`.
    """

    def __init__(self, producer: Any) -> None:
        self._producer = producer

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
        """Hand one message to the producer. See `Publisher.publish`."""
        properties = message.properties
        named = {name: value for name in _NAMED if (value := getattr(properties, name)) is not None}
        if properties.expiration is not None:
            named["expiration"] = int(properties.expiration) / 1000  # kombu takes seconds
        self._producer.publish(
            message.body,
            exchange=exchange,
            routing_key=routing_key,
            declare=list(declare),
            retry=retry,
            retry_policy=dict(retry_policy or {}),
            headers=dict(message.headers),
            content_type=properties.content_type,
            content_encoding=properties.content_encoding,
            **{**properties.extra, **named, **(options or {})},
        )

    def close(self) -> None:
        """Do nothing: the producer is the caller's."""

    def after_fork(self) -> None:
        """Do nothing: the producer is the caller's."""


def publisher_for(default: Any, producer: Any, connection: Any) -> Publisher:
    """Return what to publish through.

    Args:
        default: Returns the app's own publisher.
        producer: A `Publisher` or kombu producer the caller gave, or `None`.
        connection: A kombu connection the caller gave, or `None`.
    """
    if producer is not None:
        return producer if isinstance(producer, Publisher) else GivenProducer(producer)
    if connection is not None:
        return GivenProducer(connection.Producer(auto_declare=False))
    found: Publisher = default()
    return found
