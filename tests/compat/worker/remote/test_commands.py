"""Each command answers in Celery's shape and does what it says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from celeriac.pools.base import Lost
from celeriac.worker.actions import Settlement
from celeriac.worker.payload import MarkRevoked
from celeriac.worker.shutdown import Stop
from tests.compat.worker.doubles import NOW
from tests.compat.worker.remote.bench import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    subject = Bench()
    yield subject
    subject.close()


def future(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).isoformat()


def test_requests_are_listed_by_where_they_stand(bench: Bench) -> None:
    for tag in (1, 2, 3):
        bench.deliver(tag)
    bench.deliver(4, eta=future(60))
    bench.accept(0)
    assert [info["id"] for info in bench.run("active")] == ["id-1"]
    assert [info["id"] for info in bench.run("reserved")] == ["id-2", "id-3"]
    (entry,) = bench.run("scheduled")
    assert entry == {"eta": future(60), "priority": 6, "request": entry["request"]}
    found = bench.run("query_task", ids=["id-1", "id-3", "id-4", "x"])
    assert {key: value[0] for key, value in found.items()} == {
        "id-1": "active", "id-3": "reserved", "id-4": "scheduled",
    }  # fmt: skip


def test_a_request_is_shown_with_its_arguments(bench: Bench) -> None:
    bench.deliver(1, argsrepr="(2, 3)", kwargsrepr="{}")
    bench.accept(0)
    (info,) = bench.run("active")
    assert info == {
        "id": "id-1", "name": "proj.add", "args": [2, 3], "kwargs": {}, "type": "proj.add", "hostname": "w@h",
        "time_start": 0.0, "acknowledged": True, "worker_pid": 4711,
        "delivery_info": {"exchange": "", "routing_key": "celery", "priority": 0, "redelivered": False},
    }  # fmt: skip
    (info,) = bench.run("active", safe=True)
    assert (info["args"], info["kwargs"]) == ("(2, 3)", "{}")


def test_a_body_that_cannot_be_opened_is_shown_as_described(bench: Bench) -> None:
    bench.broker.deliver(1, {"argsrepr": "(2,)", "kwargsrepr": "{}"}, body={"no": "body"})
    bench.loop.turn()
    (info,) = bench.run("reserved")
    assert (info["args"], info["kwargs"]) == ("(2,)", "{}")


def test_a_revoked_task_that_waits_for_a_slot_is_discarded_at_once(bench: Bench) -> None:
    for tag in (1, 2, 3):
        bench.deliver(tag)
    assert bench.run("revoke", task_id="id-3") == {"ok": "tasks {'id-3'} flagged as revoked"}
    assert bench.run("revoked") == ["id-3"]
    kinds = [job.payload for job in bench.pool.settling.values()]
    assert kinds[0] == MarkRevoked(("id-3",))
    assert kinds[1].kind is Settlement.REVOKED


def test_a_revoked_task_that_waits_for_its_eta_is_discarded_when_due(bench: Bench) -> None:
    bench.deliver(1, eta=future(60))
    bench.run("revoke", task_id=["id-1"])
    assert len(bench.run("scheduled")) == 1
    bench.clock.elapsed = 61
    bench.loop.turn()
    assert bench.run("scheduled") == []
    assert not bench.pool.jobs
    assert bench.pool.settling[0].payload.detail == "revoked"


def test_a_running_task_is_not_marked_as_revoked(bench: Bench) -> None:
    bench.deliver(1)
    bench.accept(0)
    bench.run("revoke", task_id=["id-1", "id-9"])
    assert [job.payload for job in bench.pool.settling.values()] == [MarkRevoked(("id-9",))]


def test_a_terminated_task_ends_as_revoked_and_acked(bench: Bench) -> None:
    bench.deliver(1)
    bench.accept(0)
    assert bench.run("revoke", task_id="id-1", terminate=True, signal="KILL") == {
        "ok": "terminate: id-1"
    }
    bench.pool.report(Lost(0, 4711, -9))
    bench.loop.turn()
    payload = bench.pool.settling[0].payload
    assert (payload.kind, payload.detail) == (Settlement.REVOKED, "terminated")
    assert bench.broker.acked == [1]


@pytest.mark.parametrize(
    ("signal", "answer"),
    [
        ("TERM", {"ok": "terminate: tasks unknown"}),
        (9, {"ok": "terminate: tasks unknown"}),
        ("kill", {"error": "TypeError('signal name must be uppercase string.')"}),
        ("NOSUCH", {"error": "ValueError(\"no signal 'NOSUCH'\")"}),
    ],
)
def test_terminating_checks_the_signal(bench: Bench, signal: Any, answer: dict[str, str]) -> None:
    assert bench.run("terminate", signal=signal, task_id="x") == answer


def test_a_pool_that_cannot_terminate_says_so(bench: Bench) -> None:
    bench.pool.supports_terminate = False
    bench.deliver(1)
    bench.accept(0)
    answer = bench.run("terminate", signal="TERM", task_id="id-1")
    assert "does not implement kill_job" in answer["error"]


def test_registered_tasks_are_shown_with_the_attributes_asked_for(bench: Bench) -> None:
    assert bench.run("registered") == ["proj.add"]
    assert bench.run("registered", taskinfoitems=["max_retries", "_app"]) == [
        "proj.add [max_retries=3]"
    ]
    assert "celery.chord" in bench.run("registered", builtins=True)


def test_statistics(bench: Bench) -> None:
    bench.deliver(1)
    bench.accept(0)
    stats = bench.run("stats")
    assert list(stats) == [
        "total", "pid", "clock", "uptime", "pool", "broker", "prefetch_count", "rusage",
    ]  # fmt: skip
    assert (stats["total"], stats["uptime"], stats["prefetch_count"]) == ({"proj.add": 1}, 12, 8)
    assert isinstance(stats["clock"], str)
    assert "password" not in stats["broker"]


def test_queues_are_added_and_cancelled(bench: Bench) -> None:
    assert bench.run("add_consumer", queue="q2") == {"ok": "add consumer q2"}
    assert (bench.side.declared, bench.broker.consumed) == (["q2"], ["celery", "q2"])
    assert [queue["name"] for queue in bench.run("active_queues")] == ["celery", "q2"]
    assert bench.run("cancel_consumer", queue="q2") == {"ok": "no longer consuming from q2"}
    assert bench.broker.consumed == ["celery"]


def test_a_queue_that_the_broker_refuses_is_not_consumed(bench: Bench) -> None:
    assert "error" in bench.run("add_consumer", queue="refused")
    assert bench.broker.consumed == ["celery"]
    assert "refused" not in bench.app.amqp.queues


def test_time_limits_are_set_on_the_task(bench: Bench) -> None:
    answer = bench.run("time_limit", task_name="proj.add", soft=1.5, hard=2)
    assert answer == {"ok": "time limits set successfully"}
    task = bench.app.tasks["proj.add"]
    assert (task.soft_time_limit, task.time_limit) == (1.5, 2)
    assert bench.run("time_limit", task_name="nobody") == {"error": "unknown task"}
    assert "TypeError" in bench.run("time_limit", task_name="proj.add", hard="2")["error"]


@pytest.mark.parametrize(
    ("limit", "answer"),
    [
        ("5/s", {"ok": "new rate limit set successfully"}),
        ("0", {"ok": "new rate limit set successfully"}),
        (None, {"ok": "rate limit disabled successfully"}),
        ("1/d", {"error": "KeyError('d')"}),
        (
            "x/s",
            {
                "error": "Invalid rate limit string: "
                "ValueError(\"could not convert string to float: 'x'\")"
            },
        ),
    ],
)
def test_rate_limits_are_set_or_refused_as_celery_does(
    bench: Bench, limit: Any, answer: dict[str, str]
) -> None:
    assert bench.run("rate_limit", task_name="proj.add", rate_limit=limit) == answer
    assert bench.run("rate_limit", task_name="x", rate_limit="1/s") == {"error": "unknown task"}


def test_events_are_switched(bench: Bench) -> None:
    assert bench.run("disable_events") == {"ok": "task events already disabled"}
    assert bench.run("enable_events") == {"ok": "task events enabled"}
    assert bench.run("enable_events") == {"ok": "task events already enabled"}
    assert bench.loop.observer is bench.state.observer
    assert bench.run("disable_events") == {"ok": "task events disabled"}
    assert bench.loop.observer is None


def test_events_asked_for_at_start_are_never_switched_off() -> None:
    bench = Bench(task_events=True)
    assert bench.run("disable_events") == {"ok": "task events already disabled"}
    assert bench.loop.observer is not None
    bench.close()


def test_without_a_sender_events_cannot_be_switched_on() -> None:
    bench = Bench(has_sender=False)
    assert bench.run("enable_events") == {"error": "event dispatcher unavailable"}
    bench.close()


def test_restarting_the_pool_must_be_allowed(bench: Bench) -> None:
    assert bench.run("pool_restart") == {"error": "ValueError('Pool restarts not enabled')"}
    bench.app.conf.worker_pool_restarts = True
    assert bench.run("pool_restart") == {"ok": "reload started"}


def test_a_pool_of_fixed_size_cannot_grow(bench: Bench) -> None:
    assert "NotImplementedError" in bench.run("pool_grow", n=2)["error"]
    assert bench.loop.prefetch == 8
    assert "ValueError" in bench.run("pool_shrink", n=0)["error"]


def test_shutdown_is_warm(bench: Bench) -> None:
    bench.run("shutdown")
    assert bench.worker.shutdown.stop is Stop.WARM


def test_a_greeting_exchanges_revoked_ids(bench: Bench) -> None:
    bench.revoked.add(["a"])
    assert bench.run("hello", from_node="w@h") is None
    answer = bench.run("hello", from_node="other@h", revoked={"b": [1.5, "b"]})
    assert answer == {"revoked": ["a", "b"], "clock": bench.app.clock.value}


def test_simple_answers(bench: Bench) -> None:
    assert bench.run("ping") == {"ok": "pong"}
    assert bench.run("clock") == {"clock": bench.app.clock.value}
    assert bench.run("election", id="a", topic="task") is None
    assert bench.run("report")["ok"].startswith("\nsoftware -> ")
    assert bench.run("conf")["broker_url"] == "memory://"
    assert bench.run("nosuch") == {"error": "KeyError('nosuch')"}


def test_stamps_are_revoked_for_what_waits_and_what_comes(bench: Bench) -> None:
    for tag in (1, 2, 3, 4):
        bench.deliver(tag, stamped_headers=["mon"], stamps={"mon": [f"m{tag}"]})
    answer = bench.run("revoke_by_stamped_headers", headers={"mon": ["m3", "m5"]})
    assert answer == {"ok": "headers {'mon': ['m3', 'm5']} flagged as revoked, but not terminated"}
    bench.deliver(5, stamped_headers=["mon"], stamps={"mon": "m5"})
    bench.deliver(6, stamped_headers=["mon"], stamps={"mon": "m6"})
    assert [bench.loop.requests[n].id for n in bench.pool.settling] == ["id-3", "id-5"]
    assert bench.run("revoke_by_stamped_headers", headers=["a=b=c", "x=y"]) == {
        "ok": "headers {'a': 'b=c', 'x': 'y'} flagged as revoked, but not terminated"
    }
    assert bench.run("revoke_by_stamped_headers", headers=["noeq"]) == {
        "error": "IndexError('list index out of range')"
    }


def test_stamped_tasks_are_terminated_when_asked_for(bench: Bench) -> None:
    bench.deliver(1, stamped_headers=["mon"], stamps={"mon": ["a", "b"]})
    bench.accept(0)
    answer = bench.run("revoke_by_stamped_headers", headers={"mon": "z"}, terminate=True)
    assert answer == {"ok": "headers {'mon': 'z'} were not terminated"}
    answer = bench.run("revoke_by_stamped_headers", headers={"mon": ["a", "z"]}, terminate=True)
    assert answer == {"ok": "headers defaultdict(<class 'set'>, {'mon': {'a'}}) revoked"}
    assert bench.loop.requests[0].terminated == 15
    assert "id-1" in bench.revoked
