"""What our dispatcher sends, our receiver hands to its handlers; what is broken costs nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from celeriac.app.app import Celery
from celeriac.exceptions import ImproperlyConfigured
from tests.compat.apps import app, make_app, publisher

__all__ = ["app", "make_app", "publisher"]


def capture(app: Celery, send: Callable[[Any], Any], *, limit: int = 1) -> list[dict[str, Any]]:
    """Return what a receiver hears of what `send` does with a dispatcher."""
    heard: list[dict[str, Any]] = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": heard.append})
        channel = connection.channel()
        receiver.queue(channel).declare()
        with app.events.Dispatcher(connection, hostname="me@here") as dispatcher:
            send(dispatcher)
        receiver.capture(limit=limit, timeout=5, wakeup=False)
    return heard


def test_an_event_travels_with_all_its_fields(app: Celery) -> None:
    (heard,) = capture(app, lambda d: d.send("task-progress", uuid="x", done=5))
    assert (heard["type"], heard["hostname"]) == ("task-progress", "me@here")
    assert (heard["uuid"], heard["done"]) == ("x", 5)
    assert {"utcoffset", "pid", "clock", "timestamp", "local_received"} <= set(heard)


def test_collected_events_travel_as_one_message(app: Celery) -> None:
    def send(dispatcher: Any) -> None:
        dispatcher.buffer_group = frozenset({"task"})
        for number in range(3):
            dispatcher.send("task-progress", uuid="x", done=number)
        dispatcher.flush()

    assert [event["done"] for event in capture(app, send)] == [0, 1, 2]


def test_a_broken_event_costs_only_itself(app: Celery) -> None:
    def send(dispatcher: Any) -> None:
        good = {"type": "task-x", "uuid": "1", "hostname": "h", "timestamp": 1.0}
        broken = [{"type": "task-x"}, {"hostname": "h"}, 7, {**good, "timestamp": "soon"}]
        dispatcher.producer.publish([*broken, good], routing_key="task.multi", exchange="celeryev")

    assert [event["uuid"] for event in capture(app, send)] == ["1"]


def test_a_group_that_is_not_wanted_is_not_sent(app: Celery) -> None:
    def send(dispatcher: Any) -> None:
        dispatcher.groups = {"worker"}
        dispatcher.send("task-progress", uuid="x")
        dispatcher.send("worker-online", freq=2.0)

    assert [event["type"] for event in capture(app, send)] == ["worker-online"]


def test_a_handler_of_a_type_goes_before_that_of_all(app: Celery) -> None:
    heard: list[str] = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(
            connection,
            handlers={
                "a-b": lambda event: heard.append("own"),
                "*": lambda event: heard.append("*"),
            },
        )
    receiver.process("a-b", {})
    receiver.process("c-d", {})
    assert heard == ["own", "*"]


def test_times_of_other_zones_are_shifted_and_clocks_adjusted(app: Celery) -> None:
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection)
    event = {
        "type": "worker-online",
        "hostname": "h",
        "timestamp": 100.0,
        "utcoffset": -2,
        "clock": 50,
    }
    kind, found = receiver.event_from_message(dict(event), now=lambda: 0.0)
    assert (kind, found["local_received"]) == ("worker-online", 0.0)
    assert found["timestamp"] == 100.0 - (-2 - -0.0) * 3600
    assert app.clock.value == 51
    sent = {"type": "task-sent", "uuid": "x", "hostname": "h", "timestamp": 1.0, "clock": 9999}
    assert receiver.event_from_message(sent)[1]["clock"] == 50


def test_a_producer_tells_that_it_sent_when_asked_to(make_app: Callable[..., Celery]) -> None:
    app = make_app(task_send_sent_event=True)
    task = app.task(lambda x: x, name="add")
    with app.connection_for_read() as connection:
        heard: list[dict[str, Any]] = []
        receiver = app.events.Receiver(connection, handlers={"task-sent": heard.append})
        receiver.queue(connection.channel()).declare()
        result = task.apply_async((1,), queue="other")
        receiver.capture(limit=1, timeout=5, wakeup=False)
    (event,) = heard
    assert (event["uuid"], event["root_id"], event["parent_id"]) == (result.id, result.id, None)
    assert (event["name"], event["args"], event["kwargs"]) == ("add", "(1,)", "{}")
    assert (event["queue"], event["routing_key"], event["retries"]) == ("other", "other", 0)
    assert (event["eta"], event["expires"]) == (None, None)
    assert event["hostname"].startswith("gen")


def test_a_task_sends_events_of_its_own(app: Celery) -> None:
    def report(self: Any) -> None:
        self.send_event("task-progress", done=5)

    progress = app.task(report, bind=True, name="progress")
    with app.connection_for_read() as connection:
        heard: list[dict[str, Any]] = []
        receiver = app.events.Receiver(connection, handlers={"*": heard.append})
        receiver.queue(connection.channel()).declare()
        result = progress.apply()
        receiver.capture(limit=1, timeout=5, wakeup=False)
    assert [(event["type"], event["uuid"], event["done"]) for event in heard] == [
        ("task-progress", result.id, 5)
    ]


def test_a_queue_that_is_durable_and_exclusive_is_refused(app: Celery) -> None:
    with app.connection_for_read() as connection, pytest.raises(ImproperlyConfigured):
        app.events.Receiver(connection, queue_durable=True)
