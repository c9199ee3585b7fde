"""Messages a worker refuses, and what the broker is told of them."""

from __future__ import annotations

import uuid

from celeriac_conformance.broker_taps import AmqpTap
from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange
from celeriac_conformance.own_workers import serving
from celeriac_conformance.unsupported import UnsupportedError


@case("acks/dead-letters", spec="results-and-workflows#4.4 transports#1.7")
def test_refused_messages_are_dead_lettered_and_others_are_not(exchange: Exchange) -> None:
    broker = exchange.broker
    if not isinstance(broker, AmqpTap):
        raise UnsupportedError(f"{exchange.cell.carrier.name} has no dead letters")
    work, dead = (f"{stem}-{uuid.uuid4().hex[:8]}" for stem in ("work", "dead"))
    broker.declare(dead)
    queues = {
        work: {
            "exchange": work,
            "routing_key": work,
            "queue_arguments": {
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": dead,
            },
        }
    }
    settings = {"task_queues": queues, "task_acks_on_failure_or_timeout": False}
    with serving(exchange, queues=[work], settings=settings):
        producer = exchange.producer_with(task_queues=queues)
        failed = producer.send("fail_late", ["bad"], queue=work)
        assert producer.wait(failed).state == "FAILURE"
        rejected = producer.send("reject", ["not mine"], queue=work)
        unknown = producer.send("nobody.knows.it", by_name=True, queue=work)
        early = producer.send("fail", ["ValueError"], queue=work)
        assert producer.wait(early).state == "FAILURE"
        exchange.eventually(lambda: broker.ready(dead) == 3, "three were refused")
        letters = [broker.take(dead) for _ in range(3)]
        assert {letter.headers["id"] for letter in letters if letter and letter.headers} == {
            failed.id,
            rejected.id,
            unknown.id,
        }
        for sent in (failed, rejected, early):
            assert len(exchange.journal.runs(sent.id)) == 1


@case("serializers/not-accepted", spec="task-message#6.3")
def test_a_worker_refuses_what_it_does_not_accept(exchange: Exchange) -> None:
    with serving(exchange, settings={"accept_content": ["json"]}) as queue:
        refused = exchange.producer.send("echo", [1], queue=queue, serializer="pickle")
        taken = exchange.producer.send("echo", [2], queue=queue)
        assert exchange.producer.result(taken) == 2
        exchange.eventually(lambda: exchange.broker.ready(queue) == 0, "nothing waits")
        assert exchange.journal.runs(refused.id) == []
        assert exchange.broker.wait_unacked(queue, 0) == 0
