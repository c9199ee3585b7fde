"""`State` makes of events what Celery's makes of them."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from celeriac.events.cluster_state import State, Task, Worker, heartbeat_expires

NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock that tells whether a worker is alive."""
    monkeypatch.setattr("celeriac.events.seen.time.time", lambda: NOW)


def event(
    kind: str, clock: int | None, after: float = 0.0, host: str = "w1@vm", **fields: Any
) -> dict[str, Any]:
    at = NOW + after
    return {
        "type": kind, "hostname": host, "timestamp": at, "local_received": at, "clock": clock, "pid": 12,
        "utcoffset": 0, **fields,
    }  # fmt: skip


def ids(found: Any) -> list[str]:
    return [uuid for uuid, _ in found]


STATES = {
    "sent": "PENDING RECEIVED STARTED SUCCESS FAILURE RETRY REVOKED REJECTED CANCELLED PROGRESS",
    "received": "RECEIVED RECEIVED STARTED SUCCESS FAILURE RETRY REVOKED RECEIVED CANCELLED PROGRESS",
    "started": "STARTED STARTED STARTED SUCCESS FAILURE RETRY REVOKED STARTED CANCELLED PROGRESS",
    "succeeded": "SUCCESS SUCCESS SUCCESS SUCCESS SUCCESS RETRY SUCCESS SUCCESS SUCCESS SUCCESS",
    "failed": "FAILURE FAILURE FAILURE SUCCESS FAILURE RETRY FAILURE FAILURE FAILURE FAILURE",
    "retried": "PENDING RECEIVED STARTED SUCCESS FAILURE RETRY REVOKED REJECTED CANCELLED PROGRESS",
    "revoked": "REVOKED REVOKED REVOKED SUCCESS FAILURE RETRY REVOKED REVOKED CANCELLED PROGRESS",
    "rejected": "REJECTED RECEIVED STARTED SUCCESS FAILURE RETRY REVOKED REJECTED CANCELLED PROGRESS",
    "cancelled": "CANCELLED CANCELLED CANCELLED SUCCESS FAILURE RETRY CANCELLED CANCELLED CANCELLED PROGRESS",
    "progress": "PROGRESS PROGRESS PROGRESS SUCCESS FAILURE RETRY PROGRESS PROGRESS CANCELLED PROGRESS",
}
"""First event → the state after each second event, in the same order, as Celery 5.7 was seen to have it."""


@pytest.mark.parametrize("first", STATES)
def test_the_more_final_of_two_events_decides(first: str) -> None:
    for second, expected in zip(STATES, STATES[first].split(), strict=True):
        state = State()
        state.event(event(f"task-{first}", 1, uuid="u", name="n"))
        state.event(event(f"task-{second}", 2, 0.1, uuid="u"))
        assert state.tasks["u"].state == expected, (first, second)


def test_a_late_reception_only_fills_in_what_is_missing() -> None:
    state = State()
    state.event(event("task-started", 5, 0.3, uuid="a"))
    state.event(event("task-received", 3, 0.2, uuid="a", name="n", args="(1,)", retries=1))
    task = state.tasks["a"]
    assert (task.state, task.name, task.args, task.retries, task.clock) == ("STARTED", "n", "(1,)", 1, 5)  # fmt: skip
    assert task.received == NOW + 0.2
    assert task.timestamp == NOW + 0.3


def test_a_task_knows_its_worker_its_producer_and_its_relatives() -> None:
    state = State()
    state.event(event("task-sent", 1, uuid="p", name="parent", host="gen1@vm"))
    assert state.tasks["p"].origin == "gen1@vm"
    state.event(event("task-received", 2, uuid="c", name="child", parent_id="p", root_id="p"))
    state.event(event("task-received", 3, uuid="d", name="child", parent_id="later"))
    state.event(event("task-received", 4, uuid="later", name="parent"))
    child, parent = state.tasks["c"], state.tasks["p"]
    assert (child.parent, child.root, list(parent.children)) == (parent, parent, [child])
    assert list(state.tasks["later"].children) == [state.tasks["d"]]
    assert child.worker is state.workers["w1@vm"]
    assert child.worker.alive
    known = child.as_dict()
    assert (known["parent"], known["root"], known["children"]) == ("p", "p", [])
    assert set(known) == set(Task._fields)
    assert child.info(["name", "result"], extra=["uuid"]) == {"name": "child", "uuid": "c"}


def test_tasks_are_found_by_time_type_and_worker() -> None:
    state = State()
    for uuid, clock, after in (("a", 5, 1), ("b", 3, 2), ("c", 4, 0), ("d", 0, 5), ("e", None, 0.5)):  # fmt: skip
        state.event(event("task-received", clock, after, uuid=uuid, name=f"n{uuid in 'ab'}"))
    assert ids(state.tasks_by_time()) == ["d", "a", "e", "c", "b"]
    assert ids(state.tasks_by_timestamp(limit=2)) == ["d", "a"]
    assert ids(state.tasks_by_time(reverse=False)) == ["b", "c", "e", "a", "d"]
    assert ids(state.tasks_by_type("nTrue")) == ["a", "b"]
    assert ids(state.tasks_by_worker("w1@vm", limit=1)) == ["d"]
    assert ids(state.itertasks(limit=2)) == ["a", "b"]
    assert state.task_types() == ["nFalse", "nTrue"]
    state.event(event("task-started", 9, 2.5, uuid="b"))
    assert ids(state.tasks_by_time()) == ["d", "b", "a", "e", "c"]


def test_a_worker_lives_as_long_as_it_is_heard() -> None:
    assert heartbeat_expires(100) == 220
    assert (heartbeat_expires(100, 2), heartbeat_expires(100, 2, 300)) == (104, 106)
    worker = Worker("h", freq=2)
    for second in range(6):
        worker.event("heartbeat", NOW + second, NOW + second, {"active": second})
    assert [at - NOW for at in worker.heartbeats] == [2, 3, 4, 5]
    assert (worker.active, worker.alive, worker.status_string) == (5, True, "ONLINE")
    worker.event("offline", NOW, NOW, {})
    assert (worker.heartbeats, worker.alive) == ([], False)
    old = Worker("o", freq=2)
    old.event("heartbeat", NOW - 100, NOW - 100, {})
    assert not old.alive


def test_workers_that_come_and_go_are_told_of() -> None:
    told: list[Any] = []
    state = State(
        callback=lambda _, each: told.append(each["type"]),
        on_node_join=lambda worker: told.append(("join", worker.hostname)),
        on_node_leave=lambda worker: told.append(("leave", worker.hostname)),
    )
    for kind in ("online", "heartbeat", "offline"):
        state.event(event(f"worker-{kind}", 1, freq=1))
    assert told == [
        "worker-online", ("join", "w1@vm"), "worker-heartbeat", "worker-offline", ("leave", "w1@vm"),
    ]  # fmt: skip


def test_only_so_many_tasks_are_remembered() -> None:
    state = State(max_tasks_in_memory=2)
    for number in range(100):
        state.event(event("task-received", number + 1, uuid=str(number), name="n"))
    assert list(state.tasks) == ["98", "99"]
    assert ids(state.tasks_by_time()) == ["99", "98"]
    assert len(state._timeline) <= 8


def test_a_state_can_be_kept_in_a_file() -> None:
    state = State()
    state.event(event("worker-online", 1, freq=2.0))
    state.event(event("task-received", 2, uuid="p", name="n"))
    state.event(event("task-received", 3, uuid="c", name="n", parent_id="p"))
    copy = pickle.loads(pickle.dumps(state))
    assert ids(copy.tasks_by_time()) == ["c", "p"]
    assert copy.tasks["c"].parent is copy.tasks["p"]
    assert copy.workers["w1@vm"].freq == 2.0
    assert len(copy.tasks_by_worker["w1@vm"]) == 2


def test_finished_tasks_are_forgotten_on_demand() -> None:
    state = State()
    state.event(event("task-succeeded", 1, uuid="a"))
    state.event(event("task-started", 2, uuid="b"))
    state.clear_tasks()
    assert (list(state.tasks), list(state.workers)) == (["b"], ["w1@vm"])
    state.clear(ready=False)
    assert (list(state.tasks), list(state.workers), state.event_count) == ([], [], 0)


def test_a_field_of_an_event_hides_no_method() -> None:
    state = State()
    state.event(event("task-odd", 1, uuid="a", ready=1, info="x", done=5))
    task = state.tasks["a"]
    assert (task.ready, task.info(["done"]), task.state) == (False, {"done": 5}, "ODD")
