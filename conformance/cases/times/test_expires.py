"""Calls that are worth nothing after a while."""

from __future__ import annotations

import datetime
import json
import uuid

from celeriac_conformance.broker_taps import RawMessage
from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange
from celeriac_conformance.forms import call as form


@case("expires/not-yet", spec="task-message#5.2")
def test_a_call_that_has_not_expired_runs(exchange: Exchange) -> None:
    assert exchange.producer.result(exchange.producer.send("add", [1, 2], expires=60)) == 3


@case("expires/while-waiting", spec="task-message#5.2 results-and-workflows#4.5")
def test_a_call_that_expires_while_it_waits_is_revoked_and_never_runs(exchange: Exchange) -> None:
    call = exchange.producer.send("add", [1, 2], countdown=2.5, expires=1.5)
    answer = exchange.producer.wait(call)
    assert answer.state == "REVOKED"
    assert answer.raised is not None
    assert (answer.raised.type, answer.raised.module) == ("TaskRevokedError", "celery.exceptions")
    assert answer.raised.args == ["expired"]
    assert exchange.journal.runs(call.id) == []


@case("expires/on-arrival", spec="task-message#5.2", needs=["stored-results"])
def test_a_message_that_arrives_expired_is_revoked(exchange: Exchange) -> None:
    task_id = str(uuid.uuid4())
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=1)
    exchange.broker.push(
        "celery",
        RawMessage(
            body=json.dumps([[1, 2], {}, {}]).encode(),
            headers={"task": "add", "id": task_id, "expires": past.isoformat()},
            properties={"content_type": "application/json", "content_encoding": "utf-8"},
        ),
    )
    answer = exchange.producer.wait(task_id)
    assert (answer.state, answer.raised and answer.raised.args) == ("REVOKED", ["expired"])
    assert exchange.journal.runs(task_id) == []


@case("expires/absolute", spec="task-message#5.1")
def test_expires_may_be_a_datetime(exchange: Exchange) -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5)
    call = exchange.producer.send("request_dump", expires=soon)
    assert datetime.datetime.fromisoformat(exchange.producer.result(call)["expires"]) == soon


@case("expires/errbacks-not-called", spec="results-and-workflows#4.5")
def test_an_expired_call_calls_no_errback(exchange: Exchange) -> None:
    call = exchange.producer.send(
        "add", [1, 2], countdown=2.5, expires=1.5, link_error=[form("errback_old")]
    )
    assert exchange.producer.wait(call).state == "REVOKED"
    canary = exchange.producer.send("add", [1, 1])
    assert exchange.producer.result(canary) == 2
    assert exchange.journal.entries(task="errback_old", extra={"task_id": call.id}) == []
