"""Messages that real Celery published, and how to compare ours with them.

Ids, times and the sender's name differ from run to run: ids are renamed in the order in which a walk over sorted keys
meets them, times become a word. What is left is compared field by field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.compat.doubles import Sent

__all__ = ["as_record", "differences", "load", "normalized", "undeclared"]

_HERE = Path(__file__).parent
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"20\d\d-\d\d-\d\dT[\d:.]+\+00:00")
_DEFAULTS: dict[str, Any] = {
    "lang": "py",
    "shadow": None,
    "eta": None,
    "expires": None,
    "group": None,
    "group_index": None,
    "retries": 0,
    "timelimit": [None, None],
    "parent_id": None,
    "kwargsrepr": "{}",
    "ignore_result": False,
    "replaced_task_nesting": 0,
    "stamped_headers": None,
    "stamps": {},
}


def load(name: str) -> dict[str, Any]:
    """Return recorded messages by expression, as `normalized` left them."""
    found: dict[str, Any] = json.loads((_HERE / f"{name}.json").read_text())
    return found


def as_record(sent: Sent) -> dict[str, Any]:
    """Return one message of ours in the shape of the records; headers at their default are left out."""
    properties = sent.message.properties
    named = {
        name: value
        for name in ("correlation_id", "delivery_mode", "expiration", "priority")
        if (value := getattr(properties, name)) is not None
    }
    return trimmed(
        {
            "queue": sent.routing_key,
            "headers": dict(sent.headers),
            "properties": {**named, **properties.extra},
            "body": sent.body,
        }
    )


def trimmed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what every message has."""
    made: dict[str, Any] = json.loads(json.dumps(record))
    made["headers"] = {
        key: value
        for key, value in made["headers"].items()
        if key != "origin" and not (key in _DEFAULTS and _DEFAULTS[key] == value)
    }
    properties = made["properties"]
    properties.pop("reply_to", None)
    if properties.get("correlation_id") == made["headers"]["id"]:
        del properties["correlation_id"]
    for key, usual in (("delivery_mode", 2), ("priority", 0)):
        if properties.get(key) == usual:
            del properties[key]
    args, kwargs, embed = made["body"]
    made["body"] = [args, kwargs, {key: value for key, value in embed.items() if value is not None}]
    return made


def normalized(value: Any) -> Any:
    """Rename what differs from run to run."""
    copied = json.loads(json.dumps(value))
    _settle(copied)
    names: dict[str, str] = {}
    text = json.dumps(copied, sort_keys=True)
    text = _UUID.sub(lambda match: names.setdefault(match[0], f"ID{len(names)}"), text)
    return json.loads(_TIME.sub("TIME", text))


def _settle(value: Any) -> None:
    if isinstance(value, dict):
        value.pop("reply_to", None)
        if isinstance(value.get("stamped_headers"), list):
            value["stamped_headers"].sort()  # went through a set
        if "expiration" in value:
            value["expiration"] = "MILLISECONDS"
        if str(value.get("origin", "")).startswith("gen"):
            value["origin"] = "SENDER"
        for item in value.values():
            _settle(item)
    elif isinstance(value, list):
        for item in value:
            _settle(item)


def differences(theirs: Any, ours: Any, path: str = "") -> Iterator[str]:
    """Yield the paths at which two values differ."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted(theirs.keys() | ours.keys()):
            if key not in theirs or key not in ours:
                yield f"{path}/{key}"
            else:
                yield from differences(theirs[key], ours[key], f"{path}/{key}")
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for index, (left, right) in enumerate(zip(theirs, ours, strict=True)):
            yield from differences(left, right, f"{path}/{index}")
    elif theirs != ours:
        yield path


def undeclared(theirs: Any, ours: Any) -> list[str]:
    """Return the paths at which two values differ, but for the size of a chord on its body.

    Ours alone has it, on every chord that is sent: Celery 4.0 to 5.0 need it. Spec: results-and-workflows#4.2.
    """
    return [path for path in differences(theirs, ours) if not path.endswith("/chord_size")]
