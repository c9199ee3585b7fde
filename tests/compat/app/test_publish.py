"""From call options to a message."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from kombu.entity import Exchange, Queue
from kombu.exceptions import EncodeError, OperationalError, SerializerNotInstalled

from celeriac import signals
from celeriac.app.app import Celery
from celeriac.app.publish import node_name_of_sender
from celeriac.canvas import chain
from tests.compat.doubles import RecordingPublisher, Sent

MakeApp = Callable[..., Celery]
HEADERS = [
    "lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit", "root_id",
    "parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting", "stamped_headers",
    "stamps",
]  # fmt: skip


def adder(app: Celery, **options: Any) -> Any:
    def add(x: Any, y: Any = 0) -> Any:
        return x + y

    return app.task(add, name="proj.add", shared=False, lazy=False, **options)


def one(publisher: RecordingPublisher) -> Sent:
    (sent,) = publisher.take()
    return sent


def test_a_plain_call_has_celerys_headers_in_order(
    app: Celery, publisher: RecordingPublisher
) -> None:
    result = adder(app).delay(2, 3)
    sent = one(publisher)
    assert list(sent.headers) == HEADERS
    assert sent.message.body == (
        b'[[2, 3], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
    )
    assert sent.headers["id"] == sent.headers["root_id"] == result.id
    assert (sent.headers["argsrepr"], sent.headers["kwargsrepr"]) == ("(2, 3)", "{}")
    assert sent.headers["origin"] == node_name_of_sender()
    properties = sent.message.properties
    assert (properties.correlation_id, properties.reply_to) == (result.id, app.thread_oid)
    assert (properties.delivery_mode, properties.priority, properties.expiration) == (2, 0, None)
    assert (sent.exchange, sent.routing_key) == ("", "celery")
    assert [queue.name for queue in sent.declare] == ["celery"]


def test_custom_headers_go_over_the_standard_ones(
    app: Celery, publisher: RecordingPublisher
) -> None:
    adder(app).apply_async((1,), headers={"x": 1, "task": "other", "retries": 7})
    sent = one(publisher)
    assert (sent.headers["task"], sent.headers["retries"], sent.headers["x"]) == ("other", 7, 1)
    assert list(sent.headers)[-1] == "x"


def test_unknown_options_leak_into_the_properties(
    app: Celery, publisher: RecordingPublisher
) -> None:
    adder(app).apply_async((1,), foo="bar", argsrepr="hidden", message_id="m", mandatory=True)
    sent = one(publisher)
    assert sent.message.properties.extra == {"foo": "bar", "argsrepr": "hidden"}
    assert sent.message.properties.message_id == "m"
    assert sent.headers["argsrepr"] == "hidden"
    assert sent.options == {"mandatory": True}


def test_a_countdown_is_an_eta_with_the_offset_of_the_apps_time_zone(
    make_app: MakeApp, publisher: RecordingPublisher
) -> None:
    app = make_app(timezone="Asia/Tokyo")
    before = datetime.now(UTC)
    adder(app).apply_async((1,), countdown=60, eta="2030-01-01")
    eta = one(publisher).headers["eta"]
    assert eta.endswith("+09:00")
    assert timedelta(0) <= datetime.fromisoformat(eta) - before - timedelta(seconds=60)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (datetime(2030, 7, 1, 12), "2030-07-01T12:00:00"),  # noqa: DTZ001 - a naive one is sent as it is
        (
            datetime(2030, 7, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            "2030-07-01T00:00:00+05:30",
        ),
        (date(2030, 7, 1), "2030-07-01"),
        ("garbage", "garbage"),
    ],
)
def test_an_eta_travels_as_given(
    given: Any, written: str, app: Celery, publisher: RecordingPublisher
) -> None:
    adder(app).apply_async((1,), eta=given)
    assert one(publisher).headers["eta"] == written


def test_no_countdown_is_no_eta(app: Celery, publisher: RecordingPublisher) -> None:
    adder(app).apply_async((1,), countdown=0)
    assert one(publisher).headers["eta"] is None


@pytest.mark.parametrize(
    "options",
    [{"countdown": timedelta(1)}, {"countdown": "x"}, {"eta": 5}, {"expires": timedelta(1)}],
)
def test_times_of_the_wrong_type_send_nothing(
    options: dict[str, Any], app: Celery, publisher: RecordingPublisher
) -> None:
    with pytest.raises((TypeError, AttributeError)):
        adder(app).apply_async((1,), **options)
    assert publisher.sent == []


def test_expiry_is_a_header_and_a_property(app: Celery, publisher: RecordingPublisher) -> None:
    adder(app).apply_async((1,), expires=30)
    sent = one(publisher)
    assert sent.headers["expires"].endswith("+00:00")
    assert sent.message.properties.expiration == "30000"


def test_what_has_expired_already_lives_no_milliseconds(
    app: Celery, publisher: RecordingPublisher
) -> None:
    adder(app).apply_async((1,), expires=-5)
    assert one(publisher).message.properties.expiration == "0"


def test_call_options_win_over_the_tasks_and_those_over_routes(
    make_app: MakeApp, publisher: RecordingPublisher
) -> None:
    app = make_app(task_routes={"proj.add": {"queue": "routed", "priority": 9, "time_limit": 70}})
    add = adder(app, priority=3, expires=60)
    add.apply_async((1,), priority=5)
    sent = one(publisher)
    assert (sent.routing_key, sent.message.properties.priority) == ("routed", 5)
    assert sent.headers["timelimit"] == [70, None]
    add.apply_async((1,), queue="called", expires=None)
    sent = one(publisher)
    assert (sent.routing_key, sent.message.properties.priority) == ("called", 3)
    assert sent.headers["expires"] is None


def test_a_priority_nobody_chose_is_absent_beside_an_explicit_queue(
    app: Celery, publisher: RecordingPublisher
) -> None:
    adder(app).apply_async((1,), queue="q")
    assert one(publisher).message.properties.priority is None


def test_topic_exchanges_are_published_to_by_name(
    make_app: MakeApp, publisher: RecordingPublisher
) -> None:
    make_exchange: Any = Exchange
    make_queue: Any = Queue
    queue = make_queue("tq", make_exchange("tex", type="topic", delivery_mode=1), routing_key="t.k")
    app = make_app(task_queues=[queue])
    adder(app).apply_async((1,), queue="tq")
    sent = one(publisher)
    assert (sent.exchange, sent.routing_key, sent.message.properties.delivery_mode) == ("tex", "t.k", 1)  # fmt: skip
    adder(app).apply_async((1,), exchange="x", exchange_type="topic", routing_key="a.b", queue="tq")
    sent = one(publisher)
    assert (sent.exchange, sent.routing_key) == ("x", "a.b")


def test_a_lone_routing_key_is_ignored(app: Celery, publisher: RecordingPublisher) -> None:
    adder(app).apply_async((1,), routing_key="rk")
    sent = one(publisher)
    assert (sent.exchange, sent.routing_key) == ("", "celery")


def test_stamps_leave_the_options(app: Celery, publisher: RecordingPublisher) -> None:
    adder(app).apply_async((1,), stamped_headers=["z"], z="zz", c=3)
    sent = one(publisher)
    assert (sent.headers["stamped_headers"], sent.headers["stamps"]) == (["z"], {"z": "zz"})
    assert sent.message.properties.extra == {"c": 3}
    with pytest.raises(KeyError):
        adder(app).apply_async((1,), stamped_headers=["a", "b"], a=1)


@pytest.mark.parametrize(("mode", "number"), [("transient", 1), ("persistent", 2), (1, 1)])
def test_delivery_modes_are_numbers_on_the_wire(
    mode: Any, number: int, app: Celery, publisher: RecordingPublisher
) -> None:
    adder(app).apply_async((1,), delivery_mode=mode)
    assert one(publisher).message.properties.delivery_mode == number


def test_the_body_is_compressed_and_says_so(app: Celery, publisher: RecordingPublisher) -> None:
    adder(app).apply_async((1,), compression="zlib", headers={"compression": "lie"})
    sent = one(publisher)
    assert sent.headers["compression"] == "application/x-gzip"
    assert sent.message.body[:2] == b"\x78\x9c"


def test_pickled_bodies_keep_tuples_and_name_no_class_of_ours(
    app: Celery, publisher: RecordingPublisher
) -> None:
    add = adder(app)
    add.apply_async((1,), serializer="pickle", link=add.s(2))
    sent = one(publisher)
    assert sent.message.properties.content_type == "application/x-python-serialize"
    args, _, embed = pickle.loads(sent.message.body)
    assert (args, type(embed["callbacks"][0])) == ((1,), dict)
    assert b"celeriac" not in sent.message.body


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"serializer": "nope"}, SerializerNotInstalled),
        ({"compression": "nope"}, KeyError),
        ({"delivery_mode": "bogus"}, KeyError),
    ],
)
def test_unknown_methods_send_nothing(
    options: dict[str, Any], error: type[Exception], app: Celery, publisher: RecordingPublisher
) -> None:
    with pytest.raises(error):
        adder(app).apply_async((1,), **options)
    assert publisher.sent == []


def test_what_the_serializer_cannot_write_is_an_encode_error(
    app: Celery, publisher: RecordingPublisher
) -> None:
    with pytest.raises(EncodeError) as caught:
        adder(app).delay(object())
    assert str(caught.value) == "TypeError('Object of type object is not JSON serializable')"
    assert publisher.sent == []


def test_a_broker_that_cannot_be_reached_is_an_operational_error(
    app: Celery, publisher: RecordingPublisher
) -> None:
    publisher.fail_with = OperationalError("gone")
    with pytest.raises(OperationalError):
        adder(app).delay(1)


def test_receivers_may_edit_headers_and_properties(
    app: Celery, publisher: RecordingPublisher
) -> None:
    seen: list[dict[str, Any]] = []

    def edit(**named: Any) -> None:
        seen.append({key: named[key] for key in ("sender", "routing_key", "exchange", "body")})
        named["headers"]["trace"] = "t"
        named["properties"]["app_id"] = "mine"
        named["properties"]["baggage"] = 1
        named["body"][1]["y"] = 9

    signals.before_task_publish.connect(edit, weak=False)
    try:
        adder(app).delay(1)
    finally:
        signals.before_task_publish.disconnect(edit)
    sent = one(publisher)
    assert seen[0]["sender"] == "proj.add"
    assert (seen[0]["exchange"], seen[0]["routing_key"]) == ("", "celery")
    assert sent.headers["trace"] == "t"
    assert (sent.message.properties.app_id, sent.message.properties.extra) == ("mine", {"baggage": 1})  # fmt: skip
    assert sent.body[:2] == [[1], {"y": 9}]
    assert sent.message.properties.delivery_mode == 2


def test_receivers_hear_of_what_was_sent(app: Celery) -> None:
    heard: list[dict[str, Any]] = []

    def after(**named: Any) -> None:
        heard.append(named)

    def old(**named: Any) -> None:
        heard.append(named)

    signals.after_task_publish.connect(after, weak=False)
    signals.task_sent.connect(old, weak=False)
    try:
        result = adder(app).delay(1)
    finally:
        signals.after_task_publish.disconnect(after)
        signals.task_sent.disconnect(old)
    assert heard[0]["headers"]["id"] == heard[1]["task_id"] == result.id
    assert heard[0]["body"][0] == (1,)
    assert (heard[1]["task"], heard[1]["args"]) == ("proj.add", (1,))


def test_a_task_called_by_name_leaves_ignoring_to_the_worker(
    app: Celery, publisher: RecordingPublisher
) -> None:
    adder(app, ignore_result=True, queue="own")
    app.finalize()
    app.send_task("un.known")
    assert one(publisher).headers["ignore_result"] is None
    app.send_task("proj.add", (1,))
    sent = one(publisher)
    assert (sent.headers["ignore_result"], sent.routing_key) == (None, "own")


def test_an_ignored_result_says_so(app: Celery, publisher: RecordingPublisher) -> None:
    result = adder(app, ignore_result=True).delay(1)
    assert (result.ignored, result.get(), one(publisher).headers["ignore_result"]) == (True, None, True)  # fmt: skip


@pytest.mark.parametrize("args", ["ab", {1}, 5])
def test_arguments_are_a_list_or_tuple(args: Any, app: Celery) -> None:
    with pytest.raises(TypeError, match="task args must be a list or tuple"):
        app.send_task("x", args)
    with pytest.raises(TypeError, match="task args must be a list or tuple"):
        adder(app).apply_async(args)


def test_keyword_arguments_are_a_mapping(app: Celery) -> None:
    with pytest.raises(TypeError, match="task keyword arguments must be a mapping"):
        app.send_task("x", (), [1])  # type: ignore[arg-type]


def test_what_a_running_task_sends_knows_where_it_comes_from(
    make_app: MakeApp, publisher: RecordingPublisher
) -> None:
    app = make_app(task_inherit_parent_priority=True)
    add = adder(app)
    from celeriac.app.state import pop_current_task, push_current_task

    push_current_task(add)
    add.push_request(id="P", root_id="R", called_directly=False, delivery_info={"priority": 6})
    try:
        kept = add.delay(1)
        add.apply_async((1,), add_to_parent=False, root_id="X")
        children = list(add.request.children)
    finally:
        add.pop_request()
        pop_current_task()
    first, second = publisher.take()
    assert (first.headers["root_id"], first.headers["parent_id"]) == ("R", "P")
    assert (second.headers["root_id"], second.headers["parent_id"]) == ("X", "P")
    assert first.message.properties.priority == 6
    assert children == [kept]


def test_protocol_1_puts_everything_into_the_body(
    make_app: MakeApp, publisher: RecordingPublisher
) -> None:
    app = make_app(task_protocol=1)
    add = adder(app)
    limits: dict[str, Any] = {"time_limit": 60, "soft_time_limit": 30}
    add.apply_async((2, 3), expires=100, link=add.s(5), headers={"h": 1}, **limits)
    sent = one(publisher)
    assert sent.headers == {"h": 1}
    assert list(sent.body) == [
        "task", "id", "args", "kwargs", "group", "group_index", "retries", "eta", "expires", "utc", "callbacks",
        "errbacks", "timelimit", "taskset", "chord",
    ]  # fmt: skip
    assert (sent.body["timelimit"], sent.body["utc"]) == ([60, 30], True)


def test_a_chain_travels_as_nested_links_in_protocol_1(
    make_app: MakeApp, publisher: RecordingPublisher
) -> None:
    app = make_app(task_protocol=1)
    add = adder(app)
    chain(add.s(1), add.s(2), add.s(3)).apply_async()
    (second,) = one(publisher).body["callbacks"]
    assert second["args"] == [2]
    (third,) = second["options"]["link"]
    assert (third["args"], "link" in third["options"]) == ([3], False)


class KombuLike:
    """Has the method of a kombu producer that is asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[bytes, dict[str, Any]]] = []

    def publish(self, body: bytes, **options: Any) -> None:
        self.calls.append((body, options))


def test_a_producer_that_the_caller_brings_is_used(
    app: Celery, publisher: RecordingPublisher
) -> None:
    producer = KombuLike()
    adder(app).apply_async((1,), producer=producer, expires=30, foo="bar")
    ((body, options),) = producer.calls
    assert publisher.sent == []
    assert body.startswith(b"[[1], {}")
    assert (options["routing_key"], options["expiration"], options["foo"]) == ("celery", 30.0, "bar")  # fmt: skip
    assert options["content_type"] == "application/json"
