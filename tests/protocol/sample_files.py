"""The specification's captured messages, kept as data in `samples/`, and how to make a `Message` of each carrier.

The two readers here are small on purpose and share no code with the package: they are what it is compared with.
"""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import fields
from pathlib import Path
from typing import Any

from celeriac_protocol.message import DeliveryInfo, Message, Properties

SAMPLES = Path(__file__).parent / "samples"
_PROPERTY_NAMES = {each.name for each in fields(Properties)} - {"extra"}
_NOT_PROPERTIES = {"delivery_info", "delivery_tag", "body_encoding"}


def sample(name: str) -> dict[str, Any]:
    """Return one file of `samples/`."""
    document: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))
    return document


def from_envelope(text: str) -> Message:
    """Return the message in a JSON envelope, as every broker but AMQP carries it."""
    envelope = json.loads(text)
    properties = envelope["properties"]
    info = properties["delivery_info"]
    return Message(
        envelope["headers"],
        Properties(
            content_type=envelope["content-type"],
            content_encoding=envelope["content-encoding"],
            **{key: value for key, value in properties.items() if key in _PROPERTY_NAMES},
            extra={
                key: value
                for key, value in properties.items()
                if key not in _PROPERTY_NAMES | _NOT_PROPERTIES
            },
        ),
        base64.b64decode(envelope["body"]),
        DeliveryInfo(exchange=info["exchange"], routing_key=info["routing_key"]),
    )


class ContentHeader:
    """An AMQP content header frame: body size, and the properties Celery sends."""

    def __init__(self, frame_hex: str) -> None:
        frame = bytes.fromhex(frame_hex)
        kind, _channel, size = struct.unpack_from(">BHI", frame)
        assert kind == 2
        assert frame[-1] == 0xCE
        self._data = frame[7 : 7 + size]
        class_id, _weight, self.body_size, self.flags = struct.unpack_from(">HHQH", self._data)
        assert class_id == 60
        self._at = 14
        self.content_type = self._short_text()
        self.content_encoding = self._short_text()
        self.headers_bytes = self._data[self._at : self._at + 4 + self._peek_size()]
        self.headers = self._table()
        self.delivery_mode = self._byte()
        self.priority = self._byte()
        self.correlation_id = self._short_text()
        self.reply_to = self._short_text()
        assert self._at == len(self._data)

    def message(self, body: str) -> Message:
        """Return the whole message."""
        return Message(
            self.headers,
            Properties(
                content_type=self.content_type,
                content_encoding=self.content_encoding,
                delivery_mode=self.delivery_mode,
                priority=self.priority,
                correlation_id=self.correlation_id,
                reply_to=self.reply_to,
            ),
            body.encode(),
        )

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _peek_size(self) -> int:
        size: int = struct.unpack_from(">I", self._data, self._at)[0]
        return size

    def _short_text(self) -> str:
        return self._take(self._byte()).decode()

    def _long_text(self) -> bytes:
        size = self._peek_size()
        self._at += 4
        return self._take(size)

    def _take(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]

    def _table(self) -> dict[str, Any]:
        end = self._peek_size() + self._at + 4
        self._at += 4
        table = {}
        while self._at < end:
            key = self._short_text()
            table[key] = self._value()
        return table

    def _value(self) -> Any:
        kind = chr(self._byte())
        if kind == "S":
            return self._long_text().decode()
        if kind == "I":
            return struct.unpack(">i", self._take(4))[0]
        if kind == "t":
            return bool(self._byte())
        if kind == "V":
            return None
        if kind == "F":
            return self._table()
        assert kind == "A"
        end = self._peek_size() + self._at + 4
        self._at += 4
        items = []
        while self._at < end:
            items.append(self._value())
        return items


def table_bytes(table: Any) -> bytes:
    """Return a headers table as AMQP clients write it for Celery."""
    data = b"".join(_short(key) + _field(value) for key, value in table.items())
    return struct.pack(">I", len(data)) + data


def _short(text: str) -> bytes:
    return bytes([len(text.encode())]) + text.encode()


def _field(value: Any) -> bytes:
    if value is None:
        return b"V"
    if isinstance(value, bool):
        return b"t" + bytes([value])
    if isinstance(value, int):
        return b"I" + struct.pack(">i", value)
    if isinstance(value, str):
        return b"S" + struct.pack(">I", len(value.encode())) + value.encode()
    if isinstance(value, dict):
        return b"F" + table_bytes(value)
    data = b"".join(_field(item) for item in value)
    return b"A" + struct.pack(">I", len(data)) + data
