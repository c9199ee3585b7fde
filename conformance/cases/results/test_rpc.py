"""Reply queues: results as messages to whoever called."""

from __future__ import annotations

import json
import uuid

from celeriac_conformance.broker_taps import AmqpTap, RawMessage
from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Call, Exchange
from celeriac_conformance.own_workers import serving


def amqp(exchange: Exchange) -> AmqpTap:
    assert isinstance(exchange.broker, AmqpTap)
    return exchange.broker


@case("results/rpc-two-producers", spec="results-and-workflows#2.1", needs=["rpc-results"])
def test_each_producer_gets_the_replies_to_its_own_calls(exchange: Exchange) -> None:
    other = exchange.producer_with(worker_hijack_root_logger=False)
    calls = [
        (producer, producer.send("request_dump"))
        for _ in range(3)
        for producer in (exchange.producer, other)
    ]
    queues: dict[int, set[str]] = {}
    for producer, sent in reversed(calls):
        request = producer.result(sent)
        assert request["correlation_id"] == sent.id
        queues.setdefault(id(producer), set()).add(request["reply_to"])
    (one,), (another,) = queues.values()
    assert one != another


@case("results/rpc-queue", spec="results-and-workflows#2.1", since="5.7", needs=["rpc-results"])
def test_a_reply_queue_goes_away_with_its_reader_and_after_a_day(exchange: Exchange) -> None:
    request = exchange.producer.result(exchange.producer.send("request_dump"))
    # The broker refuses a declaration that differs in any argument.
    amqp(exchange).channel.queue_declare(
        request["reply_to"],
        durable=True,
        auto_delete=True,
        exclusive=False,
        arguments={"x-expires": 86400000},
    )


@case("results/rpc-out-of-order", spec="results-and-workflows#2.1", needs=["rpc-results"])
def test_replies_can_be_asked_for_in_any_order(exchange: Exchange) -> None:
    calls = [exchange.producer.send("echo", [number]) for number in range(6)]
    exchange.wait_run(calls[-1])
    found = [exchange.producer.result(sent) for sent in reversed(calls)]
    assert found == [5, 4, 3, 2, 1, 0]


@case("results/rpc-polled", spec="results-and-workflows#2.1", needs=["rpc-results"])
def test_a_state_can_be_polled_without_waiting(exchange: Exchange) -> None:
    # One that has never waited: where something consumes the reply queue, nothing is left there to poll.
    poller = exchange.producer_with(worker_redirect_stdouts=False)
    calls = [poller.send("echo", [number]) for number in range(3)]
    for number, sent in enumerate(calls):

        def is_done(sent: Call = sent) -> bool:
            return bool(poller.meta(sent)["state"] == "SUCCESS")

        exchange.eventually(is_done, "the state is told")
        assert poller.meta(sent)["result"] == number


@case("results/rpc-persistent", spec="results-and-workflows#2.1", needs=["rpc-results"])
def test_replies_can_be_persistent(exchange: Exchange) -> None:
    broker, task_id, replies = amqp(exchange), str(uuid.uuid4()), f"replies.{uuid.uuid4()}"
    broker.declare(replies)
    message = RawMessage(
        body=json.dumps([["reply"], {}, {}]).encode(),
        headers={"task": "echo", "id": task_id},
        properties={
            "content_type": "application/json",
            "content_encoding": "utf-8",
            "reply_to": replies,
            "correlation_id": task_id,
        },
    )
    with serving(exchange, settings={"result_persistent": True}) as queue:
        broker.push(queue, message)
        exchange.eventually(lambda: broker.ready(replies) == 1, "a reply arrives")
        reply = broker.take(replies)
        assert reply is not None
        assert reply.properties["delivery_mode"] == 2
        assert json.loads(reply.body)["result"] == "reply"
