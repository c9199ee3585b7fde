"""What a broker carries: application headers, basic properties, and a body that is still bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["DeliveryInfo", "Message", "Properties"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Properties:
    """The basic properties of a message. Spec: task-message#1.3."""

    content_type: str | None = None
    """MIME type of the serialized body, e.g. ``application/json``; decides the decoder."""
    content_encoding: str | None = None
    """``utf-8`` or ``binary``; informative for every serializer but plain text."""
    correlation_id: str | None = None
    """Task id unless the caller overrode it; only the rpc result backend reads it."""
    reply_to: str | None = None
    """Name of the sender's rpc reply queue."""
    delivery_mode: int | None = None
    """1 transient, 2 persistent."""
    priority: int | None = None
    """0 to 255 on AMQP, 0 to 9 elsewhere; 0 when the caller named none."""
    expiration: str | None = None
    """Time to live in integer milliseconds, as decimal text."""
    message_id: str | None = None
    timestamp: object = None
    type: str | None = None
    user_id: str | None = None
    app_id: str | None = None
    cluster_id: str | None = None
    extra: Mapping[str, object] = field(default_factory=dict)
    """Keys that are no basic property: publish options that leaked, on JSON envelopes only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryInfo:
    """How a message reached us; all defaults for one that has not travelled."""

    exchange: str = ""
    routing_key: str = ""
    redelivered: bool = False
    queue: str | None = None
    """Queue it was consumed from, where the broker tells."""


@dataclass(frozen=True, slots=True)
class Message:
    """Headers, properties and body exactly as a broker carries them. `body` is still compressed and serialized."""

    headers: Mapping[str, object]
    properties: Properties
    body: bytes
    delivery_info: DeliveryInfo = field(default_factory=DeliveryInfo)
