"""The side connection serves requests and events; its trouble is nobody else's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from celeriac.app.outcome import Failed, Succeeded
from celeriac.brokers.base import (
    BrokerAccessError,
    BrokerLostError,
    PublishError,
    SideChannelUnsupportedError,
)
from celeriac.worker.heart import Heart
from celeriac.worker.side import SideService
from tests.compat.worker.remote.bench import Bench, request


class Side(Bench):
    """The bench with the service in its loop."""

    def __init__(self, *, task_events: bool = False) -> None:
        super().__init__(task_events=task_events)
        assert self.sender is not None
        self.service = SideService(
            self.side,
            lambda: self.loop.connected,
            dispatcher=self.dispatcher,
            sender=self.sender,
            heart=Heart(self.sender, lambda: (0, self.loop.totals.total())),
        )
        self.loop.services.append(self.service)

    def kinds(self) -> list[str]:
        return [
            event["type"]
            for _, body in self.side.events
            for event in (body if isinstance(body, list) else [body])
        ]


@pytest.fixture
def bench() -> Iterator[Side]:
    subject = Side()
    yield subject
    subject.close()


def test_a_request_is_answered(bench: Side) -> None:
    bench.loop.turn()
    bench.side.requests.append(request("ping"))
    bench.loop.turn()
    assert bench.side.replies == [("reply.x", "k", {"w@h": {"ok": "pong"}})]


def test_the_worker_comes_beats_and_leaves(bench: Side) -> None:
    bench.loop.turn()
    bench.clock.elapsed += 2.1
    bench.loop.turn()
    bench.loop.stop()
    bench.clock.elapsed += 5
    bench.loop.turn()
    assert bench.kinds() == ["worker-online", "worker-heartbeat", "worker-offline"]
    event = bench.side.events[1][1]
    assert {"freq", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys"} <= set(event)


def test_a_stopping_worker_hears_no_more_requests(bench: Side) -> None:
    bench.loop.turn()
    bench.loop.stop()
    bench.side.requests.append(request("ping"))
    bench.loop.turn()
    assert bench.side.replies == []


def test_task_events_tell_the_life_of_a_task() -> None:
    bench = Side(task_events=True)
    bench.deliver(1)
    bench.accept(0)
    bench.pool.finish(0, Succeeded("5", 0.25))
    bench.deliver(2)
    bench.accept(1)
    bench.pool.finish(1, Failed("ValueError('x')", "Traceback", 0.1))
    bench.loop.turn()
    told = [kind for kind in bench.kinds() if kind.startswith("task-")]
    assert told == [
        "task-received", "task-started", "task-succeeded", "task-received", "task-started", "task-failed",
    ]  # fmt: skip
    bench.close()


def test_without_task_events_nothing_is_told_of_tasks(bench: Side) -> None:
    bench.deliver(1)
    bench.accept(0)
    bench.pool.finish(0, Succeeded("5", 0.25))
    bench.loop.turn()
    assert bench.kinds() == ["worker-online"]


def test_a_lost_side_connection_is_made_anew_and_tasks_go_on(bench: Side) -> None:
    bench.loop.turn()
    bench.side.fail_next = BrokerLostError("gone")
    bench.loop.turn()
    assert not bench.service.connected
    bench.deliver(1)
    assert len(bench.pool.jobs) == 1
    assert bench.side.connects == 1
    bench.clock.elapsed += 1.5
    bench.loop.turn()
    assert bench.service.connected
    assert bench.kinds().count("worker-online") == 2


@pytest.mark.parametrize("error", [BrokerLostError("no"), BrokerAccessError("no")])
def test_a_side_connection_that_cannot_be_made_is_tried_ever_more_rarely(
    bench: Side, error: Exception
) -> None:
    bench.side.refuse = error
    for _ in range(120):
        bench.loop.turn()
        bench.clock.elapsed += 1
    assert 3 <= bench.side.connects <= 10
    bench.deliver(1)
    assert len(bench.pool.jobs) == 1


def test_a_transport_that_cannot_broadcast_is_asked_once(bench: Side) -> None:
    bench.side.refuse = SideChannelUnsupportedError("no fanout")
    for _ in range(3):
        bench.loop.turn()
        bench.clock.elapsed += 100
    assert bench.side.connects == 1


def test_a_refused_reply_costs_only_itself(bench: Side, caplog: pytest.LogCaptureFixture) -> None:
    bench.loop.turn()
    bench.side.requests += [request("ping"), request("ping")]
    original = bench.side.reply

    def refuse_first(message: object, **where: str) -> None:
        bench.side.reply = original  # type: ignore[method-assign]
        raise PublishError("406")

    bench.side.reply = refuse_first  # type: ignore[method-assign]
    bench.loop.turn()
    assert len(bench.side.replies) == 1
    assert "refused" in caplog.text


def test_no_side_connection_is_tried_while_the_broker_is_away(bench: Side) -> None:
    bench.loop.connected = False
    bench.service.serve(set(), bench.clock.monotonic())
    assert bench.side.connects == 0
