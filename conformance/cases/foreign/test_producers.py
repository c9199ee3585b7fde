"""Messages of producers that are not Celery, byte for byte as they write them."""

from __future__ import annotations

import json
import uuid

from celeriac_conformance.broker_taps import RawMessage
from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange

NULLABLE = (
    "lang",
    "shadow",
    "eta",
    "expires",
    "group",
    "meth",
    "parent_id",
    "root_id",
    "argsrepr",
    "kwargsrepr",
    "origin",
)
"""Headers that rusty-celery writes as explicit nulls; `retries` has a case of its own."""
JSON = {"content_type": "application/json", "content_encoding": "utf-8"}


@case("foreign/minimal-message", spec="task-message#2")
def test_two_headers_and_a_body_are_a_whole_message(exchange: Exchange) -> None:
    task_id = str(uuid.uuid4())
    exchange.broker.push(
        "celery",
        RawMessage(
            body=b"[[1, 2], {}, {}]",
            headers={"task": "add", "id": task_id},
            properties={"content_type": "application/json"},
        ),
    )
    (run,) = exchange.wait_run(task_id)
    assert run.request["args"] == (1, 2) or run.request["args"] == [1, 2]
    assert run.retries == 0


@case("foreign/explicit-nulls", spec="task-message#2")
def test_optional_headers_may_be_null(exchange: Exchange) -> None:
    task_id = str(uuid.uuid4())
    headers = dict.fromkeys(NULLABLE)
    exchange.broker.push(
        "celery",
        RawMessage(
            body=json.dumps(
                [[1, 2], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
            ).encode(),
            headers={**headers, "task": "add", "id": task_id, "timelimit": [None, None]},
            properties={**JSON, "correlation_id": task_id},
        ),
    )
    (run,) = exchange.wait_run(task_id)
    assert run.task == "add"


@case("foreign/other-language", spec="task-message#2", since="5.3")
def test_a_message_of_another_language_runs(exchange: Exchange) -> None:
    task_id = str(uuid.uuid4())
    exchange.broker.push(
        "celery",
        RawMessage(
            body=b"[[1, 2], {}, {}]",
            headers={"task": "add", "id": task_id, "lang": "js", "x-trace": {"deep": [1, None]}},
            properties=JSON,
        ),
    )
    (run,) = exchange.wait_run(task_id)
    assert run.request["headers"] == {"x-trace": {"deep": [1, None]}}


@case("foreign/null-embed", spec="task-message#3.1")
def test_the_third_element_of_a_body_may_be_null(exchange: Exchange) -> None:
    task_id = str(uuid.uuid4())
    message = RawMessage(
        body=b"[[1, 2], {}, null]", headers={"task": "add", "id": task_id}, properties=JSON
    )
    exchange.broker.push("celery", message)
    assert len(exchange.wait_run(task_id)) == 1


@case("foreign/v1-body-with-v2-headers", spec="task-message#3.3 task-message#3.4", since="5.0")
def test_headers_win_over_the_body_of_a_hybrid(exchange: Exchange) -> None:
    task_id = str(uuid.uuid4())
    body = {"task": "add", "id": task_id, "args": [1, 2], "kwargs": {}, "retries": 1}
    message = RawMessage(
        body=json.dumps(body).encode(), headers={"retries": 4, "shadow": "hyb"}, properties=JSON
    )
    exchange.broker.push("celery", message)
    (run,) = exchange.wait_run(task_id)
    assert (run.retries, run.request["shadow"]) == (4, "hyb")


@case("foreign/headers-with-mapping-body", spec="task-message#3.3", control=False)
def test_headers_with_a_body_of_args_and_kwargs_run(exchange: Exchange) -> None:
    task_id = str(uuid.uuid4())
    message = RawMessage(
        body=json.dumps({"args": [1, 2], "kwargs": {}, "embed": {}}).encode(),
        headers={"task": "add", "id": task_id},
        properties=JSON,
    )
    exchange.broker.push("celery", message)
    assert len(exchange.wait_run(task_id)) == 1
