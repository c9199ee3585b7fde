"""Messages of protocol 1, as `task_protocol = 1` and old producers send them."""

from __future__ import annotations

import json
import uuid

import pytest

from celeriac_conformance.broker_taps import RawMessage
from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange, Producer
from celeriac_conformance.forms import call, chain, chord, group

SPEC = "task-message#3.2 task-message#3.4"


@pytest.fixture
def old(exchange: Exchange) -> Producer:
    """A producer that writes protocol 1."""
    return exchange.producer_with(task_protocol=1)


@case("protocol1/plain", spec=SPEC)
def test_a_call_returns_its_value(exchange: Exchange, old: Producer) -> None:
    assert old.result(old.send("add", [2, 3])) == 5


@case("protocol1/keyword-arguments", spec=SPEC)
def test_keyword_arguments_arrive(exchange: Exchange, old: Producer) -> None:
    assert old.result(old.send("keyword_only", kwargs={"a": 1, "b": "ü"})) == [1, "ü"]


@case("protocol1/request", spec=SPEC)
def test_the_request_has_the_fields_of_the_body(exchange: Exchange, old: Producer) -> None:
    sent = old.send("request_dump", time_limit=60, soft_time_limit=30)
    request = old.result(sent)
    assert (request["id"], request["retries"]) == (sent.id, 0)
    assert request["timelimit"] == [60, 30]
    assert request["delivery_info"]["routing_key"] == "celery"


@case("protocol1/eta", spec=SPEC)
def test_a_countdown_holds_the_call_back(exchange: Exchange, old: Producer) -> None:
    sent = old.send("request_dump", countdown=1)
    assert old.result(sent)["eta"] is not None


@case("protocol1/expires", spec=SPEC)
def test_a_call_that_expires_is_revoked(exchange: Exchange, old: Producer) -> None:
    sent = old.send("add", [1, 2], countdown=2.5, expires=1.5)
    assert old.wait(sent).state == "REVOKED"
    assert exchange.journal.runs(sent.id) == []


@case("protocol1/failure", spec=SPEC)
def test_a_failure_is_reported(exchange: Exchange, old: Producer) -> None:
    answer = old.wait(old.send("fail", ["ValueError", "bad"]))
    assert (answer.state, answer.raised and answer.raised.args) == ("FAILURE", ["bad"])


@case("protocol1/retry", spec=SPEC)
def test_a_call_can_be_retried(exchange: Exchange, old: Producer) -> None:
    sent = old.send("retry_n", [2])
    assert old.result(sent) == 2
    assert [run.retries for run in exchange.journal.runs(sent.id)] == [0, 1, 2]


@case("protocol1/callback", spec=SPEC)
def test_callbacks_of_the_body_run(exchange: Exchange, old: Producer) -> None:
    (child,) = old.wait(old.send("add", [1, 2], link=[call("collect", "own")])).children
    assert exchange.wait_run(child)[0].extra["args"] == [3, "own"]


@case("protocol1/errback", spec=SPEC)
def test_errbacks_of_the_body_run(exchange: Exchange, old: Producer) -> None:
    sent = old.send("fail", ["ValueError"], link_error=[call("errback_new")])
    assert old.wait(sent).state == "FAILURE"
    exchange.journal.wait(event="errback", id=sent.id)


@case("protocol1/chain", spec=SPEC)
def test_a_chain_travels_as_nested_callbacks(exchange: Exchange, old: Producer) -> None:
    sent = old.run(chain(call("add", 1, 1), call("add", 2), call("mul", 10)))
    assert old.result(sent) == 40


@case("protocol1/group", spec=SPEC)
def test_group_members_carry_the_group(exchange: Exchange, old: Producer) -> None:
    sent = old.run(group(call("add", 1, 1), call("add", 2, 2)))
    assert old.result(sent) == [2, 4]
    requests = [exchange.journal.runs(member.id)[0].request for member in sent.members]
    assert [request["group"] for request in requests] == [sent.id] * 2


@case("protocol1/chord", spec=SPEC, needs=["chords"])
def test_a_chord_completes(exchange: Exchange, old: Producer) -> None:
    sent = old.run(chord([call("add", 1, 1), call("add", 2, 2)], call("xsum")))
    assert old.result(sent) == 6


@case("protocol1/pickle", spec=SPEC)
def test_a_body_in_pickle_is_read(exchange: Exchange, old: Producer) -> None:
    assert old.result(old.send("add", [1, 2], serializer="pickle")) == 3


@case("protocol1/compressed", spec=SPEC)
def test_a_compressed_body_is_read(exchange: Exchange, old: Producer) -> None:
    assert old.result(old.send("measure", ["x" * 10000], compression="bzip2")) == 10000


@case("protocol1/of-celery-3", spec="task-message#3.2")
def test_a_body_with_the_keys_of_celery_3_runs(exchange: Exchange) -> None:
    task_id = str(uuid.uuid4())
    body = {
        "task": "add",
        "id": task_id,
        "args": [4, 5],
        "kwargs": {},
        "retries": 0,
        "eta": None,
        "expires": None,
        "utc": True,
        "callbacks": None,
        "errbacks": None,
        "timelimit": [None, None],
        "taskset": None,
        "chord": None,
    }
    exchange.broker.push("celery", _json(body))
    assert exchange.wait_run(task_id)[0].request["retries"] == 0


@case("protocol1/of-gocelery", spec="task-message#3.2", since="5.3")
def test_a_body_whose_eta_is_now_with_a_local_offset_runs_at_once(exchange: Exchange) -> None:
    task_id = str(uuid.uuid4())
    body = {
        "id": task_id,
        "task": "add",
        "args": [1, 2],
        "kwargs": {},
        "retries": 0,
        "eta": "2020-01-01T05:00:00.123456789+05:30",
    }
    exchange.broker.push("celery", _json(body))
    assert len(exchange.wait_run(task_id)) == 1


def _json(body: object) -> RawMessage:
    return RawMessage(
        body=json.dumps(body).encode(),
        headers={},
        properties={"content_type": "application/json", "content_encoding": "utf-8"},
    )
