"""Two recordings of one version: the same, byte for byte, up to what differs from run to run.

Ids are renamed in the order in which they appear, times become the word of their form, process ids and hosts too.
Bodies that are JSON are opened first; in others the bytes of ids and times are replaced where they stand.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from celeriac_conformance.recorder.traffic import message_in

__all__ = ["all_differences", "differences", "settled"]

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HEX = re.compile(r"\b[0-9a-f]{32}\b")
_TIME = re.compile(r"20[012]\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z)?")
_EPOCH = re.compile(r"\b1[7-9]\d{8}\.\d+\b")
_PROCESS = re.compile(r"\bgen\d+@[\w.-]+")
_NODE = re.compile(r"\bconformance\d+@[\w.-]+")
_WAITED = re.compile(r"(line|pid|Retry in) \d+s?|0x[0-9a-f]+")
_FILE = re.compile(r'File "[^"]*"')
_RUN_VALUES = frozenset(
    {
        *("timestamp", "local_received", "runtime", "loadavg", "pid", "clock", "utcoffset"),
        *("processed", "active", "prefetch_count", "uptime", "rusage", "total", "pool", "broker"),
        *("x-received-from", "delivery_tag", "ticket", "time_start", "worker_pid", "hostname"),
        *("expiration", "sw_ver", "registered"),
    }
)
"""Fields whose value says when, where or by which process something was done."""


def settled(record: Mapping[str, Any]) -> list[str]:
    """Return a record's messages as texts that another run of the same version repeats, in sorted order.

    The order in which workers get to parts of a group is chance, and so is no part of the comparison.
    """
    texts = []
    for kind, opened in _parts(record["messages"]):
        names: dict[str, str] = {}
        text = json.dumps(_without_run(opened), sort_keys=True)
        for pattern in (_UUID, _HEX):
            text = pattern.sub(partial(_renamed, names), text)
        for pattern, word in (
            (_TIME, "TIME"),
            (_EPOCH, "EPOCH"),
            (_PROCESS, "SENDER"),
            (_NODE, "NODE"),
            (_WAITED, "NUMBER"),
            (_FILE, "FILE"),
        ):
            text = pattern.sub(word, text)
        texts.append(f"{kind} {text}")
    return sorted(texts)


def _parts(messages: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield kind and opened form of each message; of events the first of each type, for batches are chance."""
    types: set[str] = set()
    for message in messages:
        opened = _opened(message["wire"])
        if message["kind"] == "reply":
            opened["body"] = _without_names(opened["body"])
        if message["kind"] != "event":
            yield message["kind"], opened
            continue
        body = opened["body"]
        for event in body if isinstance(body, list) else [body]:
            if event["type"] not in types:
                types.add(event["type"])
                yield "event", {**opened, "body": event}


def _without_names(body: Any) -> Any:
    """Leave out lists of texts that nodes answer with: names of the tasks that the program happens to have."""
    if not isinstance(body, Mapping):
        return body
    return {
        node: "…" if isinstance(found, list) and found and isinstance(found[0], str) else found
        for node, found in body.items()
    }


def _renamed(names: dict[str, str], found: re.Match[str]) -> str:
    return names.setdefault(found[0], f"ID{len(names)}")


def _opened(wire: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message with its JSON opened wherever it is JSON."""
    headers, properties, body = message_in(wire)
    where = {
        name: wire[name] for name in ("command", "key", "exchange", "routing_key") if name in wire
    }
    try:
        value = json.loads(body)
    except ValueError:
        value = base64.b64encode(_ID_BYTES.sub(b"-" * 36, body)).decode("ascii")
    return {"where": where, "headers": headers, "properties": properties, "body": value}


_ID_BYTES = re.compile(_UUID.pattern.encode())


def _without_run(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            str(key): "…" if key in _RUN_VALUES else _without_run(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_run(item) for item in value]
    return value


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each message that only one of two recordings has, and one when the call is another."""
    if before["call"] != after["call"]:
        yield f"{before['case']}: recorded for another call"
    left, right = settled(before), settled(after)
    for text in left:
        if text in right:
            right.remove(text)
        else:
            yield f"{before['case']}: no longer: {text}"
    for text in right:
        yield f"{before['case']}: new: {text}"


def all_differences(
    before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]
) -> Iterator[str]:
    """Yield a line for each difference between two sets of records, records that only one has among them."""
    old = {record["case"]: record for record in before}
    for record in after:
        if record["case"] in old:
            yield from differences(old.pop(record["case"]), record)
        else:
            yield f"{record['case']}: not among the records"
    for case in old:
        yield f"{case}: is no scenario"
