"""What is written: the header table of Celery 5.7, and what we refuse to write."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from typing import Any

import pytest

from celeriac_protocol.errors import EncodeError, LocalProtocolError
from celeriac_protocol.message import Properties
from celeriac_protocol.serializers import accept_set
from celeriac_protocol.task import (
    STANDARD_HEADERS,
    Embed,
    TaskHeaders,
    TaskMessage,
    decode,
    encode,
    read_headers,
)

ORDER = [
    "lang", "task", "id", "shadow", "eta",
    "expires", "group", "group_index", "retries", "timelimit",
    "root_id", "parent_id", "argsrepr", "kwargsrepr", "origin",
    "ignore_result", "replaced_task_nesting", "stamped_headers", "stamps",
]  # fmt: skip


def call(**headers: Any) -> TaskMessage:
    return TaskMessage(headers=TaskHeaders(**{"task": "t", "id": "1", **headers}), args=(2, 3))


def test_the_headers_are_those_of_5_7_in_their_order() -> None:
    assert list(STANDARD_HEADERS) == ORDER
    assert list(encode(call()).headers) == ORDER
    assert encode(call()).headers["lang"] == "py"


def test_custom_headers_follow_the_standard_ones_or_replace_them() -> None:
    headers = encode(call(custom={"z": 1, "task": "other", "a": 2}, compression="gzip")).headers
    assert list(headers) == [*ORDER, "z", "a", "compression"]
    assert headers["task"] == "other"
    assert headers["compression"] == "application/x-gzip"


def test_the_other_properties_are_taken_over() -> None:
    properties = Properties(correlation_id="c", reply_to="r", priority=5, extra={"leak": 1})
    task = TaskMessage(headers=TaskHeaders(task="t", id="1"), properties=properties)
    written = encode(task, serializer="yaml").properties
    assert (written.content_type, written.content_encoding) == ("application/x-yaml", "utf-8")
    assert (written.correlation_id, written.reply_to, written.priority) == ("c", "r", 5)
    assert written.extra == {"leak": 1}


def test_a_moment_without_text_is_written_with_its_offset() -> None:
    eta_at = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert encode(call(eta_at=eta_at)).headers["eta"] == "2030-01-02T03:04:05+00:00"
    assert encode(call(eta="2030", eta_at=eta_at)).headers["eta"] == "2030"


def test_bodies_of_the_other_serializers_are_those_of_celery() -> None:
    empty = "callbacks: null\n  chain: null\n  chord: null\n  errbacks: null\n"
    task = TaskMessage(headers=TaskHeaders(task="t", id="1"), args=(1, 2))
    assert encode(task, serializer="yaml").body.decode() == f"- - 1\n  - 2\n- {{}}\n- {empty}"
    plain = call()
    assert encode(plain, serializer="msgpack").body.hex() == (
        "939202038084a963616c6c6261636b73c0a86572726261636b73c0a5636861696ec0a563686f7264c0"
    )
    loaded = pickle.loads(encode(plain, serializer="pickle").body)
    assert loaded == (
        (2, 3), {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None},
    )  # fmt: skip


@pytest.mark.parametrize("serializer", ["json", "yaml", "msgpack", "pickle"])
def test_every_serializer_reads_back_what_it_wrote(serializer: str) -> None:
    written = encode(call(retries=2), serializer=serializer)
    task = decode(written, accept=accept_set([serializer]))
    assert encode(task, serializer=serializer) == written
    assert task.args == (2, 3)


def test_what_cannot_be_written_is_said_before_anything_is_sent() -> None:
    with pytest.raises(EncodeError):
        encode(TaskMessage(headers=TaskHeaders(task="t", id="1"), args=(object(),)))
    with pytest.raises(LocalProtocolError, match="protocol"):
        encode(call(), protocol=3)
    with pytest.raises(LocalProtocolError, match=r"headers\['id'\]"):
        encode(call(id=""))
    with pytest.raises(LocalProtocolError, match=r"headers\['task'\]"):
        encode(call(task=None))
    with pytest.raises(LocalProtocolError, match="compression"):
        encode(call(), compression="nope")
    with pytest.raises(LocalProtocolError, match="serializer"):
        encode(call(), serializer="application/json")


def test_unknown_embed_keys_are_written_after_the_known_ones() -> None:
    body = encode(
        TaskMessage(headers=TaskHeaders(task="t", id="1"), embed=Embed(extra={"mine": 1}))
    ).body
    assert body.endswith(b'"chord": null, "mine": 1}]')


def test_what_was_read_is_a_frozen_value_that_pickles() -> None:
    headers = read_headers(encode(call(stamped_headers=("a",), stamps={"a": 1})))
    assert type(headers) is TaskHeaders
    assert pickle.loads(pickle.dumps(headers)) == headers
    assert headers == TaskHeaders(task="t", id="1", stamped_headers=("a",), stamps={"a": 1})
    assert repr(headers).startswith("TaskHeaders(task='t', id='1', lang='py'")
    with pytest.raises(AttributeError):
        headers.task = "other"  # type: ignore[misc]


def test_arguments_given_as_a_list_are_the_same_call() -> None:
    headers = TaskHeaders(task="t", id="1")
    assert TaskMessage(headers=headers, args=[1]) == TaskMessage(headers=headers, args=(1,))
