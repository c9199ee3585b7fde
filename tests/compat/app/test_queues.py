"""Queues and routes: what exists, and where a call goes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import kombu
import pytest

from celeriac.app.app import Celery
from celeriac.app.queues import Queues
from celeriac.exceptions import QueueNotFound

Queue: Any = kombu.Queue  # type: ignore[attr-defined]
Exchange: Any = kombu.Exchange  # type: ignore[attr-defined]
binding: Any = kombu.binding  # type: ignore[attr-defined]


@pytest.fixture
def app() -> Iterator[Celery]:
    with Celery("q", broker="memory://", set_as_current=False) as made:
        yield made


def routed(app: Celery, routes: Any, options: dict[str, Any] | None = None) -> dict[str, Any]:
    app.conf.task_routes = routes
    app.amqp.flush_routes()
    found: dict[str, Any] = app.amqp.router.route(options or {}, "t.x", (1,), {"k": 1})
    return {**found, **({"queue": found["queue"].name} if "queue" in found else {})}


def names(app: Celery) -> dict[str, tuple[str, str, str]]:
    return {
        name: (queue.exchange.name, queue.exchange.type, queue.routing_key)
        for name, queue in app.amqp.queues.items()
    }


def test_without_settings_there_is_one_queue(app: Celery) -> None:
    assert names(app) == {"celery": ("celery", "direct", "celery")}
    assert app.amqp.queues.format() == ".> celery           exchange=celery(direct) key=celery"


def test_a_queue_without_exchange_gets_the_defaults(app: Celery) -> None:
    app.conf.update(
        task_queues=[Queue("a"), Queue("b", Exchange("bx", "topic"), "bk")],
        task_default_exchange="DE",
        task_default_exchange_type="topic",
        task_default_routing_key="DK",
    )
    assert names(app) == {"a": ("DE", "topic", "DK"), "b": ("bx", "topic", "bk")}


def test_queues_may_be_given_as_options_by_name(app: Celery) -> None:
    app.conf.update(
        task_queues={
            "q1": {"exchange": "e1", "binding_key": "k"},
            "q2": {},
            "q3": {"queue_arguments": {"x-max-priority": 3}},
        },
        task_queue_max_priority=7,
    )
    assert names(app)["q1"] == ("e1", "direct", "k")
    assert names(app)["q2"] == ("celery", "direct", "q2")
    priorities = [q.queue_arguments["x-max-priority"] for q in app.amqp.queues.values()]
    assert priorities == [7, 7, 3]


def test_a_queue_with_bindings_keeps_them(app: Celery) -> None:
    app.conf.task_queues = [Queue("mb", [binding(Exchange("e1"), "k1")])]
    queue = app.amqp.queues["mb"]
    assert {bound.exchange.name for bound in queue.bindings} == {"e1"}
    assert queue.exchange.name == "celery"


def test_the_default_queue_may_be_a_quorum_queue(app: Celery) -> None:
    app.conf.task_default_queue_type = "quorum"
    assert app.amqp.default_queue.queue_arguments == {"x-queue-type": "quorum"}
    assert app.amqp.queues["missing"].queue_arguments is None


def test_a_missing_queue_is_made_direct_under_its_own_name(app: Celery) -> None:
    app.conf.task_default_exchange_type = "topic"
    queue = app.amqp.queues["new"]
    assert (queue.exchange.name, queue.exchange.type, queue.routing_key) == ("new", "direct", "new")


def test_type_and_exchange_type_of_missing_queues_are_settings(app: Celery) -> None:
    app.conf.update(
        task_create_missing_queue_type="quorum", task_create_missing_queue_exchange_type="topic"
    )
    queue = app.amqp.queues["new"]
    assert queue.queue_arguments == {"x-queue-type": "quorum"}
    assert queue.exchange.type == "topic"
    app.amqp.queues.create_missing_queue_type = "bad"
    with pytest.raises(ValueError, match="Invalid queue type 'bad'"):
        app.amqp.queues["other"]


def test_missing_queues_may_be_forbidden(app: Celery) -> None:
    app.conf.update(task_queues=[Queue("a")], task_create_missing_queues=False)
    with pytest.raises(KeyError):
        app.select_queues(["n"])
    with pytest.raises(QueueNotFound, match="Queue 'n' missing from task_queues"):
        app.amqp.router.route({"queue": "n"}, "t")
    with pytest.raises(QueueNotFound, match="Queue 'celery' missing from task_queues"):
        app.amqp.router.route({}, "t")


def test_a_worker_consumes_what_is_selected() -> None:
    queues = Queues([Queue("a", "a"), Queue("b", "b")])
    assert set(queues.consume_from) == {"a", "b"}
    queues.select("b")
    queues.select_add("c", exchange="c")
    assert list(queues.consume_from) == ["b", "c"]
    queues.deselect(["c", "nothing"])
    assert list(queues.consume_from) == ["b"]
    assert set(queues) == {"a", "b", "c"}
    queues.select(None)
    assert list(queues.consume_from) == ["b"]


def test_deselecting_from_all_leaves_the_rest() -> None:
    queues = Queues([Queue("a", "a"), Queue("b", "b")])
    queues.deselect("a")
    assert list(queues.consume_from) == ["b"]


def test_a_queue_is_known_by_its_alias_too() -> None:
    queues = Queues([Queue("bcast.1", Exchange("bt", "fanout"), alias="bt")], create_missing=False)
    assert queues["bt"].name == "bcast.1"


@pytest.mark.parametrize(
    ("routes", "options", "expected"),
    [
        (None, {}, {"queue": "celery"}),
        (None, {"queue": "q", "priority": None}, {"queue": "q", "priority": None}),
        (None, {"priority": 3}, {"queue": "celery", "priority": 3}),
        ({"t.x": "qq"}, {}, {"queue": "qq"}),
        (
            {"t.x": {"queue": "qq", "priority": 5}},
            {"priority": None},
            {"queue": "qq", "priority": 5},
        ),
        ({"t.x": {"queue": "qq", "priority": 5}}, {"priority": 1}, {"queue": "qq", "priority": 1}),
        ({"t.*": {"queue": "g"}}, {"queue": "other"}, {"queue": "other"}),
        ({"t.*": "glob", "t.x": "exact"}, {}, {"queue": "exact"}),
        ({"t.?": "q"}, {}, {"queue": "celery"}),
        ({"t.[x]*": "q"}, {}, {"queue": "q"}),
        ([{"t.x": {}}, {"t.*": "zz"}], {}, {"queue": "celery"}),
        (([(re.compile("t"), "rq"), ("t.*", "z")],), {}, {"queue": "rq"}),
        (lambda *args, **kwargs: None, {}, {"queue": "celery"}),
        (lambda *args, **kwargs: "named", {}, {"queue": "named"}),
        ({"t.x": {"exchange": "bc"}}, {}, {"exchange": "bc"}),
        (
            {"t.x": {"queue": "x", "exchange": "y", "routing_key": "z"}},
            {"exchange": "mine"},
            {"queue": "x", "exchange": "mine", "routing_key": "z"},
        ),
    ],
)
def test_a_call_is_routed_as_celery_routes_it(
    app: Celery, routes: Any, options: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert routed(app, routes, options) == expected


def test_a_router_function_gets_the_whole_call(app: Celery) -> None:
    seen: list[Any] = []

    def route(
        name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **more: Any
    ) -> Any:
        seen.append((name, args, kwargs, options, task, more))
        return {"queue": "fn"}

    assert routed(app, route, {"countdown": 1}) == {"queue": "fn", "countdown": 1}
    assert seen == [("t.x", (1,), {"k": 1}, {"countdown": 1}, None, {})]


class ByMethod:
    def route_for_task(self, task: str, args: Any = None, kwargs: Any = None) -> Any:
        return {"queue": f"for-{task}", "priority": len(args)}


@pytest.mark.parametrize(
    "router", [ByMethod(), ByMethod, f"{__name__}:ByMethod", f"{__name__}.ByMethod"]
)
def test_a_router_may_be_an_object_a_class_or_a_path(app: Celery, router: Any) -> None:
    import sys

    sys.modules.setdefault(__name__, sys.modules[ByMethod.__module__])
    assert routed(app, [router]) == {"queue": "for-t.x", "priority": 1}


def test_a_pair_outside_of_a_map_is_refused(app: Celery) -> None:
    with pytest.raises(ValueError, match="length"):
        routed(app, [("t.*", "z")])


def test_something_that_cannot_route_is_refused(app: Celery) -> None:
    with pytest.raises(TypeError, match="'int' object is not callable"):
        routed(app, 5)


def test_a_queue_object_is_used_as_it_is(app: Celery) -> None:
    queue = Queue("obj", Exchange("oe"), routing_key="ok")
    assert app.amqp.router.route({"queue": queue}, "t")["queue"] is queue
