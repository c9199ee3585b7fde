"""Every header of a message, as its task sees it; and defaults that a producer's settings give."""

from __future__ import annotations

import datetime
import json
import uuid
from typing import Any

from celeriac_conformance.broker_taps import RawMessage
from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange


@case("calls/every-header", spec="task-message#2 app-and-cli#5.7", since="5.3.6")
def test_every_header_of_a_message_is_in_the_request(exchange: Exchange) -> None:
    now = datetime.datetime.now(datetime.UTC)
    plain = {
        "id": str(uuid.uuid4()),
        "lang": "py",
        "task": "request_dump",
        "shadow": "shown instead",
        "eta": (now - datetime.timedelta(seconds=5)).isoformat(),
        "expires": (now + datetime.timedelta(hours=1)).isoformat(),
        "group": "of a group",
        "group_index": 7,
        "retries": 2,
        "timelimit": [60, 50],
        "root_id": "the root",
        "parent_id": "the parent",
        "argsrepr": "(...)",
        "kwargsrepr": "{...}",
        "origin": "gen1@elsewhere",
        "ignore_result": True,
        "replaced_task_nesting": 3,
        "stamped_headers": ["trace"],
        "stamps": {"trace": "abc"},
    }
    own = {"tenant": "acme", "depth": 3, "list": [1, "two"]}
    exchange.broker.push(
        "celery",
        RawMessage(
            body=json.dumps([[], {}, {}]).encode(),
            headers={**plain, **own},
            properties={
                "content_type": "application/json",
                "content_encoding": "utf-8",
                "correlation_id": "chosen by the caller",
                "reply_to": "nowhere",
                "priority": 4,
            },
        ),
    )
    request = exchange.wait_run(str(plain["id"]))[0].request
    assert {name: request[name] for name in plain} == plain
    assert request["headers"] == own
    assert (request["correlation_id"], request["reply_to"]) == ("chosen by the caller", "nowhere")
    assert request["delivery_info"]["priority"] == 4
    assert (request["args"], request["kwargs"]) == ([], {})


@case("calls/embedded-fields", spec="task-message#3.1 app-and-cli#5.7")
def test_what_follows_a_call_is_in_its_request(exchange: Exchange) -> None:
    task_id = str(uuid.uuid4())

    def signature(task: str) -> dict[str, Any]:
        return {
            "task": task,
            "args": [],
            "kwargs": {},
            "options": {"task_id": str(uuid.uuid4())},
            "subtask_type": None,
            "immutable": True,
        }

    steps = [signature("request_dump"), signature("collect")]
    embed = {
        "callbacks": [signature("collect")],
        "errbacks": [signature("errback_old")],
        "chain": steps,
        "chord": None,
    }
    exchange.broker.push(
        "celery",
        RawMessage(
            body=json.dumps([[], {}, embed]).encode(),
            headers={"task": "request_dump", "id": task_id, "lang": "py"},
            properties={"content_type": "application/json", "content_encoding": "utf-8"},
        ),
    )
    request = exchange.wait_run(task_id)[0].request
    tasks = {
        name: [each["task"] for each in request[name]]
        for name in ("callbacks", "errbacks", "chain")
    }
    assert tasks == {
        "callbacks": ["collect"],
        "errbacks": ["errback_old"],
        "chain": ["request_dump", "collect"],
    }
    # The last of the list comes first.
    ran = [exchange.wait_run(each["options"]["task_id"])[0] for each in reversed(steps)]
    assert [run.task for run in ran] == ["collect", "request_dump"]
    assert ran[0].time <= ran[1].time


@case("calls/properties-beside-headers", spec="task-message#2", since="5.3")
def test_own_headers_do_not_disturb_the_known_ones(exchange: Exchange) -> None:
    sent = exchange.producer.send(
        "request_dump", headers={"tenant": "acme", "shadow": "by header"}, shadow="by option"
    )
    request = exchange.producer.result(sent)
    assert request["id"] == sent.id
    assert request["headers"] == {"tenant": "acme"}
    assert request["shadow"] == "by header"


@case("serializers/of-the-producer", spec="task-message#6.1", since="5.3")
def test_the_settings_of_a_producer_choose_serializer_and_compression(exchange: Exchange) -> None:
    producer = exchange.producer_with(task_serializer="msgpack", task_compression="gzip")
    queue = f"queue-{uuid.uuid4().hex[:8]}"
    producer.send("echo", [1], queue=queue)
    producer.send("echo", [2], queue=queue, serializer="json", compression="bzip2")
    exchange.eventually(lambda: exchange.broker.ready(queue) == 2, "both wait")
    found = []
    for _ in range(2):
        message = exchange.broker.take(queue)
        assert message is not None
        assert message.headers is not None
        found.append((message.properties["content_type"], message.headers["compression"]))
    assert found == [
        ("application/x-msgpack", "application/x-gzip"),
        ("application/json", "application/x-bz2"),
    ]
    assert producer.result(producer.send("echo", ["both"])) == "both"
