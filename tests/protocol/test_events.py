"""Events: every captured one is written back key for key, and a broken one harms nobody."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac_protocol.errors import RefusedContentError, RemoteProtocolError
from celeriac_protocol.events import (
    BATCH_ROUTING_KEY,
    EVENT_TYPES,
    Event,
    decode_events,
    encode_batch,
    encode_event,
    read_events,
    routing_key,
    task_state,
)
from celeriac_protocol.message import Message, Properties
from celeriac_protocol.serializers import accept_set
from tests.protocol.sample_files import sample

JSON = accept_set(["json"])
EVENTS: list[dict[str, Any]] = [json.loads(text) for text in sample("events")["events"]]
COMMON = ["hostname", "utcoffset", "pid", "clock", "timestamp", "type"]
STARTED = {"type": "task-started", "hostname": "w@h", "uuid": "1", "timestamp": 5.0, "clock": 1}


@pytest.mark.parametrize("event", EVENTS, ids=[event["type"] for event in EVENTS])
def test_a_captured_event_is_written_back_key_for_key(event: dict[str, Any]) -> None:
    read = Event.from_dict(event)
    assert json.dumps(read.to_dict()) == json.dumps(event)
    assert Event.from_dict(read.to_dict()) == read


@pytest.mark.parametrize("event", EVENTS, ids=[event["type"] for event in EVENTS])
def test_the_table_has_every_captured_field_in_its_order(event: dict[str, Any]) -> None:
    fields = [key for key in event if key not in COMMON]
    if event["type"] == "task-progress":
        assert event["type"] not in EVENT_TYPES
        return
    known = [field.name for field in EVENT_TYPES[event["type"]].fields]
    assert fields == [name for name in known if name in fields]
    if "freq" not in fields:
        assert fields == known


def test_the_table_has_every_type_and_no_other() -> None:
    assert set(EVENT_TYPES) == {event["type"] for event in EVENTS} - {"task-progress"}
    assert {kind.group for kind in EVENT_TYPES.values()} == {"task", "worker"}


def test_the_parts_of_an_event_have_their_places() -> None:
    event = Event.from_dict(EVENTS[9])
    assert (event.type, event.group, event.hostname) == ("task-succeeded", "task", "w1@vm")
    assert (event.utcoffset, event.pid, event.clock) == (0.0, 28793, 49)
    assert event.timestamp == 1795365900.544128
    assert event.uuid == "2c78ae3e-8377-403a-b304-8c9c6384eb2f"
    assert dict(event.fields) == {
        "uuid": event.uuid, "result": "4", "runtime": 0.005150211000000127,
    }  # fmt: skip
    assert Event.from_dict(EVENTS[0]).uuid is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"type": None}, "event['type']"),
        ({"type": 5}, "event['type']"),
        ({"hostname": None}, "event['hostname']"),
        ({"hostname": ""}, "event['hostname']"),
        ({"timestamp": "now"}, "event['timestamp']"),
        ({"timestamp": True}, "event['timestamp']"),
        ({"timestamp": float("nan")}, "event['timestamp']"),
        ({"timestamp": 10**400}, "event['timestamp']"),
        ({"uuid": None}, "event['uuid']"),
        ({"uuid": 5}, "event['uuid']"),
        ({"type": "task-progress", "uuid": []}, "event['uuid']"),
        ({"type": "worker-elect-ack"}, "event['id']"),
        ({"type": "worker-elect", "id": "1"}, "event['topic']"),
    ],
)
def test_an_event_that_stops_celery_is_refused_by_field(
    changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        Event.from_dict({**STARTED, **changes})
    assert caught.value.field == field


def test_the_hostname_may_be_in_the_header_only() -> None:
    event = Event.from_dict({"type": "worker-online", "timestamp": 1}, hostname="w@h")
    assert event.hostname == "w@h"
    assert Event.from_dict(STARTED, hostname="other").hostname == "w@h"


def test_fields_of_the_wrong_type_count_as_missing() -> None:
    event = Event.from_dict(
        {
            "type": "worker-heartbeat", "hostname": "w@h", "clock": "7", "utcoffset": None,
            "pid": 1.5, "freq": "2", "active": True, "loadavg": ["x"], "sw_ver": "1",
            "mine": {"a": 1},
        }
    )  # fmt: skip
    assert (event.clock, event.utcoffset, event.pid, event.timestamp) == (None, None, None, None)
    assert dict(event.fields) == {"sw_ver": "1", "mine": {"a": 1}}


def test_an_unknown_type_is_an_event_like_any_other() -> None:
    event = Event.from_dict({"type": "worker-dance", "hostname": "w@h", "steps": 3})
    assert (event.group, dict(event.fields)) == ("worker", {"steps": 3})


def test_time_stamps_are_shifted_as_celery_shifts_them() -> None:
    east = Event(type="task-started", hostname="w", utcoffset=-2.0, timestamp=1000.0)
    assert east.local_timestamp(0.0) == 8200.0
    assert east.local_timestamp(-2.0) == 1000.0
    assert Event(type="t", hostname="w", timestamp=1000.0).local_timestamp(5.0) == 1000.0
    assert Event(type="t", hostname="w", utcoffset=1.0).local_timestamp(5.0) is None


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("worker-heartbeat", "worker.heartbeat"),
        ("task-sent", "task.sent"),
        ("worker-elect-ack", "worker.elect.ack"),
    ],
)
def test_routing_keys_have_dots_for_dashes(name: str, key: str) -> None:
    assert routing_key(name) == key


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("task-sent", "PENDING"),
        ("task-received", "RECEIVED"),
        ("task-started", "STARTED"),
        ("task-succeeded", "SUCCESS"),
        ("task-failed", "FAILURE"),
        ("task-retried", "RETRY"),
        ("task-revoked", "REVOKED"),
        ("task-rejected", "REJECTED"),
        ("task-progress", "PROGRESS"),
        ("worker-online", None),
        ("task-", None),
    ],
)
def test_a_type_stands_for_a_state(name: str, state: str | None) -> None:
    assert task_state(name) == state


def test_a_message_is_a_transient_one_with_the_host_in_its_header() -> None:
    message = encode_event(Event.from_dict(EVENTS[0]))
    assert message.headers == {"hostname": "w1@vm"}
    assert message.properties == Properties(
        content_type="application/json", content_encoding="utf-8", delivery_mode=1, priority=0
    )
    assert message.body == json.dumps(EVENTS[0]).encode()


def test_a_batch_is_a_list_even_of_one() -> None:
    message = encode_batch([Event.from_dict(EVENTS[8])], hostname="w1@vm")
    assert (message.body, BATCH_ROUTING_KEY) == (json.dumps([EVENTS[8]]).encode(), "task.multi")
    assert [event.type for event in decode_events(message, accept=JSON).events] == ["task-started"]


def test_one_broken_event_of_a_batch_does_not_cost_the_others() -> None:
    batch = read_events([STARTED, 5, {**STARTED, "uuid": None}, STARTED])
    assert [event.uuid for event in batch.events] == ["1", "1"]
    assert [exc.field for exc in batch.errors] == ["event", "event['uuid']"]


@pytest.mark.parametrize("body", [None, "text", 5, {"type": "task-started"}])
def test_a_body_that_is_no_event_is_refused(body: object) -> None:
    with pytest.raises(RemoteProtocolError):
        read_events(body)


def test_events_are_read_only_from_accepted_content() -> None:
    message = Message({}, Properties(content_type="application/x-python-serialize"), b"x")
    with pytest.raises(RefusedContentError):
        decode_events(message, accept=JSON)


def test_the_header_names_the_host_for_the_whole_batch() -> None:
    event = {"type": "task-started", "uuid": "1"}
    for headers, count in (({"hostname": "w@h"}, 1), ({"hostname": 5}, 0), ({}, 0)):
        message = Message(
            headers, Properties(content_type="application/json"), json.dumps([event]).encode()
        )
        assert len(decode_events(message, accept=JSON).events) == count


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NAMES = [*COMMON, "uuid", "freq", "loadavg", "runtime", "terminated", "id", "topic"]


@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(list(EVENT_TYPES)) | odd, "hostname": st.just("w") | odd},
        optional={name: odd for name in NAMES if name not in ("type", "hostname")},
    )
    | odd
)
def test_any_event_is_read_or_refused_and_what_was_read_is_stable(value: object) -> None:
    for event in seen(value):
        assert Event.from_dict(event.to_dict()) == event or "nan" in repr(event)


def seen(value: object) -> tuple[Event, ...]:
    try:
        return read_events(value).events
    except RemoteProtocolError:
        return ()
