"""Which of the things a broker tells are messages, and of which kind.

A record keeps them as they crossed the wire: on Redis the envelope's text or the stored document, on RabbitMQ headers,
properties and body. Spec: task-message#1, results-and-workflows#2, control-and-events#1, #2.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

from celeriac_conformance.drivers import typed_values
from celeriac_conformance.wires import Frame

__all__ = ["KINDS", "kind_of", "message_in", "wire_form", "without_frames"]

KINDS = ("task", "result", "event", "request", "reply")
"""What a record may hold."""

_META = "celery-task-meta-"
_REPLY = ".reply.celery.pidbox"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TRACEBACK = re.compile(r'("traceback": )("(?:[^"\\]|\\.)*")')
_EXCHANGES = {"celeryev": "event", "celery.pidbox": "request", "reply.celery.pidbox": "reply"}


def kind_of(frame: Frame) -> str | None:
    """Return the kind of what a frame carries, or None when it is nothing to record."""
    if frame.message is not None:
        return _kind_on_amqp(frame)
    if frame.action == "LPUSH":
        return "reply" if frame.where.endswith(_REPLY) else "task"
    if frame.action in ("SET", "SETEX") and frame.where.startswith(_META):
        return "result"
    if frame.action == "PUBLISH":
        channel = frame.where.partition(".")[2]
        return _EXCHANGES.get(channel.partition("/")[0])
    return None


def _kind_on_amqp(frame: Frame) -> str | None:
    if frame.action != "publish":
        return None
    exchange, key = _address(frame)
    if exchange in _EXCHANGES:
        return _EXCHANGES[exchange]
    if exchange:
        return "task"
    # Reply queues of rpc results are called by an id; nobody gives a queue of tasks such a name.
    return "result" if _UUID.fullmatch(key) else "task"


def _address(frame: Frame) -> tuple[str, str]:
    exchange, _, key = frame.where.partition(" ")
    if frame.where.startswith("(default exchange)"):
        return "", frame.where.removeprefix("(default exchange)").strip()
    return exchange, key


def without_frames(text: str) -> str:
    """Leave the frames out of every traceback in a JSON text, all else as it is.

    Frames quote lines of the program that ran and name its files: neither is part of the protocol.
    """
    return _TRACEBACK.sub(_framed, text)


def _framed(found: re.Match[str]) -> str:
    lines: list[str] = json.loads(found[2]).splitlines()
    kept = [line for number, line in enumerate(lines) if number == 0 or not line.startswith(" ")]
    return found[1] + json.dumps("\n".join([*kept, ""]) if kept else "")


def wire_form(frame: Frame) -> dict[str, Any]:
    """Return what crossed the wire, as JSON can say it; tracebacks without their frames."""
    if frame.message is None:
        value = frame.parts[-1] if frame.action != "SET" else frame.parts[0]
        if frame.action in ("LPUSH", "PUBLISH"):
            value = _reopened(value)
        return {"command": frame.action, "key": frame.where, "value": without_frames(value)}
    exchange, key = _address(frame)
    message = frame.message
    return {
        "exchange": exchange,
        "routing_key": key,
        "headers": typed_values.encode(_plain(message.headers)),
        "properties": typed_values.encode(_plain(message.properties)),
        "body": base64.b64encode(_frameless(message.body)).decode("ascii"),
    }


def _frameless(body: bytes) -> bytes:
    return without_frames(body.decode()).encode() if b'"traceback"' in body else body


def _reopened(envelope: str) -> str:
    """Leave frames out of the body inside an envelope; the envelope itself stays as it is."""
    outer = json.loads(envelope)
    if outer.get("properties", {}).get("body_encoding") != "base64":
        return envelope
    body = base64.b64decode(outer["body"])
    changed = base64.b64encode(_frameless(body)).decode("ascii")
    return envelope.replace(outer["body"], changed) if outer["body"] else envelope


def _plain(value: Any) -> Any:
    """Turn the tables of an AMQP library into dictionaries."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def message_in(wire: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any], bytes]:
    """Return headers, properties and body bytes of a recorded message.

    Content type and encoding are among the properties, whatever the broker. A stored document has neither.
    """
    if "body" in wire:
        headers = typed_values.decode(wire["headers"]) or {}
        return headers, typed_values.decode(wire["properties"]), base64.b64decode(wire["body"])
    if wire["command"].startswith("SET"):
        return {}, {}, wire["value"].encode()
    envelope = json.loads(wire["value"])
    properties = {
        **envelope["properties"],
        "content_type": envelope["content-type"],
        "content_encoding": envelope["content-encoding"],
    }
    body = envelope["body"].encode()
    if properties.get("body_encoding") == "base64":
        body = base64.b64decode(body)
    return envelope["headers"] or {}, properties, body
