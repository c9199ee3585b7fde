"""Legal messages, decoded and encoded again."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac_protocol.message import Message
from celeriac_protocol.serializers import accept_set
from celeriac_protocol.strategies import keyword_arguments, messages, task_messages, typed_values
from celeriac_protocol.task import TaskMessage, decode, encode, read_headers

JSON = accept_set(["json"])


@pytest.mark.parametrize("compression", [None, "zlib", "bzip2", "lzma"])
@given(task=task_messages())
def test_a_call_is_read_as_it_was_written(task: TaskMessage, compression: str | None) -> None:
    message = encode(task, compression=compression)
    found = decode(message, accept=JSON)
    assert found.headers.compression == message.headers.get("compression")
    plain = replace(found, headers=replace(found.headers, compression=None))
    assert plain == replace(task, properties=message.properties)


@given(messages())
def test_writing_what_was_read_gives_the_same_message(message: Message) -> None:
    assert encode(decode(message, accept=JSON)) == message


@given(task=task_messages(kwargs=keyword_arguments(values=typed_values(max_leaves=3), max_size=2)))
def test_values_of_other_types_come_through(task: TaskMessage) -> None:
    assert decode(encode(task), accept=JSON).kwargs == task.kwargs


@given(task=task_messages(), data=st.data())
def test_the_headers_alone_tell_what_a_worker_decides_by(
    task: TaskMessage, data: st.DataObject
) -> None:
    message = encode(task)
    body = data.draw(st.sampled_from([message.body, b"", b"\xff not to be looked at"]))
    found = read_headers(Message(message.headers, message.properties, body))
    assert found == (task.headers if task.version == 2 else None)
