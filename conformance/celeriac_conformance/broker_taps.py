"""The broker tapped raw: put bytes in, take bytes out, count, without any task library in between."""

from __future__ import annotations

import base64
import json
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import kombu.connection
import redis

from celeriac_conformance.wires import RabbitWire, RedisWire, Wire, WireError

__all__ = ["AmqpTap", "BrokerTap", "RawMessage", "RedisTap", "ResultTap", "StoredResults"]

_PRIORITY_SEPARATOR = "\x06\x16"
_PRIORITY_STEPS = (0, 3, 6, 9)
_POLL_S = 0.03
_AMQP_PROPERTIES = (
    "content_type",
    "content_encoding",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)


@dataclass(frozen=True, kw_only=True)
class RawMessage:
    """A message as a broker carries it."""

    body: bytes
    headers: Mapping[str, Any] | None = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    """Basic properties with underscores, `content_type` and `content_encoding` among them."""


class BrokerTap(ABC):
    """Raw access to the queues of one cell."""

    kind: str
    url: str

    @property
    @abstractmethod
    def version(self) -> str:
        """What the broker calls itself, e.g. ``7.0.15``."""

    @abstractmethod
    def push(self, queue: str, message: RawMessage) -> None:
        """Put a message into a queue."""

    @abstractmethod
    def take(self, queue: str) -> RawMessage | None:
        """Remove and return the oldest message of a queue, or None."""

    @abstractmethod
    def ready(self, queue: str) -> int:
        """Count messages waiting in a queue."""

    @abstractmethod
    def unacked(self, queue: str) -> int:
        """Count messages of a queue that a worker holds unacknowledged."""

    @abstractmethod
    def close(self) -> None:
        """Give connections back."""

    @abstractmethod
    def watch(self) -> Wire:
        """Start to record what crosses the broker.

        Raises:
            WireError: It does not let itself be watched.
        """

    def wait_unacked(self, queue: str, count: int, timeout_s: float = 10.0) -> int:
        """Wait until `count` messages of a queue are held, and return how many are."""
        deadline = time.monotonic() + timeout_s
        while (found := self.unacked(queue)) != count and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return found


class RedisTap(BrokerTap):
    """Redis lists in the layout of kombu. Spec: task-message#1.2."""

    kind = "redis"

    def __init__(self, url: str) -> None:
        self.url = url
        self.client: Any = redis.Redis.from_url(url)

    @property
    def version(self) -> str:
        try:
            found = self.client.info("server")
        except redis.ResponseError as error:
            return f"not told ({error})"
        if "valkey_version" in found:
            return f"Valkey {found['valkey_version']}"
        return str(found["redis_version"])

    def push(self, queue: str, message: RawMessage) -> None:
        properties = dict(message.properties)
        envelope = {
            "body": base64.b64encode(message.body).decode("ascii"),
            "content-encoding": properties.pop("content_encoding", None),
            "content-type": properties.pop("content_type", None),
            "headers": message.headers,
            "properties": {
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid.uuid4()),
                **properties,
            },
        }
        envelope = {
            key: value for key, value in envelope.items() if value is not None or key == "headers"
        }
        self.push_envelope(queue, json.dumps(envelope).encode())

    def push_envelope(self, queue: str, raw: bytes) -> None:
        """Put any bytes where a worker expects an envelope."""
        self.client.lpush(queue, raw)

    def take(self, queue: str) -> RawMessage | None:
        raw = self.take_envelope(queue)
        if raw is None:
            return None
        envelope = json.loads(raw)
        properties = dict(envelope["properties"])
        body = envelope["body"].encode()
        if properties.get("body_encoding") == "base64":
            body = base64.b64decode(body)
        properties["content_type"] = envelope.get("content-type")
        properties["content_encoding"] = envelope.get("content-encoding")
        return RawMessage(body=body, headers=envelope["headers"], properties=properties)

    def take_envelope(self, queue: str) -> bytes | None:
        """Remove and return the oldest item of a queue's lists, as stored."""
        for name in self._lists(queue):
            raw: bytes | None = self.client.rpop(name)
            if raw is not None:
                return raw
        return None

    def ready(self, queue: str) -> int:
        return sum(self.client.llen(name) for name in self._lists(queue))

    def unacked(self, queue: str) -> int:
        held = [json.loads(raw) for raw in self.client.hvals("unacked")]
        return sum(1 for item in held if isinstance(item, list) and item[-1] == queue)

    def watch(self) -> Wire:
        return RedisWire(self.url)

    def close(self) -> None:
        self.client.close()

    def _lists(self, queue: str) -> list[str]:
        return [queue, *(f"{queue}{_PRIORITY_SEPARATOR}{step}" for step in _PRIORITY_STEPS[1:])]


class AmqpTap(BrokerTap):
    """RabbitMQ over a connection of its own.

    Args:
        url: AMQP URL of the cell's virtual host.
        count_unacked: Asks the node how many messages of a queue are held.
        switch_tracing_on: Makes the node trace the virtual host; None where nobody may.
    """

    kind = "amqp"

    def __init__(
        self,
        url: str,
        count_unacked: Callable[[str], int],
        switch_tracing_on: Callable[[], object] | None = None,
    ) -> None:
        self.url = url
        self._switch_tracing_on = switch_tracing_on
        connect: Any = kombu.connection.Connection
        # Confirmed publishing: what the broker refuses has to fail the push, not some later call.
        self._connection = connect(url, transport_options={"confirm_publish": True})
        self._count_unacked = count_unacked
        self._open_channel: Any = None

    @property
    def channel(self) -> Any:
        """An open channel; a new one after the broker closed the last."""
        if self._open_channel is None or not self._open_channel.is_open:
            self._open_channel = self._connection.channel()
        return self._open_channel

    @property
    def version(self) -> str:
        return str(self.channel.connection.server_properties.get("version"))

    def push(self, queue: str, message: RawMessage) -> None:
        properties = {
            name: value for name, value in message.properties.items() if name in _AMQP_PROPERTIES
        }
        carried = self.channel.prepare_message(
            message.body,
            content_type=properties.pop("content_type", None),
            content_encoding=properties.pop("content_encoding", None),
            headers=None if message.headers is None else dict(message.headers),
            priority=properties.pop("priority", 0),
            properties=properties,
        )
        self.channel.basic_publish(carried, exchange="", routing_key=queue)

    def take(self, queue: str) -> RawMessage | None:
        found = self.channel.basic_get(queue, no_ack=True)
        if found is None:
            return None
        body = found.body
        return RawMessage(
            body=body.encode() if isinstance(body, str) else bytes(body),
            headers=dict(found.headers or {}),
            properties={
                name: value for name, value in found.properties.items() if name in _AMQP_PROPERTIES
            },
        )

    def declare(self, queue: str, **arguments: object) -> None:
        """Declare a queue that disappears with this connection."""
        self.channel.queue_declare(queue, exclusive=True, auto_delete=True, **arguments)

    def ready(self, queue: str) -> int:
        count: int = self.channel.queue_declare(queue, passive=True).message_count
        return count

    def unacked(self, queue: str) -> int:
        return self._count_unacked(queue)

    def watch(self) -> Wire:
        if self._switch_tracing_on is None:
            raise WireError("nobody here may switch tracing on")
        return RabbitWire(self.url, self._switch_tracing_on)

    def close(self) -> None:
        self._connection.release()


class StoredResults(ABC):
    """Results where they are stored, read raw."""

    @abstractmethod
    def document(self, task_id: str) -> dict[str, Any] | None:
        """Return the stored document of a task, or None."""

    def wait(self, task_id: str, timeout_s: float = 20.0) -> dict[str, Any]:
        """Wait for a document in a final state.

        Raises:
            AssertionError: There was none in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.document(task_id)
            if found is not None and found["status"] in ("SUCCESS", "FAILURE", "REVOKED"):
                return found
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"no final result of {task_id} after {timeout_s} s; stored: {found}"
                )
            time.sleep(_POLL_S)

    def watch(self) -> Wire:
        """Start to record what crosses the store.

        Raises:
            WireError: It does not let itself be watched.
        """
        raise WireError(f"{type(self).__name__} cannot be watched")

    @abstractmethod
    def close(self) -> None:
        """Give connections back."""


class ResultTap(StoredResults):
    """Results stored in Redis. Spec: results-and-workflows#2.2."""

    prefix = "celery-task-meta-"

    def __init__(self, url: str) -> None:
        self.url = url
        self.client: Any = redis.Redis.from_url(url)

    def document(self, task_id: str) -> dict[str, Any] | None:
        raw = self.client.get(self.prefix + task_id)
        if raw is None:
            return None
        found: dict[str, Any] = json.loads(raw)
        return found

    def seconds_to_live(self, task_id: str) -> int:
        """Return the remaining life of a document (-1: for ever, -2: absent)."""
        ttl: int = self.client.ttl(self.prefix + task_id)
        return ttl

    def watch(self) -> Wire:
        return RedisWire(self.url)

    def close(self) -> None:
        self.client.close()
