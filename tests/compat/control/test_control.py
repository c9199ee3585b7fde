"""The client of remote control sends what Celery 5.7 sends, and understands what workers answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kombu.connection import Connection as _Connection

from celeriac.app.app import Celery
from celeriac.control import Control, flatten_reply
from celeriac.exceptions import DuplicateNodenameWarning, ImproperlyConfigured
from tests.compat.apps import app, make_app, publisher

__all__ = ["app", "make_app", "publisher"]

Connection: Any = _Connection
Call = Callable[[Control], Any]

REQUESTS: list[tuple[Call, str, dict[str, Any], list[str] | None]] = [
    (lambda c: c.revoke("x"), "revoke", {"task_id": "x", "terminate": False, "signal": "SIGTERM"}, None),
    (lambda c: c.terminate(["x"]), "revoke", {"task_id": ["x"], "terminate": True, "signal": "SIGTERM"}, None),
    (lambda c: c.rate_limit("t", "1/s"), "rate_limit", {"task_name": "t", "rate_limit": "1/s"}, None),
    (lambda c: c.time_limit("t", 1), "time_limit", {"task_name": "t", "hard": None, "soft": 1}, None),
    (
        lambda c: c.add_consumer("q", exchange="e", options={"o": 1}),
        "add_consumer",
        {"queue": "q", "exchange": "e", "exchange_type": "direct", "routing_key": None, "o": 1},
        None,
    ),
    (lambda c: c.cancel_consumer("q"), "cancel_consumer", {"queue": "q"}, None),
    (lambda c: c.pool_grow(), "pool_grow", {"n": 1}, None),
    (lambda c: c.pool_shrink(2), "pool_shrink", {"n": 2}, None),
    (lambda c: c.pool_restart(), "pool_restart", {"modules": None, "reload": False, "reloader": None}, None),
    (lambda c: c.autoscale(3, 1), "autoscale", {"max": 3, "min": 1}, None),
    (lambda c: c.shutdown(destination=["n"]), "shutdown", {}, ["n"]),
    (lambda c: c.enable_events(), "enable_events", {}, None),
    (lambda c: c.disable_events(), "disable_events", {}, None),
    (lambda c: c.heartbeat(), "heartbeat", {}, None),
    (
        lambda c: c.revoke_by_stamped_headers({"a": "b"}),
        "revoke_by_stamped_headers",
        {"headers": {"a": "b"}, "terminate": False, "signal": "SIGTERM"},
        None,
    ),
    (
        lambda c: c.election("i", "task", {"task": "x"}),
        "election",
        {"id": "i", "topic": "task", "action": {"task": "x"}},
        None,
    ),
    (lambda c: c.broadcast("own", {"a": 1}, b=2), "own", {"a": 1, "b": 2}, None),
    (
        lambda c: c.app.AsyncResult("x").revoke(terminate=True, signal="KILL"),
        "revoke",
        {"task_id": "x", "terminate": True, "signal": "KILL"},
        None,
    ),
    (
        lambda c: c.app.AsyncResult("x").revoke_by_stamped_headers({"a": "b"}),
        "revoke_by_stamped_headers",
        {"headers": {"a": "b"}, "terminate": False, "signal": None},
        None,
    ),
    (
        lambda c: c.app.GroupResult("g", [c.app.AsyncResult("x"), c.app.AsyncResult("y")]).revoke(),
        "revoke",
        {"task_id": ["x", "y"], "terminate": False, "signal": None},
        None,
    ),
]  # fmt: skip
"""As Celery 5.7 was seen to publish them."""

QUESTIONS: list[tuple[Callable[[Any], Any], str, dict[str, Any]]] = [
    (lambda i: i.active(), "active", {"safe": None}),
    (lambda i: i.scheduled(True), "scheduled", {}),
    (lambda i: i.reserved(), "reserved", {}),
    (lambda i: i.conf(), "conf", {"with_defaults": False}),
    (lambda i: i.query_task("a", "b"), "query_task", {"ids": ["a", "b"]}),
    (lambda i: i.query_task(["a"]), "query_task", {"ids": ["a"]}),
    (lambda i: i.registered("x"), "registered", {"taskinfoitems": ["x"]}),
    (lambda i: i.registered_tasks(), "registered", {"taskinfoitems": []}),
    (lambda i: i.objgraph(), "objgraph", {"num": 200, "max_depth": 10, "type": "Request"}),
    (lambda i: i.memdump(), "memdump", {"samples": 10}),
    (lambda i: i.memsample(), "memsample", {}),
    (lambda i: i.stats(), "stats", {}),
    (lambda i: i.report(), "report", {}),
    (lambda i: i.clock(), "clock", {}),
    (lambda i: i.revoked(), "revoked", {}),
    (lambda i: i.active_queues(), "active_queues", {}),
    (lambda i: i.hello("me"), "hello", {"from_node": "me", "revoked": None}),
    (lambda i: i.ping(), "ping", {}),
]


@contextmanager
def nodes(app: Celery, *names: str) -> Iterator[list[dict[str, Any]]]:
    """Let nodes listen that answer every command with its arguments; yields the requests they heard."""
    heard: list[dict[str, Any]] = []
    connection = Connection(app.conf.broker_url, transport_options={"polling_interval": 0.01})
    stop = threading.Event()
    for name in names:
        node = app.control.mailbox.Node(name, channel=connection.channel())
        consumer = node.Consumer()

        def on_message(body: Any, message: Any, node: Any = node) -> None:
            heard.append(body)
            for command in {body["method"]}:
                node.handlers[command] = lambda state, **arguments: {"ok": arguments}
            node.handle_message(body, message)

        consumer.register_callback(on_message)
        consumer.consume()

    def serve() -> None:
        while not stop.is_set():
            try:
                connection.drain_events(timeout=0.05)
            except TimeoutError:
                continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield heard
    finally:
        stop.set()
        thread.join()
        connection.release()


@pytest.mark.parametrize(("call", "method", "arguments", "destination"), REQUESTS)
def test_a_command_is_sent_as_celery_sends_it(
    app: Celery, call: Call, method: str, arguments: dict[str, Any], destination: Any
) -> None:
    with Connection(app.conf.broker_url) as connection:
        queue = app.control.mailbox.get_queue("listener")(connection.channel())
        queue.declare()
        assert call(app.control) is None
        message = queue.get(no_ack=True)
        queue.delete()
    body = message.payload
    assert (body["method"], body["arguments"]) == (method, arguments)
    assert (body["destination"], body["pattern"], body["matcher"]) == (destination, None, None)
    assert "reply_to" not in body
    assert set(message.headers) == {"clock", "expires"}


@pytest.mark.parametrize(("ask", "method", "arguments"), QUESTIONS)
def test_a_question_is_answered_by_node(
    app: Celery, ask: Callable[[Any], Any], method: str, arguments: dict[str, Any]
) -> None:
    with nodes(app, "w1@here") as heard:
        answer = ask(app.control.inspect(destination=["w1@here"], timeout=5))
    assert answer == {"w1@here": {"ok": arguments}}
    assert heard[0]["method"] == method
    assert heard[0]["reply_to"]["exchange"] == "reply.celery.pidbox"


def test_every_node_is_asked_unless_some_are_chosen(app: Celery) -> None:
    with nodes(app, "w1@here", "w2@here"):
        everyone = app.control.inspect(limit=2, timeout=5).ping()
        chosen = app.control.ping(destination=["w2@here"], timeout=5)
        matched = app.control.inspect(pattern="w1*", matcher="glob", limit=1, timeout=5).ping()
    assert set(everyone) == {"w1@here", "w2@here"}
    assert chosen == [{"w2@here": {"ok": {}}}]
    assert set(matched) == {"w1@here"}


def test_each_reply_is_shown_to_the_callback(app: Celery) -> None:
    seen: list[Any] = []
    with nodes(app, "w1@here"):
        found = app.control.broadcast("ping", reply=True, limit=1, timeout=5, callback=seen.append)
    assert seen == found == [{"w1@here": {"ok": {}}}]


def test_silence_is_none_to_inspect_and_an_empty_list_to_broadcast(app: Celery) -> None:
    assert app.control.inspect(timeout=0.05).ping() is None
    assert app.control.broadcast("ping", reply=True, timeout=0.05) == []


def test_a_destination_that_is_no_list_is_refused(app: Celery) -> None:
    with pytest.raises(ValueError, match="must be a list/tuple"):
        app.control.ping(destination="w1@here")


def test_two_nodes_of_one_name_are_warned_of() -> None:
    with pytest.warns(DuplicateNodenameWarning, match="multiple replies from node name: a\\."):
        assert flatten_reply([{"a": 1}, {"b": 2}, {"a": 3}]) == {"a": 3, "b": 2}
    with pytest.warns(DuplicateNodenameWarning, match="from node names: a, b\\."):
        flatten_reply([{"a": 1}, {"b": 2}, {"a": 3}, {"b": 3}])


def test_queues_are_declared_as_the_settings_say(make_app: Callable[..., Celery]) -> None:
    queue = make_app().control.mailbox.get_queue("n")
    assert queue.name == "n.celery.pidbox"
    assert (queue.exclusive, queue.auto_delete, queue.durable) == (True, True, False)
    assert (queue.expires, queue.message_ttl) == (10.0, 300.0)
    own = make_app(control_queue_exclusive=False, control_queue_durable=True, control_exchange="x")
    reply = own.control.mailbox.reply_queue
    assert (reply.exclusive, reply.auto_delete, reply.durable) == (False, False, True)
    assert reply.name.endswith(".reply.x.pidbox")


def test_queues_that_are_durable_and_exclusive_are_refused(make_app: Callable[..., Celery]) -> None:
    with pytest.raises(ImproperlyConfigured):
        _ = make_app(control_queue_durable=True).control


def test_purge_counts_the_messages_it_deleted(app: Celery) -> None:
    with app.connection_for_write() as connection:
        app.amqp.queues["celery"](connection.channel()).declare()
        for _ in range(3):
            connection.Producer().publish("x", routing_key="celery")
        assert app.control.purge() == 3
        assert app.control.discard_all() == 0
