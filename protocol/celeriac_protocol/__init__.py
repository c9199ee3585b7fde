"""The Celery message protocol, sans-IO: bytes in, values out.

Nothing here opens a socket, reads a clock or starts a thread; what varies between runs is an argument.

=====================  =========================================================================================
`task`                 task messages: `decode`, `encode`, `TaskMessage`
`signature`            the dict form of calls, and of chains, groups and chords
`result`, `failure`    result documents, and exceptions as they travel
`events`, `control`    monitoring events; remote control requests and replies
`message`, `errors`    what every broker carries; what can be wrong with it
`serializers`          values ↔ body bytes; `compression` of those
`virtual`, `names`     the JSON envelope of brokers that are not AMQP; every exchange, queue and storage key
`times`, `reprs`       ISO 8601; bounded texts for logs
`lamport`, `delayed`   the logical clock; native delayed delivery
`strategies`           hypothesis strategies for all of it (needs hypothesis)
=====================  =========================================================================================
"""

from __future__ import annotations

from celeriac_protocol.compression import compress, decompress
from celeriac_protocol.control import Command, Reply, ReplyTo
from celeriac_protocol.errors import (
    BrokenEnvelopeError,
    EncodeError,
    Hint,
    InvalidTaskError,
    LocalProtocolError,
    ProtocolError,
    Reason,
    RefusedContentError,
    RemoteProtocolError,
    TooLargeError,
    UndecodableBodyError,
    UnknownMessageError,
)
from celeriac_protocol.events import EVENT_TYPES, Event, EventBatch, EventField, EventType
from celeriac_protocol.failure import ExceptionForm, UnsafeExceptionError
from celeriac_protocol.lamport import LamportClock
from celeriac_protocol.message import DeliveryInfo, Message, Properties
from celeriac_protocol.reprs import saferepr
from celeriac_protocol.result import ResultMeta, ResultNode, State
from celeriac_protocol.serializers import Encoded, Serializer, accept_set, dumps, loads, register
from celeriac_protocol.signature import check_signature
from celeriac_protocol.task import (
    DEFAULT_LIMITS,
    Embed,
    Limits,
    TaskHeaders,
    TaskMessage,
    TimeLimit,
    decode,
    encode,
    read_body,
    read_headers,
)
from celeriac_protocol.times import parse_iso8601
from celeriac_protocol.virtual import Envelope, read_envelope, write_envelope

__all__ = [
    "DEFAULT_LIMITS",
    "EVENT_TYPES",
    "BrokenEnvelopeError",
    "Command",
    "DeliveryInfo",
    "Embed",
    "EncodeError",
    "Encoded",
    "Envelope",
    "Event",
    "EventBatch",
    "EventField",
    "EventType",
    "ExceptionForm",
    "Hint",
    "InvalidTaskError",
    "LamportClock",
    "Limits",
    "LocalProtocolError",
    "Message",
    "Properties",
    "ProtocolError",
    "Reason",
    "RefusedContentError",
    "RemoteProtocolError",
    "Reply",
    "ReplyTo",
    "ResultMeta",
    "ResultNode",
    "Serializer",
    "State",
    "TaskHeaders",
    "TaskMessage",
    "TimeLimit",
    "TooLargeError",
    "UndecodableBodyError",
    "UnknownMessageError",
    "UnsafeExceptionError",
    "__version__",
    "accept_set",
    "check_signature",
    "compress",
    "decode",
    "decompress",
    "dumps",
    "encode",
    "loads",
    "parse_iso8601",
    "read_body",
    "read_envelope",
    "read_headers",
    "register",
    "saferepr",
    "write_envelope",
]

__version__ = "0.1.0.dev0"
