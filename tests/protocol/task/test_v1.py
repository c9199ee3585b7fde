"""Protocol 1 and hybrids: fields of the body, headers laid over them."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from celeriac_protocol.errors import LocalProtocolError
from celeriac_protocol.message import Message, Properties
from celeriac_protocol.serializers import accept_set
from celeriac_protocol.task import (
    Embed,
    TaskHeaders,
    TaskMessage,
    TimeLimit,
    decode,
    encode,
    read_body,
    read_headers,
)

JSON = accept_set(["json"])
SIG: dict[str, Any] = {"task": "t.next", "args": [], "kwargs": {}, "options": {}}


def message(body: object, headers: dict[str, object] | None = None) -> Message:
    return Message(
        headers or {},
        Properties(content_type="application/json", content_encoding="utf-8"),
        json.dumps(body).encode(),
    )


def test_real_headers_win_over_the_body() -> None:
    body = {"task": "t", "id": "1", "args": [], "kwargs": {}, "retries": 1, "eta": "2030-01-01"}
    task = decode(
        message(body, {"retries": 4, "shadow": "hyb", "eta": None, "mine": 1}), accept=JSON
    )
    assert (task.headers.retries, task.headers.shadow, task.headers.eta) == (4, "hyb", None)
    assert task.headers.custom == {"mine": 1}
    assert (task.headers.lang, task.version) == (None, 1)


def test_a_celery_3_1_group_is_known_by_taskset_alone() -> None:
    body = {"task": "t", "id": "1", "args": [], "kwargs": {}, "taskset": "g", "chord": SIG}
    task = decode(message(body), accept=JSON)
    assert (task.headers.group, task.embed.chord) == ("g", SIG)


def test_group_is_preferred_to_taskset_and_the_index_is_kept() -> None:
    body = {"task": "t", "id": "1", "args": [], "group": "g", "taskset": "old", "group_index": 3}
    headers = decode(message(body), accept=JSON).headers
    assert (headers.group, headers.group_index) == ("g", 3)


def test_the_oldest_form_has_no_args_and_passes_unknown_keys_on() -> None:
    task = decode(message({"task": "t", "id": "1", "utc": False, "mine": [1]}), accept=JSON)
    assert (task.args, task.kwargs, task.utc, task.version) == ((), {}, False, 1)
    assert task.embed == Embed(extra={"mine": [1]})


def test_unknown_keys_of_a_hybrid_body_are_dropped() -> None:
    body = {"task": "t", "id": "1", "args": [], "kwargs": {}, "mine": 1, "chain": [SIG]}
    assert decode(message(body), accept=JSON).embed == Embed()


def test_a_gocelery_call_has_an_eta_with_a_local_offset() -> None:
    body = {
        "id": "1", "task": "t", "args": [1], "kwargs": {}, "retries": 0,
        "eta": "2026-11-22T12:00:00.5-05:00", "expires": None,
    }  # fmt: skip
    eta_at = decode(message(body), accept=JSON).headers.eta_at
    assert eta_at is not None
    assert eta_at.isoformat() == "2026-11-22T12:00:00.500000-05:00"


def test_version_2_headers_over_a_mapping_run_as_version_2() -> None:
    """As celers sends them: headers complete, body an object with args and kwargs."""
    celers = message(
        {"args": [1], "kwargs": {"k": 2}}, {"task": "t", "id": "1", "timelimit": [9, None]}
    )
    headers = read_headers(celers)
    assert headers is not None
    task = read_body(celers, headers, accept=JSON)
    assert (task.args, task.kwargs, task.version) == ((1,), {"k": 2}, 2)
    assert task.headers.timelimit == TimeLimit(9, None)
    assert task == decode(celers, accept=JSON)


def test_fields_of_a_hybrid_body_fill_in_for_missing_headers() -> None:
    hybrid = message(
        {"args": [], "retries": 2, "expires": "2031-01-01", "callbacks": [SIG]},
        {"task": "t", "id": "1"},
    )
    task = decode(hybrid, accept=JSON)
    assert (task.headers.retries, task.headers.expires) == (2, "2031-01-01")
    assert task.embed == Embed(callbacks=[SIG])


def test_protocol_1_has_its_own_keys_and_no_others() -> None:
    task = TaskMessage(
        headers=TaskHeaders(
            task="t", id="1", group="g", shadow="s", root_id="r", custom={"h": 1},
        ),
        version=1,
        utc=False,
        embed=Embed(chain=[]),
    )  # fmt: skip
    written = encode(task)
    assert written.headers == {"h": 1}
    assert json.loads(written.body) == {
        "task": "t", "id": "1", "args": [], "kwargs": {}, "group": "g", "group_index": None,
        "retries": 0, "eta": None, "expires": None, "utc": False, "callbacks": None,
        "errbacks": None, "timelimit": [None, None], "taskset": "g", "chord": None,
    }  # fmt: skip


def test_pickle_shows_that_limits_and_arguments_are_tuples_in_protocol_1() -> None:
    task = TaskMessage(headers=TaskHeaders(task="t", id="1"), args=[2, 3], version=1)
    body = pickle.loads(encode(task, serializer="pickle").body)
    assert (body["args"], body["timelimit"]) == ((2, 3), (None, None))
    assert type(body["timelimit"]) is tuple


def test_protocol_1_refuses_to_lose_the_rest_of_a_chain() -> None:
    task = TaskMessage(headers=TaskHeaders(task="t", id="1"), embed=Embed(chain=[SIG]))
    with pytest.raises(LocalProtocolError, match=r"embed\.chain"):
        encode(task, protocol=1)


def test_protocol_1_may_be_compressed() -> None:
    task = TaskMessage(headers=TaskHeaders(task="t", id="1", lang=None), args=(1,), version=1)
    written = encode(task, compression="bzip2")
    assert written.headers == {"compression": "application/x-bz2"}
    assert decode(written, accept=JSON).args == (1,)
