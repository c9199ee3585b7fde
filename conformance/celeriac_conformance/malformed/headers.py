"""Headers and properties with values of the wrong kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from celeriac_conformance.malformed.entry import (
    AMQP,
    BOTH,
    FAILED,
    FREE,
    HELD,
    ID,
    JSON,
    REDIS,
    REFUSED,
    RUN,
    Malformed,
    good_body,
    v2,
)

__all__ = ["headers", "ids_and_names", "tables", "times"]


def ids_and_names() -> Iterator[Malformed]:
    """Yield messages whose `id` or `task` is wrong."""
    yield v2("id-missing", REFUSED, drop=("id",))
    odd: dict[str, Any] = {"null": None, "empty": "", "number": 7, "float": 1.5, "boolean": True}
    for label, value in odd.items():
        yield v2(f"id-{label}", FREE, headers={"id": value})
    yield v2("id-list", FREE, headers={"id": [ID]})
    yield v2("id-mapping", FREE, headers={"id": {"a": ID}})
    yield v2("id-of-a-megabyte", FREE, headers={"id": "i" * 1_000_000 + ID}, kinds=REDIS)
    yield v2("id-of-sixty-kilobytes", FREE, headers={"id": "i" * 60_000 + ID})
    yield v2("id-with-line-breaks", RUN, headers={"id": f"a\r\nb {ID}"})
    yield v2("task-unknown", FAILED, headers={"task": "no.such.task"})
    yield v2("task-unknown-without-id", REFUSED, headers={"task": "no.such.task"}, drop=("id",))
    yield v2("task-unknown-of-sixty-kilobytes", FAILED, headers={"task": "t" * 60_000})
    odd = {"null": None, "number": 7, "empty": "", "list": ["collect"], "mapping": {"a": 1}}
    for label, value in odd.items():
        yield v2(f"task-{label}", REFUSED, headers={"task": value})


def times() -> Iterator[Malformed]:
    """Yield messages whose times or limits are wrong."""
    wrong: dict[str, Any] = {
        "word": "tomorrow",
        "empty": "",
        "number": 1_700_000_000,
        "float": 1.5,
        "boolean": True,
        "list": [2030, 1, 1],
        "mapping": {"year": 2030},
        "month-13": "2030-13-01T00:00:00",
        "bad-offset": "2030-01-01T00:00:00+99:99",
        "long": "2030-01-01T00:00:00." + "9" * 5000,
    }
    for name, value in wrong.items():
        yield v2(f"eta-{name}", FREE if name == "long" else REFUSED, headers={"eta": value})
        yield v2(f"expires-{name}", FREE if name == "long" else REFUSED, headers={"expires": value})
    yield v2("eta-year-9999", HELD, headers={"eta": "9999-12-31T23:59:59.999999-12:00"})
    yield v2("eta-year-1", RUN, headers={"eta": "0001-01-01T00:00:00+14:00"})
    yield v2("expires-in-the-past", FAILED, headers={"expires": "2001-01-01T00:00:00+00:00"})
    yield v2("expires-year-9999", RUN, headers={"expires": "9999-12-31T23:59:59.999999-12:00"})
    limits: dict[str, Any] = {
        "text": "abc",
        "one-item": [1],
        "three-items": [1, 2, 3],
        "mapping": {"a": 1},
        "number": 5,
        "words": ["a", "b"],
        "lists": [[1], [2]],
        "negative": [-1, -1],
        "huge": [2**62, 2**62],
        "infinite": [float("inf"), float("inf")],
        "not-a-number": [float("nan"), float("nan")],
        "soft-above-hard": [30, 60],
    }
    for name, value in limits.items():
        # RabbitMQ itself refuses such floats in a header table.
        kinds = REDIS if name in ("infinite", "not-a-number") else BOTH
        yield v2(f"timelimit-{name}", FREE, headers={"timelimit": value}, kinds=kinds)
    for name, value in (
        ("null", None),
        ("empty", []),
        ("zeros", [0, 0]),
        ("numeric-text", ["60", "50"]),
    ):
        yield v2(
            f"timelimit-{name}",
            FREE if name == "numeric-text" else RUN,
            headers={"timelimit": value},
        )
    yield v2("timelimit-absent", RUN, drop=("timelimit",))


def headers() -> Iterator[Malformed]:
    """Yield messages with other headers or properties of the wrong kind."""
    odd: dict[str, list[Any]] = {
        "retries": ["x", None, -1, 1.5, []],
        "group": [5, ["g"], {"g": 1}],
        "group_index": ["x", [0], -1],
        "root_id": [5, ["r"], ""],
        "parent_id": [5, {"p": 1}],
        "argsrepr": [5, None, ["x"]],
        "kwargsrepr": [5, {"a": 1}],
        "origin": [5, None, ["o"]],
        "ignore_result": ["yes", 5, []],
        "replaced_task_nesting": ["x", None, [1]],
        "shadow": [5, ["s"], {"s": 1}],
        "stamped_headers": [5, "abc", {"a": 1}, [1, None]],
        "stamps": [5, ["s"], "abc"],
        "lang": [None, 5, ["py"]],
        "meth": [5, ["m"]],
    }
    for name, values in odd.items():
        for number, value in enumerate(values, start=1):
            label = f"{name.replace('_', '-')}-{type(value).__name__.lower()}-{number}"
            yield v2(f"header-{label}", FREE, headers={name: value})
    yield v2(
        "header-stamps-list-with-names", FREE, headers={"stamped_headers": ["a"], "stamps": ["a"]}
    )
    reserved = (
        "args",
        "kwargs",
        "properties",
        "hostname",
        "delivery_info",
        "called_directly",
        "is_eager",
        "body",
    )
    yield v2("headers-named-like-request-fields", RUN, headers=dict.fromkeys(reserved, "x"))
    dunder = ("__class__", "__dict__", "__init__", "update", "get", "_protected", "")
    yield v2("headers-named-like-python-attributes", FREE, headers=dict.fromkeys(dunder, "x"))
    yield v2("headers-a-thousand", RUN, headers={f"x-{number}": number for number in range(1000)})
    yield v2("headers-nested", RUN, headers={"x": {"y": [{"z": [[[None]]]}]}})
    yield Malformed(name="headers-absent", allowed=REFUSED, headers=None, body=good_body())
    yield Malformed(name="headers-empty", allowed=REFUSED, headers={}, body=good_body())
    for name, value in (
        ("text", "high"),
        ("negative", -5),
        ("huge", 10**9),
        ("list", [1]),
        ("null", None),
    ):
        yield v2(f"priority-{name}", FREE, properties={**JSON, "priority": value}, kinds=REDIS)
    yield v2("reply-to-number", FREE, properties={**JSON, "reply_to": 5}, kinds=REDIS)
    yield v2("reply-to-nowhere", RUN, properties={**JSON, "reply_to": "no such queue"})
    yield v2("correlation-id-long", RUN, properties={**JSON, "correlation_id": "c" * 255})


def tables() -> Iterator[Malformed]:
    """Yield what only an AMQP table can say."""
    yield v2(
        "amqp-bytes-in-headers", FREE, headers={"x": b"\xff\xfe", "root_id": b"\xff"}, kinds=AMQP
    )
    yield v2(
        "amqp-without-content-type-or-headers",
        REFUSED,
        drop=("task", "id"),
        properties={},
        kinds=AMQP,
    )
    yield v2("amqp-wide-integers-in-headers", RUN, headers={"x": 2**62, "y": -(2**40)}, kinds=AMQP)
    yield v2(
        "amqp-message-properties",
        RUN,
        properties={**JSON, "message_id": "m", "type": "t", "app_id": "a"},
        kinds=AMQP,
    )
