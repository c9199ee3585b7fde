"""Replies as Celery sends and expects them, and a reply queue that goes away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from kombu.connection import Connection
from kombu.exceptions import OperationalError

from celeriac.backends import BackendOptions, by_url
from celeriac.backends import rpc as module
from celeriac.backends.rpc import ReplyConsumer, RpcBackend
from celeriac.brokers.base import BrokerLostError
from celeriac.clock import SystemClock
from celeriac.exceptions import BackendGetMetaError, BackendStoreError, ImproperlyConfigured
from celeriac.exceptions import TimeoutError as WaitTimeoutError
from celeriac_protocol.message import Message, Properties
from celeriac_protocol.result import ResultMeta
from tests.compat.backends.subjects import DirectPublisher, wait_for


def reply(task_id: str, status: str = "SUCCESS", result: object = None, **changes: Any) -> Message:
    document = {"task_id": task_id, "status": status, "result": result}
    properties = {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "correlation_id": task_id,
    }
    body = json.dumps(document).encode()
    return Message({}, Properties(**{**properties, **changes}), body)


class ScriptedConsumer(ReplyConsumer):
    """Plays batches of replies; an exception in the script is a lost connection."""

    def __init__(self, *script: list[Message] | Exception) -> None:
        self.script = list(script)
        self.calls: list[str] = []
        self.is_open = True

    def declare(self) -> list[Message]:
        return self._next("declare")

    def poll(self) -> list[Message]:
        return self._next("poll")

    def wait(self, timeout_s: float) -> list[Message]:
        return self._next("wait")

    def _next(self, call: str) -> list[Message]:
        self.calls.append(call)
        step = self.script.pop(0) if self.script else []
        if isinstance(step, Exception):
            raise step
        return step

    def close(self) -> None:
        self.is_open = False

    def after_fork(self) -> None:
        self.is_open = False


class Instant(SystemClock):
    """Sleeps in no time."""

    def sleep(self, seconds: float) -> None:
        return


def scripted(*script: list[Message] | Exception, **options: Any) -> RpcBackend:
    consumer = ScriptedConsumer(*script)
    return make(
        reply_consumer=lambda queue, expires_s: consumer,
        oid=lambda: "q",
        clock=Instant(),
        **options,
    )


MADE: list[RpcBackend] = []


def make(**options: Any) -> RpcBackend:
    backend = by_url("rpc://", BackendOptions(**options))
    assert isinstance(backend, RpcBackend)
    MADE.append(backend)
    return backend


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while MADE:
        MADE.pop().close()


@pytest.fixture
def channel(rabbitmq_url: str) -> Iterator[Any]:
    with Connection(rabbitmq_url) as connection:  # type: ignore[no-untyped-call]
        yield connection.channel()


def test_a_reply_is_celerys(rabbitmq_url: str, channel: Any) -> None:
    publisher, queue = DirectPublisher(rabbitmq_url), str(uuid4())
    backend = make(
        publisher=publisher, broker_url=rabbitmq_url, oid=lambda: queue, expires_s=86400.0
    )
    backend.expect("t1")
    # Fails with PRECONDITION_FAILED unless the queue was declared with the same properties.
    channel.queue_declare(
        queue, durable=True, auto_delete=True, exclusive=False, arguments={"x-expires": 86400000}
    )
    backend.store(
        ResultMeta(task_id="t1", status="SUCCESS", result=3), reply_to=queue, correlation_id="t1"
    )
    message = channel.basic_get(queue, no_ack=True)
    assert json.loads(message.body) == {
        "status": "SUCCESS",
        "result": 3,
        "traceback": None,
        "children": [],
        "date_done": None,
        "task_id": "t1",
    }
    properties = {**message.properties, "headers": message.headers}
    assert {name: value for name, value in properties.items() if name != "application_headers"} == {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "headers": {},
        "delivery_mode": 1,
        "priority": 0,
        "correlation_id": "t1",
    }
    assert publisher.sent[0][1:] == ("", queue)


def test_persistent_replies_have_delivery_mode_2() -> None:
    publisher = DirectPublisher("memory://")
    make(publisher=publisher, persistent=True).store(
        ResultMeta(task_id="t1", status="SUCCESS"), reply_to="q"
    )
    assert publisher.sent[0][0].properties.delivery_mode == 2


def test_without_reply_to_nothing_is_sent() -> None:
    publisher = DirectPublisher("memory://")
    make(publisher=publisher).store(ResultMeta(task_id="t1", status="SUCCESS"))
    assert publisher.sent == []


def test_a_reply_that_cannot_be_sent_is_a_store_error() -> None:
    class Cut(DirectPublisher):
        def connect(self) -> Any:
            raise OperationalError("no broker")

    with pytest.raises(BackendStoreError, match="no broker") as caught:
        make(publisher=Cut("")).store(ResultMeta(task_id="t1", status="SUCCESS"), reply_to="q")
    assert (caught.value.task_id, caught.value.state) == ("t1", "SUCCESS")


@pytest.mark.parametrize("options", [{}, {"oid": lambda: "q"}])
def test_a_reader_that_is_not_configured_says_so(options: dict[str, Any]) -> None:
    with pytest.raises(ImproperlyConfigured):
        make(**options).fetch("t1")


def test_replies_for_others_are_kept_until_asked_for() -> None:
    backend = scripted([reply("t2", result=2)], [reply("t1", "STARTED"), reply("t1", result=1)])
    assert wait_for(backend, "t1")["t1"].result == 1
    assert wait_for(backend, "t2")["t2"].result == 2
    assert backend.fetch("t1").result == 1
    assert backend.fetch("t3").status == "PENDING"


def test_the_newest_of_several_documents_counts() -> None:
    backend = scripted([reply("t1", "STARTED"), reply("t1", "PROGRESS", 7)])
    assert backend.fetch("t1").result == 7


def test_a_final_document_stays_when_an_earlier_one_arrives_after_it() -> None:
    # Each run of a retried task reports over the connection of the process it ran in.
    backend = scripted([reply("t1", result=2), reply("t1", "RETRY")], [reply("t1", "RETRY")])
    assert backend.fetch("t1").status == "SUCCESS"
    assert wait_for(backend, "t1", timeout_s=5)["t1"].result == 2
    assert backend.fetch("t1").status == "SUCCESS"


def test_unread_replies_are_bounded_and_the_oldest_go_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_UNREAD_AT_MOST", 3)
    backend = scripted([reply(f"t{number}") for number in range(5)])
    found = backend.fetch_many([f"t{number}" for number in range(5)])
    assert [meta.status for meta in found.values()] == ["PENDING"] * 2 + ["SUCCESS"] * 3


def test_read_replies_are_bounded_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READ_BYTES_AT_MOST", 1000)
    backend = scripted([reply(f"t{number}", result="x" * 400) for number in range(5)])
    wait_for(backend, *(f"t{number}" for number in range(5)))
    found = backend.fetch_many([f"t{number}" for number in range(5)])
    assert [meta.status for meta in found.values()] == ["PENDING"] * 3 + ["SUCCESS"] * 2


def test_what_arrives_while_sending_is_taken_in() -> None:
    backend = scripted([reply("t1", result=1)])
    backend.expect("t2")
    assert wait_for(backend, "t1", timeout_s=0)["t1"].result == 1


def test_a_short_document_of_an_old_worker_is_read_under_its_correlation_id() -> None:
    body = b'{"status": "SUCCESS", "result": 5}'
    message = Message({}, Properties(content_type="application/json", correlation_id="t1"), body)
    assert scripted([message]).fetch("t1").result == 5


def test_replies_that_cannot_be_read_hurt_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    backend = scripted(
        [
            reply("bad", content_type="application/x-python-serialize"),
            Message({}, Properties(content_type="application/json"), b"{"),
            reply("t1", result=1),
        ]
    )
    assert wait_for(backend, "t1")["t1"].result == 1
    assert "A reply for bad cannot be read" in caplog.text


def test_a_lost_connection_is_made_again_while_waiting() -> None:
    lost = BrokerLostError("gone")
    backend = scripted([], lost, lost, [reply("t1", result=1)])
    assert wait_for(backend, "t1")["t1"].result == 1


def test_a_connection_that_stays_lost_ends_the_wait() -> None:
    backend = scripted(
        *[BrokerLostError("gone")] * 4, transport_options={"retry_policy": {"max_retries": 2}}
    )
    with pytest.raises(BackendGetMetaError, match="gone"):
        wait_for(backend, "t1", timeout_s=None)


def test_a_queue_that_cannot_be_declared_fails_like_publishing() -> None:
    backend = scripted(*[BrokerLostError("gone")] * 4, [])
    with pytest.raises(OperationalError, match="gone"):
        backend.expect("t1")
    backend.expect("t1")


def test_a_queue_somebody_deleted_is_declared_again(rabbitmq_url: str, channel: Any) -> None:
    queue = str(uuid4())
    backend = make(
        publisher=DirectPublisher(rabbitmq_url), broker_url=rabbitmq_url, oid=lambda: queue
    )
    with pytest.raises(WaitTimeoutError):
        wait_for(backend, "t0", timeout_s=0.01)
    channel.queue_delete(queue)
    backend.expect("t1")

    def answer() -> None:
        backend.store(ResultMeta(task_id="t1", status="SUCCESS", result=1), reply_to=queue)

    assert wait_for(backend, "t1", on_interval=answer, timeout_s=5)["t1"].result == 1


@pytest.mark.parametrize("transport", ["memory", "filesystem"])
def test_other_transports_carry_replies(transport: str, tmp_path: Any) -> None:
    url = f"{transport}://"
    folders = {"data_folder_in": str(tmp_path), "data_folder_out": str(tmp_path),
               "control_folder": str(tmp_path / "control")}  # fmt: skip
    transport_options = folders if transport == "filesystem" else {}
    queue = str(uuid4())

    class Publisher(DirectPublisher):
        def connect(self) -> Any:
            return Connection(url, transport_options=transport_options)  # type: ignore[no-untyped-call]

    backend = make(
        publisher=Publisher(url),
        broker_url=url,
        oid=lambda: queue,
        settings={"broker_transport_options": transport_options},
    )
    backend.expect("t1")
    backend.store(ResultMeta(task_id="t1", status="PROGRESS", result=1), reply_to=queue)
    assert backend.fetch("t1").result == 1
    backend.store(ResultMeta(task_id="t1", status="SUCCESS", result=2), reply_to=queue)
    assert wait_for(backend, "t1", timeout_s=10)["t1"].result == 2


def test_documents_that_came_before_the_wait_or_in_one_batch_reach_on_message_in_order() -> None:
    backend = scripted(
        [reply("a", "STARTED")],
        [reply("a", "PROGRESS", 1), reply("b"), reply("a", "PROGRESS", 2), reply("a", result=7)],
    )
    backend.expect("b")
    seen: list[tuple[str, Any]] = []
    backend.wait(
        ["a"],
        timeout_s=5,
        on_meta=lambda meta: None,
        on_message=lambda meta: seen.append((meta.status, meta.result)),
    )
    assert seen == [("STARTED", None), ("PROGRESS", 1), ("PROGRESS", 2), ("SUCCESS", 7)]
