"""What Celery's own clients and workers see of our redis backend, and how it bears a server that goes away."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from celeriac.backends import BackendOptions, ChordPart, by_url
from celeriac.backends import redis as module
from celeriac.backends.redis import RedisBackend
from celeriac.clock import SystemClock
from celeriac.exceptions import (
    BackendGetMetaError,
    BackendStoreError,
)
from celeriac.exceptions import (
    TimeoutError as WaitTimeoutError,
)
from celeriac_conformance.servers import RedisServer
from celeriac_protocol.result import ResultMeta
from tests.compat.backends.subjects import wait_for
from tests.servers import started

DONE = datetime(2026, 11, 22, 16, 46, 46, 577290, tzinfo=UTC)
SUCCESS = ResultMeta(task_id="t1", status="SUCCESS", result=3, date_done=DONE)
SUCCESS_BYTES = (
    b'{"status": "SUCCESS", "result": 3, "traceback": null, "children": [], '
    b'"date_done": "2026-11-22T16:46:46.577290+00:00", "task_id": "t1"}'
)
FAILURE = {"exc_type": "ValueError", "exc_message": ["boom"], "exc_module": "builtins"}


@pytest.fixture
def server(redis_url: str) -> Iterator[Any]:
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    yield client
    client.close()


MADE: list[RedisBackend] = []


def make(url: str, **options: Any) -> RedisBackend:
    backend = by_url(url, BackendOptions(**options))
    assert isinstance(backend, RedisBackend)
    MADE.append(backend)
    return backend


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while MADE:
        MADE.pop().close()


class Naps(SystemClock):
    """Notes how long it was asked to sleep, and does something else instead."""

    def __init__(self) -> None:
        self.naps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)


def test_the_document_is_celerys_byte_for_byte_with_its_time_to_live(
    server: Any, redis_url: str
) -> None:
    make(redis_url).store(SUCCESS)
    assert server.get("celery-task-meta-t1") == SUCCESS_BYTES
    assert 86390 < server.ttl("celery-task-meta-t1") <= 86400


def test_every_state_is_published_on_the_channel_named_like_the_key(
    server: Any, redis_url: str
) -> None:
    backend = make(redis_url)
    with server.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe("celery-task-meta-t1")
        listener.get_message(timeout=5)
        backend.store(ResultMeta(task_id="t1", status="STARTED"))
        backend.store(SUCCESS)
        backend.store(ResultMeta(task_id="t1", status="FAILURE", result=FAILURE))
        published = [listener.get_message(timeout=5)["data"] for _ in range(2)]
        assert listener.get_message(timeout=0.05) is None
    assert json.loads(published[0])["status"] == "STARTED"
    assert published[1] == SUCCESS_BYTES


@pytest.mark.parametrize(
    ("options", "status", "expected"),
    [
        ({"expires_s": 60}, "SUCCESS", 60),
        ({"expires_s": 0.5}, "SUCCESS", 1),
        ({"expires_s": None}, "SUCCESS", -1),
        ({"expires_s": 0}, "SUCCESS", -1),
        ({"expires_s": 60, "failure_expires_s": 7}, "FAILURE", 7),
        ({"expires_s": 60, "failure_expires_s": 7}, "SUCCESS", 60),
        ({"expires_s": 60, "failure_expires_s": 0}, "FAILURE", -1),
    ],
)
@pytest.mark.parametrize("scripting", [True, False])
def test_time_to_live(
    server: Any,
    redis_url: str,
    options: dict[str, Any],
    status: str,
    expected: int,
    scripting: bool,
) -> None:
    backend = make(redis_url, **options)
    backend._scripting = scripting
    backend.store(ResultMeta(task_id="t1", status=status, result=FAILURE))
    assert server.ttl("celery-task-meta-t1") == expected


@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        ("myapp", "myapp_celery-task-meta-t1"),
        ("myapp:", "myapp:celery-task-meta-t1"),
        ("myapp_", "myapp_celery-task-meta-t1"),
        ("my-app-", "my-app-celery-task-meta-t1"),
        ("my.app.", "my.app.celery-task-meta-t1"),
        ("", "celery-task-meta-t1"),
    ],
)
def test_keys_have_the_global_prefix(server: Any, redis_url: str, prefix: str, key: str) -> None:
    backend = make(redis_url, transport_options={"global_keyprefix": prefix})
    backend.store(SUCCESS)
    assert server.keys() == [key.encode()]


def test_a_saved_group_is_celerys_document(server: Any, redis_url: str) -> None:
    form = [["B", None], [[["A", None], None], [["C", None], None]]]
    make(redis_url).store_group("B", form)
    assert server.get("celery-taskset-meta-B") == (
        b'{"result": [["B", null], [[["A", null], null], [["C", null], null]]]}'
    )


def test_storing_takes_one_round_trip_and_two_where_scripts_are_refused(
    server: Any, redis_url: str
) -> None:
    backend = make(redis_url)
    backend.store(SUCCESS)
    server.config_resetstat()
    for number in range(10):
        backend.store(ResultMeta(task_id=f"x{number}", status="SUCCESS"))
    calls = {name: each["calls"] for name, each in server.info("commandstats").items()}
    assert calls["cmdstat_evalsha"] == 10
    assert not {"cmdstat_multi", "cmdstat_ping"} & set(calls)

    server.acl_setuser("plain", enabled=True, nopass=True, keys="*", channels="*",
                       commands=["+@all", "-@scripting"])  # fmt: skip
    try:
        plain = make(redis_url.replace("redis://", "redis://plain:any@"))
        server.config_resetstat()
        plain.store(ResultMeta(task_id="y", status="SUCCESS"))
        plain.store(ResultMeta(task_id="y", status="FAILURE", result=FAILURE))
        assert json.loads(server.get("celery-task-meta-y"))["status"] == "SUCCESS"
        calls = {name: each["calls"] for name, each in server.info("commandstats").items()}
        assert calls["cmdstat_multi"] == 1
    finally:
        server.acl_deluser("plain")


def test_a_flushed_script_cache_is_no_trouble(server: Any, redis_url: str) -> None:
    backend = make(redis_url)
    backend.store(SUCCESS)
    server.script_flush()
    backend.store(ResultMeta(task_id="t2", status="SUCCESS"))
    assert server.exists("celery-task-meta-t2")


def test_an_unreadable_document_does_not_block_the_result(server: Any, redis_url: str) -> None:
    server.set("celery-task-meta-t1", b"\x00SUCCESS but no document")
    make(redis_url).store(SUCCESS)
    assert server.get("celery-task-meta-t1") == SUCCESS_BYTES


def test_a_document_without_task_id_is_read_under_its_key(server: Any, redis_url: str) -> None:
    server.set("celery-task-meta-t1", b'{"status": "SUCCESS", "result": 1}')
    assert make(redis_url).fetch("t1").task_id == "t1"


def test_a_value_redis_cannot_hold_is_refused(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_VALUE_BYTES", 100)
    with pytest.raises(BackendStoreError, match="value too large for Redis backend") as caught:
        make(redis_url).store(ResultMeta(task_id="t1", status="SUCCESS", result="x" * 100))
    assert (caught.value.state, caught.value.task_id) == ("SUCCESS", "t1")


def test_success_documents_are_remembered_when_asked_to(server: Any, redis_url: str) -> None:
    backend = make(redis_url, settings={"result_cache_max": 1})
    backend.store(SUCCESS)
    assert backend.fetch("t1").result == 3
    server.flushall()
    assert backend.fetch("t1").result == 3
    backend.store(ResultMeta(task_id="t2", status="SUCCESS"))
    assert backend.fetch("t2").status == "SUCCESS"
    assert backend.fetch("t1").status == "PENDING"


def test_pushed_documents_reach_on_message_unready_ones_too(server: Any, redis_url: str) -> None:
    backend, writer = make(redis_url), make(redis_url)
    seen: list[tuple[str, object]] = []
    script = iter(
        [
            ResultMeta(task_id="t1", status="STARTED"),
            ResultMeta(task_id="t1", status="PROGRESS", result=1),
            SUCCESS,
        ]
    )

    wait_for(
        backend,
        "t1",
        on_interval=lambda: writer.store(next(script)),
        on_message=lambda meta: seen.append((meta.status, meta.result)),
    )
    assert seen == [("STARTED", None), ("PROGRESS", 1), ("SUCCESS", 3)]


def test_nothing_stays_subscribed_after_a_wait(server: Any, redis_url: str) -> None:
    backend, writer = make(redis_url), make(redis_url)
    backend.expect("t1")
    assert server.pubsub_channels() == []
    with pytest.raises(WaitTimeoutError):
        wait_for(backend, "t1", "t2", timeout_s=0.1)
    assert server.pubsub_channels() == []
    wait_for(backend, "t1", on_interval=lambda: writer.store(SUCCESS))
    assert server.pubsub_channels() == []


def test_waits_share_one_subscription_connection(server: Any, redis_url: str) -> None:
    backend = make(redis_url, settings={"redis_client_name": "waiter"})
    for number in range(5):
        with pytest.raises(WaitTimeoutError):
            wait_for(backend, f"t{number}", timeout_s=0.01)
    assert len([each for each in server.client_list() if each["name"] == "waiter"]) == 2


def test_a_wait_survives_the_loss_of_its_connections(server: Any, redis_url: str) -> None:
    backend, writer = make(redis_url), make(redis_url)
    rounds: list[None] = []

    def on_interval() -> None:
        rounds.append(None)
        if len(rounds) == 1:
            server.client_kill_filter(_type="pubsub")
            server.client_kill_filter(_type="normal", skipme=True)
            writer.store(SUCCESS)

    assert wait_for(backend, "t1", on_interval=on_interval)["t1"].result == 3


def test_a_silent_subscription_is_not_believed(
    server: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_AGAIN_S", 0.05)
    backend = make(redis_url)
    rounds: list[None] = []

    def on_interval() -> None:
        if not rounds:
            server.set("celery-task-meta-t1", SUCCESS_BYTES)  # nothing is published
        rounds.append(None)

    assert wait_for(backend, "t1", on_interval=on_interval)["t1"].result == 3


def test_garbage_on_the_channel_of_another_wait_is_ignored(server: Any, redis_url: str) -> None:
    backend, writer = make(redis_url), make(redis_url)
    with pytest.raises(WaitTimeoutError):
        wait_for(backend, "t0", timeout_s=0.05)
    server.publish("celery-task-meta-t0", b"garbage")
    assert wait_for(backend, "t1", on_interval=lambda: writer.store(SUCCESS))["t1"].result == 3


def test_operations_are_retried_as_the_policy_says_then_fail(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Naps()
    backend = make(
        "redis://localhost:1/0", clock=clock, transport_options={"retry_policy": {"max_retries": 3}}
    )
    with caplog.at_level(logging.ERROR), pytest.raises(BackendStoreError) as caught:
        backend.store(SUCCESS)
    assert (caught.value.state, caught.value.task_id) == ("SUCCESS", "t1")
    assert clock.naps == [0.0, 1.0, 1.0]
    assert [record.message for record in caplog.records] == [
        "Connection to Redis lost: Retry (1/3) now.",
        "Connection to Redis lost: Retry (2/3) in 1.00 seconds.",
        "Connection to Redis lost: Retry (3/3) in 1.00 seconds.",
    ]
    with pytest.raises(BackendGetMetaError):
        backend.fetch("t1")
    with pytest.raises(BackendGetMetaError, match="Retry limit exceeded"):
        wait_for(backend, "t1", timeout_s=None)


def test_always_retry_goes_on_after_the_policy_is_used_up() -> None:
    clock = Naps()
    backend = make(
        "redis://localhost:1/0",
        clock=clock,
        transport_options={"retry_policy": {"max_retries": 0}},
        settings={"result_backend_always_retry": True, "result_backend_max_retries": 4},
    )
    with pytest.raises(BackendStoreError):
        backend.store(SUCCESS)
    assert len(clock.naps) == 4
    assert all(0 <= nap <= 0.08 for nap in clock.naps)


def test_a_wait_on_a_server_that_is_away_ends_with_its_timeout() -> None:
    backend = make("redis://localhost:1/0")
    with pytest.raises(WaitTimeoutError):
        wait_for(backend, "t1", timeout_s=0.1)


def test_results_can_be_stored_again_after_the_server_was_restarted() -> None:
    server = RedisServer()
    started(server)
    try:
        backend = make(server.url())
        backend.store(SUCCESS)
        server.stop()
        server.start()
        backend.store(ResultMeta(task_id="t2", status="SUCCESS", result=2))
        assert wait_for(backend, "t2")["t2"].result == 2
    finally:
        server.stop()


def test_chord_keys_are_celerys(server: Any, redis_url: str) -> None:
    backend = make(redis_url)
    backend.start_chord("G", 3)
    assert server.get("celery-taskset-meta-G.s") == b"3"
    backend.add_chord_part("G", ChordPart("a", "SUCCESS", 2, 0))
    backend.extend_chord("G")
    backend.add_chord_part("G", ChordPart("b", "FAILURE", FAILURE, 1))
    assert server.zrange("celery-taskset-meta-G.j", 0, -1, withscores=True) == [
        (b'[1, "a", "SUCCESS", 2]', 0.0),
        (
            b'[1, "b", "FAILURE", {"exc_type": "ValueError", "exc_message": ["boom"], '
            b'"exc_module": "builtins"}]',
            1.0,
        ),
    ]
    assert server.smembers("celery-taskset-meta-G.d") == {b"a:0", b"b:1"}
    assert server.get("celery-taskset-meta-G.t") == b"1"
    assert all(0 < server.ttl(f"celery-taskset-meta-G.{key}") <= 86400 for key in "jtsd")
    backend.add_chord_part("G", ChordPart("c", "SUCCESS", 5, 1))
    state = backend.add_chord_part("G", ChordPart("d", "SUCCESS", 5, 2))
    assert state is not None
    assert server.get("celery-taskset-meta-G.c").decode() == state.token
    assert 0 < server.ttl("celery-taskset-meta-G.c") <= 6
    backend.finish_chord("G", ok=True, token=state.token)
    assert server.keys() == [b"celery-taskset-meta-G.c"]
    assert server.get("celery-taskset-meta-G.c") == b"done"
    assert 290 < server.ttl("celery-taskset-meta-G.c") <= 300


def test_a_part_without_an_index_is_noted_as_real_workers_do(server: Any, redis_url: str) -> None:
    make(redis_url).add_chord_part("G", ChordPart("a", "SUCCESS", 1, None))
    assert server.smembers("celery-taskset-meta-G.d") == {b"a:+inf"}


def test_a_failed_chord_keeps_its_parts_and_loses_its_size(server: Any, redis_url: str) -> None:
    backend = make(redis_url)
    backend.start_chord("G", 1)
    state = backend.add_chord_part("G", ChordPart("a", "FAILURE", FAILURE, 0))
    assert state is not None
    backend.finish_chord("G", ok=False, token=state.token)
    assert sorted(server.keys()) == [b"celery-taskset-meta-G." + key for key in (b"c", b"d", b"j")]


def test_a_claim_that_ran_out_goes_to_the_next_delivery(server: Any, redis_url: str) -> None:
    backend = make(redis_url)
    backend.start_chord("G", 1)
    first = backend.add_chord_part("G", ChordPart("a", "SUCCESS", 1, 0))
    assert first is not None
    server.delete("celery-taskset-meta-G.c")  # the claim's time is up
    second = backend.add_chord_part("G", ChordPart("a", "SUCCESS", 1, 0))
    assert second is not None
    assert backend.renew_chord("G", first.token) is False
    assert backend.renew_chord("G", second.token) is True


def test_lists_of_parts_are_written_and_read(server: Any, redis_url: str) -> None:
    backend = make(redis_url, transport_options={"result_chord_ordered": False})
    backend.start_chord("G", 2)
    backend.add_chord_part("G", ChordPart("b", "SUCCESS", 1, 1))
    assert server.type("celery-taskset-meta-G.j") == b"list"
    state = make(redis_url).add_chord_part("G", ChordPart("a", "SUCCESS", 0, 0))
    assert state is not None
    assert [each.result for each in state.parts] == [1, 0]


def test_a_part_an_old_peer_stored_twice_does_not_stand_in_for_a_missing_one(
    server: Any, redis_url: str
) -> None:
    backend = make(redis_url)
    backend.start_chord("G", 3)
    server.zadd("celery-taskset-meta-G.j", {'[1, "a", "SUCCESS", 1]': 0})
    server.zadd("celery-taskset-meta-G.j", {'[1, "a", "SUCCESS", 2]': 0})
    assert backend.add_chord_part("G", ChordPart("b", "SUCCESS", 1, 1)) is None
    state = backend.add_chord_part("G", ChordPart("c", "SUCCESS", 1, 2))
    assert state is not None
