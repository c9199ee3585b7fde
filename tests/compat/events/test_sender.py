"""Events leave in order, task events together, and wait while there is no connection."""

from __future__ import annotations

import json
from typing import Any

import pytest

from celeriac.brokers.base import BrokerLostError
from celeriac.events.sender import BATCH_SIZE, EventSender, utc_offset_hours
from celeriac_protocol.lamport import LamportClock
from celeriac_protocol.message import Message


class Wire:
    """Remembers what was published; refuses while `is_down`."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.is_down = False

    def publish(self, message: Message, routing_key: str) -> None:
        if self.is_down:
            raise BrokerLostError("down")
        assert message.headers == {"hostname": "w@h"}
        assert message.properties.delivery_mode == 1
        self.sent.append((routing_key, json.loads(message.body)))


def sender(**options: Any) -> EventSender:
    return EventSender("w@h", LamportClock(4), now=lambda: 1000.5, **options)


def test_a_worker_event_travels_alone_under_its_own_key() -> None:
    subject, wire = sender(), Wire()
    subject.send("worker-heartbeat", freq=2.0)
    subject.flush(wire.publish)
    ((key, body),) = wire.sent
    assert key == "worker.heartbeat"
    assert (body["type"], body["hostname"], body["clock"]) == ("worker-heartbeat", "w@h", 5)
    assert (body["timestamp"], body["freq"]) == (1000.5, 2.0)
    assert body["utcoffset"] == utc_offset_hours(1000.5)
    assert subject.is_empty


def test_task_events_travel_as_lists_even_single_ones() -> None:
    subject, wire = sender(), Wire()
    subject.send("task-started", uuid="a")
    subject.flush(wire.publish)
    assert [(key, len(body)) for key, body in wire.sent] == [("task.multi", 1)]


def test_batches_are_bounded_and_keep_the_order() -> None:
    subject, wire = sender(), Wire()
    for number in range(BATCH_SIZE + 1):
        subject.send("task-started", uuid=str(number))
    subject.send("worker-offline")
    subject.send("task-started", uuid="last")
    subject.flush(wire.publish)
    assert [key for key, _ in wire.sent] == [
        "task.multi", "task.multi", "worker.offline", "task.multi",
    ]  # fmt: skip
    batches = [body for key, body in wire.sent if key == "task.multi"]
    assert [len(batch) for batch in batches] == [BATCH_SIZE, 1, 1]
    uuids = [event["uuid"] for batch in batches for event in batch]
    assert uuids == [*map(str, range(BATCH_SIZE + 1)), "last"]


def test_what_could_not_be_sent_is_sent_later() -> None:
    subject, wire = sender(), Wire()
    subject.send("task-started", uuid="a")
    wire.is_down = True
    with pytest.raises(BrokerLostError):
        subject.flush(wire.publish)
    wire.is_down = False
    subject.flush(wire.publish)
    assert [event["uuid"] for event in wire.sent[0][1]] == ["a"]


def test_the_oldest_events_go_when_too_many_wait(caplog: pytest.LogCaptureFixture) -> None:
    subject, wire = sender(limit=2), Wire()
    for name in "abc":
        subject.send("task-started", uuid=name)
    assert subject.dropped == 1
    subject.flush(wire.publish)
    assert [event["uuid"] for event in wire.sent[0][1]] == ["b", "c"]
    assert "1 events were lost" in caplog.text
    assert subject.dropped == 0
