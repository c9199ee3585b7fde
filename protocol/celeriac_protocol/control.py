"""Remote control: the commands with their arguments, one request, one reply.

Spec: control-and-events#1, control-and-events#9.1, control-and-events#9.2
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from celeriac_protocol.errors import RemoteProtocolError
from celeriac_protocol.message import Message, Properties
from celeriac_protocol.serializers import dumps, loads

__all__ = [
    "ALIASES",
    "COMMANDS",
    "Argument",
    "Command",
    "CommandType",
    "Reply",
    "ReplyTo",
    "decode_command",
    "decode_reply",
    "encode_command",
    "encode_reply",
    "error",
    "ok",
    "read_revoked",
    "resolve",
]


class Argument(NamedTuple):
    """One keyword argument of a command."""

    name: str
    type: str = "str"
    """What the command line converts a word to: ``str``, ``int``, ``float``, ``bool``; ``any`` comes by API only."""
    default: object = None
    positional: bool = True
    """The command line takes it as a word; in the order of the table."""
    many: bool = False
    """It takes all remaining words, as a list."""
    required: bool = False


class CommandType(NamedTuple):
    """One command a worker answers."""

    name: str
    kind: str
    """``inspect`` only looks, ``control`` changes something."""
    arguments: tuple[Argument, ...] = ()
    hidden: bool = False
    """Between workers; no command line lists it."""


def _inspect(name: str, *arguments: Argument, hidden: bool = False) -> CommandType:
    return CommandType(name, "inspect", arguments, hidden)


def _control(name: str, *arguments: Argument, hidden: bool = False) -> CommandType:
    return CommandType(name, "control", arguments, hidden)


_TERMINATE = (
    Argument("terminate", "bool", False, positional=False),
    Argument("signal", "str", positional=False),
)
_TYPES = (
    _inspect("active", Argument("safe", "bool", False, positional=False)),
    _inspect("active_queues"),
    _inspect("clock"),
    _inspect("conf", Argument("with_defaults", "bool", False)),
    _inspect(
        "hello",
        Argument("from_node", required=True, positional=False),
        Argument("revoked", "any", positional=False),
        hidden=True,
    ),
    _inspect("memdump", Argument("samples", "int", 10)),
    _inspect("memsample"),
    _inspect(
        "objgraph",
        Argument("type", "str", "Request"),
        Argument("num", "int", 200),
        Argument("max_depth", "int", 10),
    ),
    _inspect("ping"),
    _inspect("query_task", Argument("ids", many=True, required=True)),
    _inspect(
        "registered",
        Argument("taskinfoitems", many=True),
        Argument("builtins", "bool", False, positional=False),
    ),
    _inspect("report"),
    _inspect("reserved"),
    _inspect("revoked"),
    _inspect("scheduled"),
    _inspect("stats"),
    _control(
        "add_consumer",
        Argument("queue", required=True),
        Argument("exchange"),
        Argument("exchange_type"),
        Argument("routing_key"),
    ),
    _control("autoscale", Argument("max", "int"), Argument("min", "int")),
    _control("cancel_consumer", Argument("queue", required=True)),
    _control("disable_events"),
    _control(
        "election",
        Argument("id", required=True, positional=False),
        Argument("topic", required=True, positional=False),
        Argument("action", "any", positional=False),
        hidden=True,
    ),
    _control("enable_events"),
    _control("heartbeat"),
    _control("pool_grow", Argument("n", "int", 1)),
    _control(
        "pool_restart",
        Argument("modules", "any", positional=False),
        Argument("reload", "bool", False, positional=False),
        Argument("reloader", "any", positional=False),
    ),
    _control("pool_shrink", Argument("n", "int", 1)),
    _control("rate_limit", Argument("task_name", required=True), Argument("rate_limit", required=True)),
    _control("revoke", Argument("task_id", many=True, required=True), *_TERMINATE),
    _control(
        "revoke_by_stamped_headers", Argument("headers", many=True, required=True), *_TERMINATE
    ),
    _control("shutdown", Argument("msg", "str", "Got shutdown from remote", positional=False)),
    _control("terminate", Argument("signal", required=True), Argument("task_id", many=True, required=True)),
    _control(
        "time_limit",
        Argument("task_name", required=True),
        Argument("soft", "float"),
        Argument("hard", "float"),
    ),
)  # fmt: skip

COMMANDS: Final[Mapping[str, CommandType]] = {command.name: command for command in _TYPES}
"""Spec: control-and-events#1.6-1.8."""

ALIASES: Final[Mapping[str, str]] = {
    "dump_active": "active",
    "dump_conf": "conf",
    "dump_reserved": "reserved",
    "dump_revoked": "revoked",
    "dump_schedule": "scheduled",
    "dump_tasks": "registered",
}
"""Old names of inspect commands, still sent."""


def resolve(method: str) -> CommandType | None:
    """Return the command a request's `method` means; `None` for one Celery does not have."""
    return COMMANDS.get(ALIASES.get(method, method))


class ReplyTo(NamedTuple):
    """Where the client waits."""

    exchange: str
    routing_key: str


_PATTERN_LIMIT: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One request, broadcast to every worker. Spec: control-and-events#1.2."""

    method: str
    """Name or alias."""
    arguments: Mapping[str, object] = field(default_factory=dict)
    destination: tuple[str, ...] | None = None
    """Node names; `None`: everyone."""
    pattern: str | None = None
    matcher: str | None = None
    """``glob`` or ``pcre``; counts only together with `pattern`."""
    ticket: str | None = None
    """Copied into the reply, by which the client knows it."""
    reply_to: ReplyTo | None = None
    """`None`: no reply is wanted, not even on error."""
    clock: int | None = None
    """Header: the client's mailbox clock."""
    expires: float | None = None
    """Header: Unix time. Workers ignore it."""

    def is_for(self, node: str) -> bool:
        """Tell whether the worker `node` is meant.

        Raises:
            RemoteProtocolError: The matcher is unknown, or the pattern is no pattern; Celery does not reply either.

        Spec: control-and-events#1.3
        """
        if self.destination:
            return node in self.destination
        if not self.pattern or not self.matcher:
            return True
        if len(self.pattern) > _PATTERN_LIMIT:
            raise RemoteProtocolError(
                "body['pattern']", f"at most {_PATTERN_LIMIT} characters", self.pattern
            )
        if self.matcher == "glob":
            return fnmatch.fnmatchcase(node, self.pattern)
        if self.matcher == "pcre":
            try:
                return re.match(self.pattern, node) is not None
            except (re.error, OverflowError, RecursionError) as exc:
                raise RemoteProtocolError(
                    "body['pattern']", f"a regular expression ({exc})", self.pattern
                ) from exc
        raise RemoteProtocolError("body['matcher']", "'glob' or 'pcre'", self.matcher)

    def headers(self) -> dict[str, object]:
        """Return the headers of the request, in wire order."""
        return {"clock": self.clock, "expires": self.expires}

    def to_dict(self) -> dict[str, object]:
        """Return the body of the request, keys in wire order."""
        body: dict[str, object] = {
            "method": self.method,
            "arguments": dict(self.arguments),
            "destination": None if self.destination is None else list(self.destination),
            "pattern": self.pattern,
            "matcher": self.matcher,
        }
        if self.reply_to is not None:
            body["ticket"] = self.ticket
            body["reply_to"] = self.reply_to._asdict()
        return body

    @classmethod
    def from_dict(cls, value: object, headers: Mapping[str, object] | None = None) -> Command:
        """Read a request.

        Args:
            value: The decoded body; unknown keys are ignored.
            headers: The message's, which may be missing.

        Raises:
            RemoteProtocolError: A key has an impossible shape. Celery sends no reply then; nor can we.

        Spec: control-and-events#1.2, control-and-events#1.3
        """
        if not isinstance(value, Mapping):
            raise RemoteProtocolError("body", "a mapping with 'method'", value)
        method = value.get("method")
        if not isinstance(method, str) or not method:
            raise RemoteProtocolError("body['method']", "the name of a command", method)
        arguments = value.get("arguments") or {}
        if not isinstance(arguments, Mapping) or not all(isinstance(key, str) for key in arguments):
            raise RemoteProtocolError("body['arguments']", "keyword arguments", arguments)
        headers = headers or {}
        return cls(
            method=method,
            arguments=arguments,
            destination=_destination(value.get("destination")),
            pattern=_text(value, "pattern"),
            matcher=_text(value, "matcher"),
            ticket=_text(value, "ticket"),
            reply_to=_reply_to(value.get("reply_to")),
            clock=_clock(headers.get("clock")),
            expires=_number(headers.get("expires")),
        )


def _destination(value: object) -> tuple[str, ...] | None:
    if not value:
        return None
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple) or not all(isinstance(node, str) for node in value):
        raise RemoteProtocolError("body['destination']", "a list of node names, or null", value)
    return tuple(value)


def _reply_to(value: object) -> ReplyTo | None:
    if not value:
        return None
    exchange, key = (
        (value.get("exchange"), value.get("routing_key"))
        if isinstance(value, Mapping)
        else (None, None)
    )
    if not isinstance(exchange, str) or not isinstance(key, str):
        raise RemoteProtocolError("body['reply_to']", "exchange and routing_key", value)
    return ReplyTo(exchange, key)


def _text(table: Mapping[str, object], key: str) -> str | None:
    value = table.get(key)
    if value is None or isinstance(value, str):
        return value
    raise RemoteProtocolError(f"body[{key!r}]", "a text, or null", value)


def _clock(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One worker's answer. Spec: control-and-events#1.4."""

    node: str
    value: object
    """What the command returned; `ok` and `error` make the two usual shapes."""
    ticket: str | None = None
    clock: int | None = None
    """Header: the worker's mailbox clock, plus one."""
    expires: float | None = None
    """Header, hardly ever there: Unix time after which a client drops the reply."""

    def headers(self) -> dict[str, object]:
        """Return the headers of the reply, in wire order; the ticket is there even when null."""
        headers: dict[str, object] = {"ticket": self.ticket, "clock": self.clock}
        if self.expires is not None:
            headers["expires"] = self.expires
        return headers

    def to_dict(self) -> dict[str, object]:
        """Return the body of the reply."""
        return {self.node: self.value}

    @classmethod
    def from_dict(cls, value: object, headers: Mapping[str, object] | None = None) -> Reply:
        """Read a reply.

        Args:
            value: The decoded body: a mapping with the node name as its one key.
            headers: The message's.

        Raises:
            RemoteProtocolError: Another body.
        """
        if not isinstance(value, Mapping) or len(value) != 1:
            raise RemoteProtocolError("body", "a mapping of one node name to its reply", value)
        ((node, answer),) = value.items()
        if not isinstance(node, str):
            raise RemoteProtocolError("body", "a mapping of one node name to its reply", value)
        headers = headers or {}
        ticket = headers.get("ticket")
        return cls(
            node=node,
            value=answer,
            ticket=ticket if isinstance(ticket, str) else None,
            clock=_clock(headers.get("clock")),
            expires=_number(headers.get("expires")),
        )


def ok(value: object) -> dict[str, object]:
    """Return the reply of a command that did its work."""
    return {"ok": value}


def error(reason: str | BaseException) -> dict[str, object]:
    """Return the reply of a command that did not; an exception shows as its `repr`."""
    return {"error": reason if isinstance(reason, str) else repr(reason)}


def read_revoked(value: object) -> tuple[str, ...]:
    """Read the revoked ids of a `hello`, request or reply, oldest first.

    Args:
        value: A list of ids (5.7 and everything we send), or a mapping of id to time stamp (up to 5.6).

    Raises:
        RemoteProtocolError: Neither.

    Spec: control-and-events#3.2
    """
    if value is None:
        return ()
    if isinstance(value, Mapping):
        value = list(value)
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise RemoteProtocolError("revoked", "a list of task ids", value)
    return tuple(value)


def encode_command(command: Command, *, serializer: str = "json") -> Message:
    """Write a request, for the fanout exchange with an empty routing key. Spec: control-and-events#1.2."""
    return _message(command.to_dict(), command.headers(), 2, serializer)


def decode_command(message: Message, *, accept: frozenset[str]) -> Command:
    """Read a request.

    Raises:
        RemoteProtocolError: The content type is refused, the body cannot be decoded, or as for `Command.from_dict`.
    """
    return Command.from_dict(_load(message, accept), message.headers)


def encode_reply(reply: Reply, *, serializer: str = "json") -> Message:
    """Write a reply, for the exchange and key of `Command.reply_to`. Spec: control-and-events#1.4."""
    return _message(reply.to_dict(), reply.headers(), 1, serializer)


def decode_reply(message: Message, *, accept: frozenset[str]) -> Reply:
    """Read a reply.

    Raises:
        RemoteProtocolError: The content type is refused, the body cannot be decoded, or as for `Reply.from_dict`.
    """
    return Reply.from_dict(_load(message, accept), message.headers)


def _load(message: Message, accept: frozenset[str]) -> object:
    properties = message.properties
    return loads(message.body, properties.content_type, properties.content_encoding, accept)


def _message(
    body: object, headers: dict[str, object], delivery_mode: int, serializer: str
) -> Message:
    encoded = dumps(body, serializer)
    properties = Properties(
        content_type=encoded.content_type,
        content_encoding=encoded.content_encoding,
        delivery_mode=delivery_mode,
        priority=0,
    )
    return Message(headers, properties, encoded.data)
