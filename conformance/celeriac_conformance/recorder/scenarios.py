"""What is recorded: calls, canvases, failures, events and commands, as data. A new record is one new line here."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from celeriac_conformance.forms import (
    Form,
    call,
    chain,
    chord,
    chunks,
    group,
    mapped,
    pipe,
    starmapped,
)

__all__ = ["SCENARIOS", "Scenario"]

_DAY = datetime.datetime(2035, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.UTC)
"""Far enough away for every clock this runs on; fixed, so that a record says what was asked for."""
_ALL = frozenset({"redis", "rabbitmq"})
_REDIS = frozenset({"redis"})


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One thing a producer does, and what it leads to."""

    name: str
    """``area/kebab-name``, the name of the record."""
    task: str | None = None
    """Task to call; or else `form`, or else `command`."""
    args: Sequence[object] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)
    by_name: bool = False
    form: Form | None = None
    command: Mapping[str, Any] | None = None
    """Request to the driver that is no call: `control` or `inspect` and their arguments."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Settings of the producer's app."""
    queue: str = "celery"
    """``held`` has no worker: what is sent there is recorded and nothing else happens."""
    kinds: frozenset[str] = frozenset({"task"})
    """Kinds of traffic that the record keeps."""
    since: str = "4.0"
    brokers: frozenset[str] = _ALL
    waits: bool = True
    """Whether the call ends with a result the producer can wait for."""


def _plain(name: str, task: str, *args: object, **more: Any) -> Scenario:
    return Scenario(name=name, task=task, args=args, queue="held", waits=False, **more)


def _canvas(name: str, form: Form, **more: Any) -> Scenario:
    return Scenario(name=name, form=form, queue="held", waits=False, **more)


def _run(name: str, task: str, *args: object, **more: Any) -> Scenario:
    return Scenario(
        name=name, task=task, args=args, **{"kinds": frozenset({"task", "result"}), **more}
    )


def _result(name: str, task: str, *args: object, **more: Any) -> Scenario:
    return Scenario(name=name, task=task, args=args, kinds=frozenset({"result"}), **more)


def _asked(name: str, method: str, **arguments: object) -> Scenario:
    return Scenario(
        name=name,
        command={"cmd": "inspect", "method": method, **arguments},
        kinds=frozenset({"request", "reply"}),
    )


def _told(name: str, method: str, **arguments: object) -> Scenario:
    return Scenario(
        name=name,
        command={"cmd": "control", "method": method, "arguments": arguments},
        kinds=frozenset({"request", "reply"}),
    )


_TYPED = {
    "uuid": uuid.UUID("12345678-1234-4678-9234-567812345678"),
    "datetime": _DAY,
    "date": _DAY.date(),
    "decimal": decimal.Decimal("12.50"),
}
_NESTED: dict[str, object] = {
    "list": [1, 2.5, None, True],
    "dict": {"a": {"b": ["c"]}},
    "empty": [{}, []],
}

_CALLS = (
    _plain("calls/plain", "add", 2, 3),
    _plain("calls/no-arguments", "noop"),
    _plain("calls/keywords", "echo_all", 1, kwargs={"b": "two", "c": None}),
    _plain("calls/unicode", "echo", "żółw 🐢 \u0000 \u2028"),
    _plain("calls/nested-values", "echo", _NESTED),
    _plain("calls/large-text", "measure", "x" * 5000),
    _plain("calls/many-numbers", "xsum", list(range(500))),
    _plain("calls/by-name", "add", 2, 3, by_name=True),
    _plain("calls/by-unknown-name", "nobody.knows", 1, by_name=True),
    _plain("calls/task-id", "add", 2, 3, options={"task_id": "an id of one's own"}),
    _plain("calls/priority", "add", 2, 3, options={"priority": 5}),
    _plain("calls/shadow", "add", 2, 3, options={"shadow": "alias"}),
    _plain("calls/argsrepr", "add", 2, 3, options={"argsrepr": "(…)", "kwargsrepr": "{…}"}),
    _plain("calls/headers", "add", 2, 3, options={"headers": {"tenant": "a", "depth": 2}}),
    _plain("calls/ignore-result", "add", 2, 3, options={"ignore_result": True}),
    _plain("calls/ignored-by-task", "ignored", 1),
    _plain("calls/time-limits", "add", 2, 3, options={"time_limit": 30, "soft_time_limit": 20}),
    _plain("calls/soft-time-limit", "add", 2, 3, options={"soft_time_limit": 1.5}),
    _plain("calls/transient", "add", 2, 3, options={"delivery_mode": 1}),
    _plain("calls/expiration", "add", 2, 3, options={"expiration": 60}),
    _plain(
        "calls/parents", "add", 2, 3, options={"root_id": "the root", "parent_id": "the parent"}
    ),
    _plain("calls/group-id", "add", 2, 3, options={"group_id": "the group"}),
    _plain("times/eta", "add", 2, 3, options={"eta": _DAY}),
    _plain("times/countdown", "add", 2, 3, options={"countdown": 3600}),
    _plain("times/expires", "add", 2, 3, options={"expires": _DAY}),
    _plain("times/expires-seconds", "add", 2, 3, options={"expires": 3600}),
    _plain("times/eta-and-expires", "add", 2, 3, options={"eta": _DAY, "expires": _DAY}),
)
_CODECS = (
    *(
        _plain(
            f"serializers/{name}", "echo_all", 1, kwargs={"text": "ż"}, options={"serializer": name}
        )
        for name in ("json", "pickle", "yaml", "msgpack")
    ),
    _plain("serializers/json-typed", "echo", _TYPED),
    _plain("serializers/pickle-typed", "echo", _TYPED, options={"serializer": "pickle"}),
    *(
        _plain(f"compression/{name}", "measure", "celeriac " * 100, options={"compression": name})
        for name in ("gzip", "bzip2", "zlib", "brotli", "zstd")
    ),
    _plain(
        "compression/lzma",
        "measure",
        "celeriac " * 100,
        options={"compression": "lzma"},
        since="5.0",
    ),
)
_PROTOCOL_1 = tuple(
    _plain(f"protocol1/{name}", "add", 2, 3, options=options, settings={"task_protocol": 1})
    for name, options in (
        ("plain", {}),
        ("eta-and-expires", {"eta": _DAY, "expires": _DAY}),
        ("time-limits", {"time_limit": 30, "soft_time_limit": 20}),
        ("link", {"link": [call("collect")]}),
        ("link-error", {"link_error": [call("errback_old")]}),
        ("pickle", {"serializer": "pickle"}),
    )
)
_ADD = (call("add", 1, 2), call("add", 3, 4))
_CANVASES = (
    _plain("links/link", "add", 2, 3, options={"link": [call("collect")]}),
    _plain(
        "links/link-immutable", "add", 2, 3, options={"link": [call("collect", immutable=True)]}
    ),
    _plain("links/link-error", "add", 2, 3, options={"link_error": [call("errback_old")]}),
    _canvas(
        "links/of-a-signature",
        call("add", 2, 3).link(call("collect")).link_error(call("errback_old")),
    ),
    _canvas("canvas/signature", call("add", 2, 3).with_options(priority=3, countdown=3600)),
    _canvas("canvas/chain", chain(call("add", 1, 2), call("add", 3), call("add", 4))),
    _canvas("canvas/pipe", pipe(call("add", 1, 2), call("add", 3))),
    _canvas(
        "canvas/chain-link-error",
        chain(call("add", 1, 2), call("add", 3)).link_error(call("errback_old")),
    ),
    _canvas("canvas/chain-immutable", chain(call("add", 1, 2), call("add", 3, 4, immutable=True))),
    _canvas(
        "canvas/chain-options", chain(call("add", 1, 2), call("add", 3).with_options(priority=7))
    ),
    _canvas("canvas/group", group(*_ADD)),
    _canvas(
        "canvas/group-of-chains", group(chain(call("add", 1, 2), call("add", 3)), call("add", 4, 5))
    ),
    _canvas("canvas/map", mapped("xsum", [[1, 2], [3, 4]])),
    _canvas("canvas/starmap", starmapped("add", [[1, 2], [3, 4]])),
    _canvas("canvas/chunks", chunks("add", [[1, 2], [3, 4], [5, 6]], 2)),
    _canvas("canvas/chord", chord(_ADD, call("xsum")), brokers=_REDIS),
    _canvas(
        "canvas/chord-link-error",
        chord(_ADD, call("xsum").link_error(call("errback_old"))),
        brokers=_REDIS,
    ),
    _canvas(
        "canvas/chord-of-chains",
        chord([chain(call("add", 1, 2), call("add", 3)), call("add", 4, 5)], call("xsum")),
        brokers=_REDIS,
    ),
    _canvas(
        "canvas/chord-then-task", chain(chord(_ADD, call("xsum")), call("add", 10)), brokers=_REDIS
    ),
    _canvas("canvas/group-then-task", pipe(group(*_ADD), call("xsum")), brokers=_REDIS),
    _canvas(
        "canvas/task-then-group", pipe(call("add", 1, 2), group(call("add", 3), call("add", 4)))
    ),
    _canvas(
        "canvas/chord-in-chord",
        chord([chord(_ADD, call("xsum")), call("add", 5, 6)], call("xsum")),
        brokers=_REDIS,
    ),
    _canvas("stamping/signature", call("add", 2, 3).stamped(tenant="a"), since="5.3"),
    _canvas(
        "stamping/chain", chain(call("add", 1, 2), call("add", 3)).stamped(tenant="a"), since="5.3"
    ),
    _canvas("stamping/group", group(*_ADD).stamped(tenant="a"), since="5.3"),
)
_RUNS = (
    _run("runs/plain", "add", 2, 3),
    _run("runs/retry", "retry_n", 2),
    _run("runs/retry-because", "retry_because", 1, "again"),
    _run("runs/retry-exhausted", "retry_exhausted", 1, "enough"),
    _run("runs/autoretry", "autoretry", 1),
    _run("runs/link", "add", 2, 3, options={"link": [call("collect")]}),
    _run(
        "runs/link-error",
        "fail",
        "ValueError",
        "x",
        options={"link_error": [call("errback_old").with_options(queue="other")]},
    ),
    _run("runs/replace", "replace_with_add", 2, 3, brokers=_REDIS),
    _run("runs/replace-with-chain", "replace_with_chain", 1, 2, 3, brokers=_REDIS),
    _run("runs/spawn", "spawn", 2),
    Scenario(
        name="runs/chain",
        form=chain(call("add", 1, 2), call("add", 3)),
        kinds=frozenset({"task", "result"}),
    ),
    Scenario(name="runs/group", form=group(*_ADD), kinds=frozenset({"task", "result"})),
    Scenario(
        name="runs/chord",
        form=chord(_ADD, call("xsum")),
        kinds=frozenset({"task", "result"}),
        brokers=_REDIS,
    ),
    Scenario(
        name="runs/chord-in-chain",
        form=chain(call("add", 1, 2), group(call("add", 3), call("add", 4)), call("xsum")),
        kinds=frozenset({"task", "result"}),
        brokers=_REDIS,
    ),
    Scenario(
        name="runs/chord-body-failing",
        form=chord([call("add", 1, 2), call("fail", "ValueError", "part")], call("xsum")),
        kinds=frozenset({"task", "result"}),
        brokers=_REDIS,
    ),
)
_RESULTS = (
    _result("results/number", "add", 2, 3),
    _result("results/none", "echo", None),
    _result("results/nested", "echo", _NESTED),
    _result("results/unicode", "echo", "żółw 🐢"),
    _result("results/builtin-exception", "fail", "ValueError", "text", 7),
    _result("results/key-error", "fail", "KeyError", "missing"),
    _result("results/own-exception", "fail", "BrokenError", "text"),
    _result("results/nested-exception-class", "fail", "Outer.InnerError", "text"),
    _result("results/picky-exception", "fail", "PickyError", "a", "b"),
    _result("results/unencodable-argument", "fail_with_object"),
    _result("results/unencodable-value", "return_object"),
    _run("results/ignored", "ignored", 1, waits=False),
    _result("results/states", "progress", 2),
    _result("results/started", "tracked", 1),
    _result("results/expired", "add", 1, 2, options={"expires": _DAY.replace(year=2001)}),
    _result(
        "results/soft-time-limit", "sleep", 5, options={"soft_time_limit": 1, "time_limit": 20}
    ),
    _result("results/children", "spawn", 2),
)
_EVENTS = (
    Scenario(
        name="events/success",
        task="add",
        args=(2, 3),
        kinds=frozenset({"event"}),
        settings={"task_send_sent_event": True},
    ),
    Scenario(
        name="events/failure", task="fail", args=("ValueError", "x"), kinds=frozenset({"event"})
    ),
    Scenario(name="events/retry", task="retry_n", args=(1,), kinds=frozenset({"event"})),
    Scenario(
        name="events/expired",
        task="add",
        args=(2, 3),
        options={"expires": _DAY.replace(year=2001)},
        kinds=frozenset({"event"}),
    ),
    Scenario(
        name="events/rejected",
        task="reject",
        args=("why",),
        waits=False,
        kinds=frozenset({"event"}),
    ),
    Scenario(
        name="events/heartbeat",
        command={"cmd": "control", "method": "heartbeat", "arguments": {}},
        kinds=frozenset({"event"}),
    ),
)
_CONTROL = (
    *(
        _asked(f"control/inspect-{method.replace('_', '-')}", method)
        for method in (
            "ping",
            "active",
            "scheduled",
            "reserved",
            "revoked",
            "registered",
            "active_queues",
            "stats",
        )
    ),
    _asked("control/inspect-query-task", "query_task", args=["nobody"]),
    _told("control/rate-limit", "rate_limit", task_name="add", rate_limit="100/m"),
    _told("control/time-limit", "time_limit", task_name="add", soft=5, hard=10),
    _told("control/revoke", "revoke", task_id="nobody", terminate=False),
    _told("control/add-consumer", "add_consumer", queue="more"),
    _told("control/cancel-consumer", "cancel_consumer", queue="more"),
    _told("control/pool-grow", "pool_grow", n=1),
    _told("control/pool-shrink", "pool_shrink", n=1),
    _told("control/disable-events", "disable_events"),
    _told("control/enable-events", "enable_events"),
    _told("control/no-such-task", "rate_limit", task_name="nobody", rate_limit="1/s"),
)

SCENARIOS: tuple[Scenario, ...] = (
    *_CALLS,
    *_CODECS,
    *_PROTOCOL_1,
    *_CANVASES,
    *_RUNS,
    *_RESULTS,
    *_EVENTS,
    *_CONTROL,
)
"""All records of a version, in the order in which they are made."""
