"""When a message is acknowledged, counted at the broker."""

from __future__ import annotations

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import ACKS_QUEUE, Exchange


@case("acks/early", spec="results-and-workflows#4.1")
def test_a_message_is_acknowledged_before_its_task_runs(exchange: Exchange) -> None:
    gate = exchange.gate()
    call = exchange.producer.send("gate", [str(gate.path)], queue=ACKS_QUEUE)
    exchange.wait_run(call)
    assert exchange.broker.wait_unacked(ACKS_QUEUE, 0) == 0
    assert exchange.journal.entries(event="end", id=call.id) == []
    gate.open()
    assert exchange.producer.result(call) == "through"


@case("acks/late", spec="results-and-workflows#4.1 results-and-workflows#4.4")
def test_a_late_message_is_acknowledged_after_its_task_ran(exchange: Exchange) -> None:
    gate = exchange.gate()
    call = exchange.producer.send("gate_late", [str(gate.path)], queue=ACKS_QUEUE)
    exchange.wait_run(call)
    assert exchange.broker.wait_unacked(ACKS_QUEUE, 1) == 1
    gate.open()
    assert exchange.producer.result(call) == "through"
    assert exchange.broker.wait_unacked(ACKS_QUEUE, 0) == 0


@case("acks/late-failure", spec="results-and-workflows#4.4")
def test_a_late_message_whose_task_failed_is_acknowledged(exchange: Exchange) -> None:
    call = exchange.producer.send("fail_late", ["bad"], queue=ACKS_QUEUE)
    assert exchange.producer.wait(call).state == "FAILURE"
    assert exchange.broker.wait_unacked(ACKS_QUEUE, 0) == 0
    assert exchange.broker.ready(ACKS_QUEUE) == 0
    assert len(exchange.journal.runs(call.id)) == 1


@case("acks/requeue", spec="results-and-workflows#4.4 results-and-workflows#7")
def test_a_call_rejected_with_requeue_is_delivered_again(exchange: Exchange) -> None:
    call = exchange.producer.send("requeue_once", [str(exchange.marker())], queue=ACKS_QUEUE)
    assert exchange.producer.result(call) == "second delivery"
    assert len(exchange.journal.runs(call.id)) == 2
    assert exchange.broker.wait_unacked(ACKS_QUEUE, 0) == 0


@case("acks/redelivered", spec="results-and-workflows#4.4 results-and-workflows#7", since="5.2")
def test_a_second_delivery_says_that_it_is_one(exchange: Exchange) -> None:
    call = exchange.producer.send("requeue_once", [str(exchange.marker())], queue=ACKS_QUEUE)
    exchange.producer.result(call)
    first, second = exchange.journal.runs(call.id)
    assert not first.request["delivery_info"]["redelivered"]
    assert second.request["delivery_info"]["redelivered"]


@case("acks/requeue-when-lost", spec="results-and-workflows#4.4")
def test_a_late_call_whose_process_died_is_delivered_again(exchange: Exchange) -> None:
    call = exchange.producer.send("killed_once", [str(exchange.marker())], queue=ACKS_QUEUE)
    assert exchange.producer.result(call) == "survived"
    assert len(exchange.journal.runs(call.id)) == 2


@case("acks/retry", spec="results-and-workflows#4.4")
def test_a_retried_message_is_acknowledged(exchange: Exchange) -> None:
    call = exchange.producer.send("retry_n", [1], queue=ACKS_QUEUE)
    assert exchange.producer.result(call) == 1
    assert exchange.broker.wait_unacked(ACKS_QUEUE, 0) == 0
    assert exchange.broker.ready(ACKS_QUEUE) == 0


@case("acks/rejected", spec="results-and-workflows#4.4")
def test_a_rejected_message_is_gone(exchange: Exchange) -> None:
    call = exchange.producer.send("reject", ["gone"], queue=ACKS_QUEUE)
    exchange.wait_run(call)
    assert exchange.broker.wait_unacked(ACKS_QUEUE, 0) == 0
    assert exchange.broker.ready(ACKS_QUEUE) == 0
