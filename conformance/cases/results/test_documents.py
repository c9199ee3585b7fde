"""Result documents, as stored and as Celery reads them."""

from __future__ import annotations

import datetime
import json
import uuid

import pytest

from celeriac_conformance.broker_taps import AmqpTap, RawMessage
from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange

DOCUMENT_KEYS = {"status", "result", "traceback", "children", "date_done", "task_id"}


@case(
    "results/document-of-success",
    spec="results-and-workflows#1.1",
    since="5.5",
    needs=["redis-results"],
)
def test_the_stored_document_of_a_success_has_the_keys_of_celery(exchange: Exchange) -> None:
    call = exchange.producer.send("add", [1, 2])
    exchange.producer.result(call)
    document = exchange.stored().document(call.id)
    assert document is not None
    assert set(document) == DOCUMENT_KEYS
    assert (document["status"], document["result"], document["task_id"]) == ("SUCCESS", 3, call.id)
    assert (document["traceback"], document["children"]) == (None, [])
    assert datetime.datetime.fromisoformat(document["date_done"]).utcoffset() == datetime.timedelta(
        0
    )


@case("results/document-of-failure", spec="results-and-workflows#1.4", needs=["redis-results"])
def test_the_stored_document_of_a_failure_names_class_arguments_and_module(
    exchange: Exchange,
) -> None:
    call = exchange.producer.send("fail", ["ValueError", "boom"])
    exchange.producer.wait(call)
    document = exchange.stored().document(call.id)
    assert document is not None
    assert set(document) == DOCUMENT_KEYS
    assert document["result"] == {
        "exc_type": "ValueError",
        "exc_message": ["boom"],
        "exc_module": "builtins",
    }


@case("results/expiry", spec="results-and-workflows#2.2", needs=["redis-results"])
def test_a_stored_document_lives_a_day(exchange: Exchange) -> None:
    call = exchange.producer.send("add", [1, 2])
    exchange.producer.result(call)
    assert 86000 < exchange.stored_in_redis().seconds_to_live(call.id) <= 86400


@case("results/of-a-finished-call", spec="results-and-workflows#3", needs=["stored-results"])
def test_a_stored_result_can_be_read_by_id_alone(exchange: Exchange) -> None:
    call = exchange.producer.send("add", [1, 2])
    exchange.stored().wait(call.id)
    stranger = exchange.producer_with(worker_hijack_root_logger=False)
    assert stranger.result(call.id) == 3


@case("results/rpc-reply", spec="results-and-workflows#2.1", since="5.7", needs=["rpc-results"])
def test_an_rpc_reply_has_the_properties_and_the_document_of_celery(exchange: Exchange) -> None:
    broker, task_id, replies = exchange.broker, str(uuid.uuid4()), f"replies.{uuid.uuid4()}"
    assert isinstance(broker, AmqpTap)
    broker.declare(replies)
    broker.push(
        "celery",
        RawMessage(
            body=json.dumps([[1, 2], {}, {}]).encode(),
            headers={"task": "add", "id": task_id},
            properties={
                "content_type": "application/json",
                "content_encoding": "utf-8",
                "reply_to": replies,
                "correlation_id": "chosen by the caller",
            },
        ),
    )
    exchange.eventually(lambda: broker.ready(replies) == 1, "a reply arrives")
    reply = broker.take(replies)
    assert reply is not None
    assert reply.properties["content_type"] == "application/json"
    assert reply.properties["content_encoding"] == "utf-8"
    assert reply.properties["correlation_id"] == "chosen by the caller"
    assert reply.properties["delivery_mode"] == 1
    document = json.loads(reply.body)
    assert set(document) == DOCUMENT_KEYS
    assert (document["status"], document["result"], document["task_id"]) == ("SUCCESS", 3, task_id)


@case("results/date-done", spec="results-and-workflows#1.1", since="5.7")
def test_celery_reads_when_a_call_was_done(exchange: Exchange) -> None:
    before = datetime.datetime.now(datetime.UTC)
    answer = exchange.producer.wait(exchange.producer.send("add", [1, 2]))
    done = answer.document["date_done"]
    assert isinstance(done, datetime.datetime)
    assert before <= done <= datetime.datetime.now(datetime.UTC)


@case("results/started", spec="results-and-workflows#1.2")
def test_a_tracked_task_reports_that_it_started(exchange: Exchange) -> None:
    call = exchange.producer.send("tracked", [1], countdown=1)
    answer = exchange.producer.wait(call)
    assert answer.states == ["STARTED", "SUCCESS"]
    started = answer.messages[0]["result"]
    assert started["pid"] == exchange.journal.runs(call.id)[0].pid
    assert "@" in started["hostname"]


@case("results/custom-states", spec="results-and-workflows#1.2")
def test_states_a_task_reports_itself_arrive_in_order(exchange: Exchange) -> None:
    # A client that finds the task done already is told nothing of what went before.
    answer = exchange.producer.wait(exchange.producer.send("progress", [3], countdown=1))
    assert answer.states == ["PROGRESS", "PROGRESS", "PROGRESS", "SUCCESS"]
    assert [message["result"] for message in answer.messages[:3]] == [
        {"step": step} for step in range(3)
    ]


@case("results/ignored-by-the-task", spec="results-and-workflows#1.6")
def test_a_task_that_ignores_results_reports_none(exchange: Exchange) -> None:
    call = exchange.producer.send("ignored", [1], by_name=False)
    exchange.wait_run(call)
    exchange.producer.result(exchange.producer.send("add", [1, 1]))
    assert exchange.producer.meta(call)["state"] == "PENDING"
    if exchange.results is not None:
        assert exchange.results.document(call.id) is None


@case(
    "results/ignored-by-the-call",
    spec="results-and-workflows#1.6",
    since="5.1",
    needs=["redis-results"],
)
def test_a_call_that_ignores_its_result_stores_none(exchange: Exchange) -> None:
    call = exchange.producer.send("add", [1, 2], ignore_result=True)
    exchange.wait_run(call)
    exchange.producer.result(exchange.producer.send("add", [1, 1]))
    assert exchange.stored().document(call.id) is None


@case(
    "results/wanted-by-the-call",
    spec="results-and-workflows#1.6",
    since="5.6.3",
    needs=["redis-results"],
)
def test_a_call_can_want_the_result_of_a_task_that_ignores_results(exchange: Exchange) -> None:
    call = exchange.producer.send("ignored", [7], ignore_result=False)
    assert exchange.stored().wait(call.id)["result"] == 7


@case(
    "results/ignored-failure",
    spec="results-and-workflows#1.6",
    since="5.6.3",
    needs=["redis-results"],
)
def test_an_ignored_failure_is_not_stored_either(exchange: Exchange) -> None:
    call = exchange.producer.send("fail", ["ValueError"], ignore_result=True)
    exchange.wait_run(call)
    exchange.producer.result(exchange.producer.send("add", [1, 1]))
    assert exchange.stored().document(call.id) is None


@case("results/success-is-final", spec="results-and-workflows#1.2", needs=["redis-results"])
def test_a_stored_success_is_not_replaced_by_a_later_failure(exchange: Exchange) -> None:
    call = exchange.producer.send("add", [1, 2])
    exchange.producer.result(call)
    again = exchange.producer.send("fail", ["ValueError"], task_id=call.id)
    exchange.wait_run(again, 2)
    exchange.producer.result(exchange.producer.send("add", [1, 1]))
    document = exchange.stored().document(call.id)
    assert document is not None
    assert (document["status"], document["result"]) == ("SUCCESS", 3)


@case("results/forgotten", spec="results-and-workflows#3", needs=["redis-results"])
def test_a_forgotten_result_is_gone(exchange: Exchange) -> None:
    call = exchange.producer.send("add", [1, 2])
    exchange.producer.result(call)
    exchange.producer.client.request("forget", id=call.id)
    assert exchange.stored().document(call.id) is None


@case("results/never-sent", spec="results-and-workflows#1.2")
def test_an_unknown_id_is_pending(exchange: Exchange) -> None:
    with pytest.raises(AssertionError, match="state PENDING"):
        exchange.producer.wait(str(uuid.uuid4()), timeout_s=1)
