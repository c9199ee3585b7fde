"""Where a producer sends a call: routes, defaults, and what the call itself says."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from celeriac_conformance.cases import case
from celeriac_conformance.driver_client import DriverError
from celeriac_conformance.exchange import Exchange, Producer
from celeriac_conformance.forms import call, chain, group
from celeriac_conformance.own_workers import serving


def fresh_queue() -> str:
    """Return the name of a queue that does not exist yet."""
    return f"queue-{uuid.uuid4().hex[:8]}"


def key_of(producer: Producer, **options: Any) -> str:
    """Send a call and return the routing key under which the worker got it."""
    info = producer.result(producer.send("request_dump", **options))["delivery_info"]
    key: str = info["routing_key"]
    return key


FORMS: dict[str, object] = {
    "a name": {"request_dump": {"queue": "other"}},
    "a name of a queue": {"request_dump": "other"},
    "a pattern": {"request_*": {"queue": "other"}},
    "a list": [{"add": "acks"}, {"request_dump": "other"}],
}


@case(
    "routing/route-by-{form}",
    spec="transports#1.4",
    each={"form": list(FORMS)},
)
def test_a_route_of_the_producer_names_the_queue(exchange: Exchange, form: str) -> None:
    producer = exchange.producer_with(task_routes=FORMS[form])
    assert key_of(producer) == "other"


@case("routing/name-before-pattern", spec="transports#1.4")
def test_a_route_by_name_beats_an_earlier_pattern(exchange: Exchange) -> None:
    producer = exchange.producer_with(
        task_routes=[{"request_*": {"queue": "acks"}, "request_dump": {"queue": "other"}}]
    )
    assert key_of(producer) == "other"


@case("routing/first-router-decides", spec="transports#1.4")
def test_the_first_router_that_knows_the_task_decides(exchange: Exchange) -> None:
    producer = exchange.producer_with(
        task_routes=[{"request_*": {"queue": "other"}}, {"request_dump": {"queue": "acks"}}]
    )
    assert key_of(producer) == "other"


@case("routing/call-beats-route", spec="transports#1.4")
def test_the_queue_of_a_call_beats_the_route(exchange: Exchange) -> None:
    producer = exchange.producer_with(task_routes={"request_dump": {"queue": "other"}})
    assert key_of(producer, queue="acks") == "acks"


@case("routing/unrouted-tasks", spec="transports#1.4")
def test_a_task_without_route_goes_to_the_default_queue(exchange: Exchange) -> None:
    producer = exchange.producer_with(task_routes={"add": {"queue": "other"}})
    assert key_of(producer) == "celery"


@case("routing/priority-of-a-route", spec="transports#1.4")
def test_a_route_gives_a_priority_unless_the_call_does(exchange: Exchange) -> None:
    producer = exchange.producer_with(
        task_routes={"request_dump": {"queue": "other", "priority": 4}}
    )
    routed = producer.result(producer.send("request_dump"))
    own = producer.result(producer.send("request_dump", priority=2))
    assert [each["delivery_info"]["priority"] for each in (routed, own)] == [4, 2]


@case("routing/members-of-a-group", spec="transports#1.4 results-and-workflows#6.2")
def test_each_member_of_a_group_takes_its_own_route(exchange: Exchange) -> None:
    producer = exchange.producer_with(task_routes={"echo": "other"})
    sent = producer.run(group(call("echo", 1), call("add", 1, 1)))
    assert producer.result(sent) == [1, 2]
    keys = [
        exchange.journal.runs(member.id)[0].request["delivery_info"]["routing_key"]
        for member in sent.members
    ]
    assert keys == ["other", "celery"]


@case("routing/next-step-by-the-worker", spec="transports#1.4 task-message#8.4")
def test_the_next_step_of_a_chain_takes_the_route_that_the_worker_knows(
    exchange: Exchange,
) -> None:
    with serving(exchange, settings={"task_routes": {"echo": {"queue": "other"}}}) as queue:
        sent = exchange.producer.run(
            chain(call("add", 1, 1).with_options(queue=queue), call("echo"))
        )
        assert exchange.producer.result(sent) == 2
    request = exchange.journal.runs(sent.id)[0].request
    assert request["delivery_info"]["routing_key"] == "other"


@case("routing/default-queue", spec="transports#1.3")
def test_the_default_queue_of_the_producer_takes_unrouted_calls(exchange: Exchange) -> None:
    producer = exchange.producer_with(task_default_queue="other")
    assert key_of(producer) == "other"


@case("routing/by-name", spec="transports#1.4")
def test_a_call_by_name_takes_a_route_too(exchange: Exchange) -> None:
    producer = exchange.producer_with(task_routes={"request_*": {"queue": "other"}})
    sent = producer.send("request_dump", by_name=True)
    assert producer.result(sent)["delivery_info"]["routing_key"] == "other"


@case("routing/exchange-and-key-of-a-call", spec="transports#1.4")
def test_a_call_can_name_an_exchange_and_a_routing_key(exchange: Exchange) -> None:
    # Every queue a worker consumes is bound to an exchange of its own name.
    sent = exchange.producer.send("request_dump", exchange="other", routing_key="other")
    info = exchange.producer.result(sent)["delivery_info"]
    assert (info["exchange"], info["routing_key"]) == ("other", "other")


@case("routing/lone-routing-key", spec="transports#1.4")
def test_a_routing_key_without_exchange_is_of_no_effect(exchange: Exchange) -> None:
    """Real Celery sends to the default queue, and so do we: producers out there pass such keys."""
    assert key_of(exchange.producer, routing_key="nowhere") == "celery"


@case("routing/unknown-queue-is-made", spec="transports#1.3")
def test_a_queue_nobody_knows_is_made_by_the_producer(exchange: Exchange) -> None:
    name = fresh_queue()
    call_sent = exchange.producer.send("echo", [1], queue=name)
    exchange.eventually(lambda: exchange.broker.ready(name) == 1, "the message waits there")
    message = exchange.broker.take(name)
    assert message is not None
    assert message.headers is not None
    assert message.headers["id"] == call_sent.id


@case("routing/unknown-queue-refused", spec="transports#1.3")
def test_a_queue_nobody_knows_is_refused_where_none_may_be_made(exchange: Exchange) -> None:
    producer = exchange.producer_with(task_create_missing_queues=False)
    with pytest.raises(DriverError) as refused:
        producer.send("echo", [1], queue=fresh_queue())
    assert refused.value.exception["type"] == "QueueNotFound"
    sent = producer.send("echo", [2])
    assert producer.result(sent) == 2


@case("routing/properties", spec="transports#1.4 task-message#1.3")
def test_a_message_names_its_call_and_where_replies_go(exchange: Exchange) -> None:
    name = fresh_queue()
    first = exchange.producer.send("echo", [1], queue=name)
    second = exchange.producer.send("echo", [2], queue=name)
    exchange.eventually(lambda: exchange.broker.ready(name) == 2, "both messages wait")
    taken = [exchange.broker.take(name) for _ in range(2)]
    properties = [message.properties for message in taken if message is not None]
    assert [each["correlation_id"] for each in properties] == [first.id, second.id]
    assert [each["delivery_mode"] for each in properties] == [2, 2]
    replies = {each["reply_to"] for each in properties}
    assert len(replies) == 1, "one process has one reply queue"
    assert str(uuid.UUID(replies.pop()))


@case("routing/transient-messages", spec="transports#1.3")
def test_a_call_and_a_setting_can_make_messages_transient(exchange: Exchange) -> None:
    name = fresh_queue()
    exchange.producer.send("echo", [1], queue=name, delivery_mode=1)
    exchange.producer_with(task_default_delivery_mode=1).send("echo", [2], queue=name)
    exchange.eventually(lambda: exchange.broker.ready(name) == 2, "both messages wait")
    taken = [exchange.broker.take(name) for _ in range(2)]
    assert [message.properties["delivery_mode"] for message in taken if message] == [1, 1]
