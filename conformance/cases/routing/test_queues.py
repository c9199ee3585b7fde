"""Queues and exchanges of other kinds than the default, and the order in which messages leave them."""

from __future__ import annotations

import uuid

from celeriac_conformance.broker_taps import AmqpTap
from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange
from celeriac_conformance.own_workers import serving
from celeriac_conformance.unsupported import UnsupportedError


def names(*stems: str) -> list[str]:
    """Return names nobody used before."""
    suffix = uuid.uuid4().hex[:8]
    return [f"{stem}-{suffix}" for stem in stems]


def amqp(exchange: Exchange) -> AmqpTap:
    """Return the broker of a cell that has exchanges of its own.

    Raises:
        UnsupportedError: This cell's broker is no AMQP broker.
    """
    if not isinstance(exchange.broker, AmqpTap):
        raise UnsupportedError(f"{exchange.cell.carrier.name} is no AMQP broker")
    return exchange.broker


@case("queues/topic", spec="transports#1.3 transports#1.4")
def test_a_topic_exchange_sends_to_the_queues_whose_pattern_fits(exchange: Exchange) -> None:
    europe, everything, news = names("europe", "everything", "news")
    queues = {
        europe: {"exchange": news, "exchange_type": "topic", "routing_key": "news.eu.*"},
        everything: {"exchange": news, "exchange_type": "topic", "routing_key": "news.#"},
    }
    with serving(exchange, queues=[europe, everything], settings={"task_queues": queues}):
        producer = exchange.producer_with(task_queues=queues)
        both = producer.send("ignored", [1], queue=everything, routing_key="news.eu.sport")
        one = producer.send("ignored", [2], queue=europe, routing_key="news.us")
        exchange.wait_run(both, 2)
        exchange.wait_run(one)
        info = exchange.journal.runs(one.id)[0].request["delivery_info"]
        assert (info["exchange"], info["routing_key"]) == (news, "news.us")
        producer.result(producer.send("echo", [3], queue=everything))
        assert len(exchange.journal.runs(both.id)) == 2
        assert len(exchange.journal.runs(one.id)) == 1


@case("queues/topic-by-queue", spec="transports#1.4")
def test_a_call_to_a_queue_of_a_topic_exchange_takes_its_key(exchange: Exchange) -> None:
    queue, news = names("sport", "news")
    queues = {queue: {"exchange": news, "exchange_type": "topic", "routing_key": "news.sport"}}
    with serving(exchange, queues=[queue], settings={"task_queues": queues}):
        producer = exchange.producer_with(task_queues=queues)
        info = producer.result(producer.send("request_dump", queue=queue))["delivery_info"]
        assert (info["exchange"], info["routing_key"]) == (news, "news.sport")


@case("queues/direct-exchange", spec="transports#1.4")
def test_a_call_to_a_queue_of_a_direct_exchange_goes_to_the_queue_itself(
    exchange: Exchange,
) -> None:
    queue, jobs = names("heavy", "jobs")
    queues = {queue: {"exchange": jobs, "exchange_type": "direct", "routing_key": "weight.heavy"}}
    with serving(exchange, queues=[queue], settings={"task_queues": queues}):
        producer = exchange.producer_with(task_queues=queues)
        direct = producer.result(producer.send("request_dump", queue=queue))["delivery_info"]
        assert (direct["exchange"], direct["routing_key"]) == ("", queue)
        sent = producer.send("request_dump", exchange=jobs, routing_key="weight.heavy")
        through = producer.result(sent)["delivery_info"]
        assert (through["exchange"], through["routing_key"]) == (jobs, "weight.heavy")


@case("queues/fanout", spec="transports#1.3 transports#1.4")
def test_a_fanout_exchange_sends_to_every_queue(exchange: Exchange) -> None:
    amqp(exchange)
    left, right, everybody = names("left", "right", "everybody")
    queues = {
        name: {"exchange": everybody, "exchange_type": "fanout", "routing_key": name}
        for name in (left, right)
    }
    with serving(exchange, queues=[left, right], settings={"task_queues": queues}):
        producer = exchange.producer_with(task_queues=queues)
        sent = producer.send("ignored", ["all"], queue=left)
        assert len(exchange.wait_run(sent, 2)) == 2


@case("queues/broadcast", spec="transports#1.4 transports#2.6")
def test_a_broadcast_reaches_every_worker_once(exchange: Exchange) -> None:
    """Only over AMQP: on Redis a plain producer of real Celery puts it where nobody looks."""
    amqp(exchange)
    one, other, everybody = names("one", "other", "everybody")

    def settings(queue: str) -> dict[str, object]:
        return {"conformance_broadcast": {"queue": queue, "name": everybody}}

    with (
        serving(exchange, queues=[one, everybody], settings=settings(one)),
        serving(exchange, queues=[other, everybody], settings=settings(other)),
    ):
        producer = exchange.producer_with(**settings(one))
        sent = producer.send("ignored", ["all"], exchange=everybody, routing_key="ignored")
        runs = exchange.wait_run(sent, 2)
        for queue in (one, other):
            producer.result(producer.send("echo", [1], queue=queue))
        runs = exchange.journal.runs(sent.id)
        assert len(runs) == 2
        assert len({run.request["hostname"] for run in runs}) == 2


@case("queues/priorities", spec="transports#1.7 transports#2.4")
def test_messages_that_wait_leave_a_queue_by_their_priority(exchange: Exchange) -> None:
    """Nine is the highest on RabbitMQ, and the lowest on Redis."""
    (queue,) = names("ranked")
    queues = {
        queue: {"exchange": queue, "routing_key": queue, "queue_arguments": {"x-max-priority": 9}}
    }
    producer = exchange.producer_with(task_queues=queues)
    on_amqp = isinstance(exchange.broker, AmqpTap)
    order = [0, 3, 9, 6, 3]
    calls = [producer.send("echo", [each], queue=queue, priority=each) for each in order]
    settings = {"task_queues": queues, "worker_prefetch_multiplier": 1}
    with serving(exchange, queues=[queue], concurrency=1, settings=settings):
        assert [producer.result(each) for each in calls] == order
    ids = {each.id for each in calls}
    runs = [run for run in exchange.journal.entries(event="run", task="echo") if run.id in ids]
    wanted = sorted(order, reverse=on_amqp)
    assert [run.request["args"][0] for run in runs] == wanted
    threes = [run.id for run in runs if run.request["args"] == [3]]
    assert threes == [calls[1].id, calls[4].id], "first come, first served"


@case("queues/max-priority-of-all", spec="transports#1.3")
def test_a_setting_gives_every_queue_priorities(exchange: Exchange) -> None:
    broker = amqp(exchange)
    (queue,) = names("ranked")
    settings = {"task_queue_max_priority": 5, "task_default_queue": queue}
    producer = exchange.producer_with(**settings)
    for priority in (1, 5, 3):
        producer.send("echo", [priority], queue=queue, priority=priority)
    exchange.eventually(lambda: broker.ready(queue) == 3, "all wait")
    taken = [broker.take(queue) for _ in range(3)]
    assert [message.properties["priority"] for message in taken if message] == [5, 3, 1]


@case("queues/arguments", spec="transports#1.3", since="5.7")
def test_limits_of_a_queue_become_its_arguments(exchange: Exchange) -> None:
    broker = amqp(exchange)
    (queue,) = names("short")
    queues = {
        queue: {
            "exchange": queue,
            "routing_key": queue,
            "max_length": 2,
            "expires": 600,
            "message_ttl": 60,
            "queue_arguments": {"x-overflow": "drop-head"},
        }
    }
    producer = exchange.producer_with(task_queues=queues)
    calls = [producer.send("echo", [number], queue=queue) for number in range(3)]
    # The broker refuses a declaration that differs in any argument.
    broker.channel.queue_declare(
        queue,
        durable=True,
        auto_delete=False,
        arguments={
            "x-max-length": 2,
            "x-expires": 600000,
            "x-message-ttl": 60000,
            "x-overflow": "drop-head",
        },
    )
    exchange.eventually(lambda: broker.ready(queue) == 2, "the oldest was dropped")
    taken = [broker.take(queue) for _ in range(2)]
    ids = [message.headers["id"] for message in taken if message and message.headers]
    assert ids == [each.id for each in calls[1:]]


@case("queues/excluded", spec="transports#1.3")
def test_a_worker_can_leave_out_a_queue_that_it_was_given(exchange: Exchange) -> None:
    kept, left_out = names("kept", "left-out")
    for queue in (kept, left_out):
        exchange.producer.send("ignored", [queue], queue=queue)
    with serving(exchange, queues=[kept, left_out], extra=["-X", left_out]):
        exchange.eventually(lambda: exchange.broker.ready(kept) == 0, "one is consumed")
        assert exchange.broker.ready(left_out) == 1


@case("queues/worker-direct", spec="transports#1.3")
def test_a_worker_has_a_queue_of_its_own_where_that_is_wanted(exchange: Exchange) -> None:
    with serving(exchange, settings={"worker_direct": True}) as queue:
        ready = exchange.producer.send("request_dump", queue=queue)
        node = exchange.producer.result(ready)["hostname"]
        sent = exchange.producer.send("request_dump", exchange="C.dq2", routing_key=node)
        request = exchange.producer.result(sent)
        assert request["hostname"] == node
        info = request["delivery_info"]
        assert (info["exchange"], info["routing_key"]) == ("C.dq2", node)
