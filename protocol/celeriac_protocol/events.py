"""Monitoring events: every type with its fields, one event, and the messages that carry them.

Readers are tolerant where a monitor can live with a hole (a field of the wrong type counts as missing), and refuse
with `RemoteProtocolError` what cannot be attributed at all: no type, no host, no `uuid`. Real workers stop on such
events, so what is written here always has them.

Spec: control-and-events#2, control-and-events#9.3
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from celeriac_protocol.errors import RemoteProtocolError
from celeriac_protocol.message import Message, Properties
from celeriac_protocol.names import EVENT_BATCH_KEY as BATCH_ROUTING_KEY
from celeriac_protocol.names import event_routing_key as routing_key
from celeriac_protocol.serializers import dumps, loads

__all__ = [
    "BATCH_ROUTING_KEY",
    "EVENT_TYPES",
    "TASK_STATES",
    "Event",
    "EventBatch",
    "EventField",
    "EventType",
    "decode_events",
    "encode_batch",
    "encode_event",
    "read_events",
    "routing_key",
    "task_state",
]

_TEXT: Final = "text"
_INTEGER: Final = "integer"
_NUMBER: Final = "number"
_FLAG: Final = "flag"
_LOAD: Final = "three numbers"
_ANY: Final = "any"


class EventField(NamedTuple):
    """One field that belongs to a type of event."""

    name: str
    kind: str
    """``text``, ``integer``, ``number``, ``flag``, ``three numbers`` or ``any``; null is allowed unless required."""
    required: bool = False
    """Without it the event means nothing to anybody."""
    unit: str = ""


class EventType(NamedTuple):
    """One type of event, its fields in the order Celery 5.7 writes them."""

    name: str
    fields: tuple[EventField, ...]
    meaning: str

    @property
    def group(self) -> str:
        """``task`` or ``worker``: the events of one group are switched on and sent together."""
        return self.name.partition("-")[0]


_UUID = EventField("uuid", _TEXT, required=True)
_WORKER_FIELDS = (
    EventField("freq", _NUMBER, unit="seconds between heartbeats"),
    EventField("active", _INTEGER, unit="requests running now"),
    EventField("processed", _INTEGER, unit="requests accepted so far"),
    EventField("loadavg", _LOAD, unit="over 1, 5 and 15 minutes, two decimals"),
    EventField("sw_ident", _TEXT),
    EventField("sw_ver", _TEXT),
    EventField("sw_sys", _TEXT),
)
_FAILURE_FIELDS = (
    _UUID,
    EventField("exception", _TEXT, unit="repr"),
    EventField("traceback", _TEXT),
)

_TYPES = (
    EventType("worker-online", _WORKER_FIELDS, "the consumer connected, or connected again"),
    EventType("worker-heartbeat", _WORKER_FIELDS, "still there"),
    EventType("worker-offline", _WORKER_FIELDS, "the consumer stops; running tasks may go on"),
    EventType(
        "worker-elect",
        (
            EventField("id", _TEXT, required=True),
            EventField("topic", _TEXT, required=True),
            EventField("action", _ANY),
            EventField("cver", _INTEGER),
        ),
        "a candidate in an election",
    ),
    EventType(
        "worker-elect-ack", (EventField("id", _TEXT, required=True),), "a candidate was noted"
    ),
    EventType(
        "task-sent",
        (
            _UUID,
            EventField("root_id", _TEXT),
            EventField("parent_id", _TEXT),
            EventField("name", _TEXT),
            EventField("args", _TEXT, unit="repr"),
            EventField("kwargs", _TEXT, unit="repr"),
            EventField("retries", _INTEGER),
            EventField("eta", _TEXT, unit="ISO 8601"),
            EventField("expires", _TEXT, unit="ISO 8601"),
            EventField("queue", _TEXT),
            EventField("exchange", _TEXT),
            EventField("routing_key", _TEXT),
        ),
        "published, told by the producer",
    ),
    EventType(
        "task-received",
        (
            _UUID,
            EventField("name", _TEXT),
            EventField("args", _TEXT, unit="repr"),
            EventField("kwargs", _TEXT, unit="repr"),
            EventField("root_id", _TEXT),
            EventField("parent_id", _TEXT),
            EventField("retries", _INTEGER),
            EventField("eta", _TEXT, unit="ISO 8601"),
            EventField("expires", _TEXT, unit="ISO 8601"),
        ),
        "accepted from the broker, before waiting for its ETA",
    ),
    EventType("task-started", (_UUID,), "a pool worker took it"),
    EventType(
        "task-succeeded",
        (_UUID, EventField("result", _TEXT, unit="repr"), EventField("runtime", _NUMBER, unit="s")),
        "it returned",
    ),
    EventType("task-failed", _FAILURE_FIELDS, "it raised, was too slow, was lost or is unknown"),
    EventType("task-retried", _FAILURE_FIELDS, "it asked for another attempt"),
    EventType(
        "task-revoked",
        (
            _UUID,
            EventField("terminated", _FLAG),
            EventField("signum", _INTEGER),
            EventField("expired", _FLAG),
        ),
        "discarded or terminated",
    ),
    EventType("task-rejected", (_UUID, EventField("requeue", _FLAG)), "its message was rejected"),
    EventType("task-cancelled", (_UUID,), "stopped because the connection was lost; since 5.1"),
)

EVENT_TYPES: Final[Mapping[str, EventType]] = {kind.name: kind for kind in _TYPES}
"""Every type Celery sends; users send others. Spec: control-and-events#2.3, control-and-events#2.4."""

TASK_STATES: Final[Mapping[str, str]] = {
    "sent": "PENDING",
    "received": "RECEIVED",
    "started": "STARTED",
    "succeeded": "SUCCESS",
    "failed": "FAILURE",
    "retried": "RETRY",
    "revoked": "REVOKED",
    "rejected": "REJECTED",
}
"""What a monitor takes a task's state to be after ``task-…``."""

_CUSTOM_TASK: Final = EventType("task-", (_UUID,), "a user's own")
_CUSTOM: Final = EventType("", (), "a user's own")
_COMMON: Final = frozenset({"hostname", "utcoffset", "pid", "clock", "timestamp", "type"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event. Spec: control-and-events#2.2."""

    type: str
    hostname: str
    """Node name of the sender; `gen<pid>@<host>` for a client."""
    utcoffset: float | None = None
    """Hours *west* of UTC."""
    pid: int | None = None
    clock: int | None = None
    """The sender's logical clock, after counting this event."""
    timestamp: float | None = None
    """Unix time."""
    fields: Mapping[str, object] = field(default_factory=dict)
    """Everything that belongs to the type, in wire order."""

    @property
    def group(self) -> str:
        """``task``, ``worker``, or whatever stands before the first dash of a user's own type."""
        return self.type.partition("-")[0]

    @property
    def uuid(self) -> str | None:
        """Task id; `None` for events that are about no task."""
        value = self.fields.get("uuid")
        return value if isinstance(value, str) else None

    def local_timestamp(self, utcoffset: float) -> float | None:
        """Return `timestamp` as Celery's receivers shift it into a zone of their own.

        Args:
            utcoffset: The receiver's, hours west of UTC.

        Spec: control-and-events#2.2
        """
        if self.timestamp is None or self.utcoffset is None:
            return self.timestamp
        return self.timestamp - (self.utcoffset - utcoffset) * 3600

    def to_dict(self) -> dict[str, object]:
        """Return the event as it travels, keys in the order of Celery 5.7; absent ones are left out."""
        form: dict[str, object] = {"hostname": self.hostname}
        if self.utcoffset is not None:
            form["utcoffset"] = self.utcoffset
        if self.pid is not None:
            form["pid"] = self.pid
        if self.clock is not None:
            form["clock"] = self.clock
        form.update(self.fields)
        if self.timestamp is not None:
            form["timestamp"] = self.timestamp
        form["type"] = self.type
        return form

    @classmethod
    def from_dict(cls, value: object, *, hostname: str | None = None) -> Event:
        """Read one event.

        Args:
            value: As it travelled. A known field of the wrong type counts as missing.
            hostname: From the message's header, for an event whose body names none.

        Raises:
            RemoteProtocolError: No mapping, no type, no host, a required field is missing, or the timestamp is no
                number.

        Spec: control-and-events#2.2, control-and-events#3.3
        """
        if not isinstance(value, Mapping):
            raise RemoteProtocolError("event", "a mapping", value)
        kind, host = value.get("type"), value.get("hostname")
        if not isinstance(kind, str) or not kind:
            raise RemoteProtocolError("event['type']", "the name of a type", kind)
        if not isinstance(host, str) or not host:
            if not hostname:
                raise RemoteProtocolError("event['hostname']", "a node name", host)
            host = hostname
        timestamp = value.get("timestamp")
        if timestamp is not None and not _fits(timestamp, _NUMBER):
            raise RemoteProtocolError("event['timestamp']", "Unix time in seconds", timestamp)
        utcoffset, pid, clock = value.get("utcoffset"), value.get("pid"), value.get("clock")
        return cls(
            type=kind,
            hostname=host,
            utcoffset=utcoffset if _fits(utcoffset, _NUMBER) else None,
            pid=pid if _fits(pid, _INTEGER) else None,
            clock=clock if _fits(clock, _INTEGER) else None,
            timestamp=timestamp,
            fields=_read_fields(kind, value),
        )


def _read_fields(kind: str, value: Mapping[object, object]) -> dict[str, object]:
    known = EVENT_TYPES.get(kind) or (_CUSTOM_TASK if kind.startswith("task-") else _CUSTOM)
    fields = {
        key: item for key, item in value.items() if isinstance(key, str) and key not in _COMMON
    }
    for spec in known.fields:
        if spec.name not in fields:
            found = None
        elif (found := fields[spec.name]) is not None and not _fits(found, spec.kind):
            del fields[spec.name]
        elif found is not None:
            continue
        if spec.required:
            raise RemoteProtocolError(f"event[{spec.name!r}]", f"{spec.kind}, in {kind}", found)
    return fields


def _fits(value: object, kind: str) -> bool:
    if kind == _TEXT:
        return isinstance(value, str)
    if kind == _INTEGER:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == _NUMBER:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        try:
            return math.isfinite(value)
        except OverflowError:
            return False
    if kind == _FLAG:
        return isinstance(value, bool)
    if kind == _LOAD:
        return isinstance(value, list | tuple) and all(_fits(item, _NUMBER) for item in value)
    return True


def task_state(type: str) -> str | None:
    """Return the state a monitor gives a task on an event of this type; `None` for events about no task.

    Spec: control-and-events#2.5
    """
    group, _, name = type.partition("-")
    if group != "task" or not name:
        return None
    return TASK_STATES.get(name, name.upper())


class EventBatch(NamedTuple):
    """The events of one message, and what was wrong with the others."""

    events: tuple[Event, ...]
    errors: tuple[RemoteProtocolError, ...] = ()


def read_events(value: object, *, hostname: str | None = None) -> EventBatch:
    """Read the decoded body of an event message: a mapping or a list of them, whatever its routing key.

    Args:
        value: The decoded body.
        hostname: From the message's header.

    Returns:
        The events, in order. A broken one in a list does not cost us the others.

    Raises:
        RemoteProtocolError: The body is neither, or is a single broken event.

    Spec: control-and-events#2.5
    """
    if not isinstance(value, list | tuple):
        return EventBatch((Event.from_dict(value, hostname=hostname),))
    events: list[Event] = []
    errors: list[RemoteProtocolError] = []
    for item in value:
        try:
            events.append(Event.from_dict(item, hostname=hostname))
        except RemoteProtocolError as exc:
            errors.append(exc)
    return EventBatch(tuple(events), tuple(errors))


def decode_events(message: Message, *, accept: frozenset[str]) -> EventBatch:
    """Read an event message.

    Args:
        message: As delivered.
        accept: Content types allowed.

    Raises:
        RemoteProtocolError: The content type is refused, the body cannot be decoded, or as for `read_events`.

    Spec: control-and-events#2.1
    """
    properties = message.properties
    value = loads(message.body, properties.content_type, properties.content_encoding, accept)
    hostname = message.headers.get("hostname")
    return read_events(value, hostname=hostname if isinstance(hostname, str) else None)


def encode_event(event: Event, *, serializer: str = "json") -> Message:
    """Write one event as a message for `routing_key(event.type)`. Spec: control-and-events#2.1."""
    return _message(event.to_dict(), event.hostname, serializer)


def encode_batch(events: Iterable[Event], *, hostname: str, serializer: str = "json") -> Message:
    """Write events of the group ``task`` as one message for `BATCH_ROUTING_KEY`.

    Args:
        events: In sending order; a single one makes a list as well.
        hostname: Node name of the sender.
        serializer: Alias.

    Spec: control-and-events#2.5
    """
    forms: Sequence[object] = [event.to_dict() for event in events]
    return _message(forms, hostname, serializer)


def _message(value: object, hostname: str, serializer: str) -> Message:
    encoded = dumps(value, serializer)
    properties = Properties(
        content_type=encoded.content_type,
        content_encoding=encoded.content_encoding,
        delivery_mode=1,
        priority=0,
    )
    return Message({"hostname": hostname}, properties, encoded.data)
