"""Real Celery reads what our backends store, and ours read what a real worker stores.

Needs an interpreter with `celery[redis]` 5.7 and SQLAlchemy: environment variable CELERIAC_REAL_CELERY_PYTHON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from celeriac.backends import BackendOptions, ChordPart, ResultBackend, by_url
from celeriac.backends.chords import chord_values
from celeriac_protocol.result import ResultMeta
from tests.compat.backends.subjects import DirectPublisher, wait_for

PYTHON = os.environ.get("CELERIAC_REAL_CELERY_PYTHON")

pytestmark = pytest.mark.skipif(
    not PYTHON, reason="CELERIAC_REAL_CELERY_PYTHON names no interpreter with real Celery"
)

FAILURE = {"exc_type": "ValueError", "exc_message": ["boom"], "exc_module": "builtins"}
CHILDREN = [[["c1", None], None]]

APP = """
import json, sys
from celery import Celery
conf = json.loads(sys.argv[1])
app = Celery("apptasks", broker=conf.pop("broker"), backend=conf.pop("backend"))
app.conf.update(conf)

@app.task(name="apptasks.add")
def add(x, y):
    return x + y

@app.task(name="apptasks.fail")
def fail():
    raise ValueError("boom")

@app.task(name="apptasks.tsum")
def tsum(numbers):
    return sum(numbers)
"""

READ = (
    APP
    + """
def describe(task_id):
    found = app.AsyncResult(task_id)
    try:
        value = found.get(timeout=10)
    except Exception as exc:
        value = [type(exc).__module__, type(exc).__name__, list(exc.args)]
    done = found.date_done
    return {"state": found.state, "value": value, "traceback": found.traceback,
            "children": [child.id for child in found.children or []], "name": found.name,
            "args": found.args, "date_done": done and done.isoformat()}

for line in sys.stdin:
    asked = json.loads(line)
    if "group" in asked:
        group = app.GroupResult.restore(asked["group"])
        print(json.dumps(group and group.as_tuple()), flush=True)
    elif "oid" in asked:
        print(json.dumps(app.thread_oid), flush=True)
    else:
        print(json.dumps(describe(asked["task"])), flush=True)
"""
)

WORK = (
    APP
    + """
app.worker_main(["worker", "-P", "solo", "--without-gossip", "--without-mingle",
                 "--without-heartbeat", "-l", "WARNING", "-Q", sys.argv[2]])
"""
)

SEND = (
    APP
    + """
from celery import chord
queue = sys.argv[2]
for line in sys.stdin:
    asked = json.loads(line)
    if asked["task"] == "chord":
        result = chord([add.s(n, n).set(queue=queue) for n in range(3)], tsum.s().set(queue=queue))()
    else:
        kwargs = {"reply_to": asked["reply_to"]} if "reply_to" in asked else {}
        result = app.tasks[asked["task"]].apply_async(asked["args"], queue=queue, **kwargs)
    print(json.dumps([result.id, result.parent and result.parent.id]), flush=True)
"""
)


class Program:
    """A real Celery process answering a line of JSON for a line of JSON."""

    def __init__(self, source: str, conf: dict[str, Any], *arguments: str) -> None:
        assert PYTHON is not None
        self.process = subprocess.Popen(
            [PYTHON, "-c", source, json.dumps(conf), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
            text=True,
            env={"PATH": os.environ["PATH"]},
        )

    def ask(self, question: dict[str, Any]) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=20)


Run = Callable[..., Program]


@pytest.fixture
def run() -> Iterator[Run]:
    programs: list[Program] = []

    def start(*arguments: Any) -> Program:
        programs.append(Program(*arguments))
        return programs[-1]

    yield start
    for program in programs:
        program.stop()


@pytest.fixture(params=["redis", "redis-prefix", "redis-gzip", "filesystem", "database"])
def shared(
    request: pytest.FixtureRequest, redis_url: str, tmp_path: Path
) -> tuple[dict[str, Any], BackendOptions]:
    """A store both sides use: configuration of real Celery, options of ours."""
    conf: dict[str, Any] = {"broker": redis_url, "result_extended": True}
    name = request.param
    if name == "filesystem":
        return {**conf, "backend": f"file://{tmp_path}"}, BackendOptions()
    if name == "database":
        return {**conf, "backend": f"db+sqlite:///{tmp_path}/r.sqlite"}, BackendOptions()
    conf["backend"] = redis_url
    if name == "redis-prefix":
        options = {"global_keyprefix": "mine"}
        conf["result_backend_transport_options"] = options
        return conf, BackendOptions(transport_options=options)
    if name == "redis-gzip":
        conf["result_compression"] = "gzip"
        return conf, BackendOptions(compression="gzip")
    return conf, BackendOptions()


def metas(prefix: str) -> list[ResultMeta]:
    done = datetime.now(UTC)
    extended: dict[str, Any] = {"extended": True, "name": "apptasks.add", "args": [1, 2],
                                "kwargs": {}, "worker": "w@h", "retries": 0, "queue": "celery"}  # fmt: skip
    return [
        ResultMeta(task_id=f"{prefix}-ok", status="SUCCESS", result={"a": [1, "é"]}, date_done=done,
                   children=CHILDREN, **extended),
        ResultMeta(task_id=f"{prefix}-bad", status="FAILURE", result=FAILURE, date_done=done,
                   traceback="Traceback…", **extended),
        ResultMeta(task_id=f"{prefix}-revoked", status="REVOKED", date_done=done,
                   result={"exc_type": "TaskRevokedError", "exc_message": ["revoked"],
                           "exc_module": "celery.exceptions"}),
    ]  # fmt: skip


def test_real_celery_reads_what_we_store(
    shared: tuple[dict[str, Any], BackendOptions], run: Run
) -> None:
    conf, options = shared
    backend, prefix = by_url(conf["backend"], options), uuid4().hex
    form = [[prefix, None], [[["a", None], None], [["b", None], None]]]
    for meta in metas(prefix):
        backend.store(meta)
    backend.store_group(prefix, form)
    reader = run(READ, conf)
    found = reader.ask({"task": f"{prefix}-ok"})
    assert (found["state"], found["value"], found["children"]) == (
        "SUCCESS",
        {"a": [1, "é"]},
        ["c1"],
    )
    assert (found["name"], found["args"]) == ("apptasks.add", [1, 2])
    assert found["date_done"].startswith(str(datetime.now(UTC).year))
    found = reader.ask({"task": f"{prefix}-bad"})
    assert (found["state"], found["traceback"]) == ("FAILURE", "Traceback…")
    assert found["value"] == ["builtins", "ValueError", ["boom"]]
    found = reader.ask({"task": f"{prefix}-revoked"})
    assert found["value"] == ["celery.exceptions", "TaskRevokedError", ["revoked"]]
    assert reader.ask({"group": prefix}) == form
    backend.close()


def test_we_read_what_a_real_worker_stores(
    shared: tuple[dict[str, Any], BackendOptions], run: Run
) -> None:
    conf, options = shared
    queue = f"q{uuid4().hex}"
    backend = by_url(conf["backend"], options)
    run(WORK, conf, queue)
    sender = run(SEND, conf, queue)
    good, _ = sender.ask({"task": "apptasks.add", "args": [1, 2]})
    bad, _ = sender.ask({"task": "apptasks.fail", "args": []})
    found = wait_for(backend, good, bad, timeout_s=60)
    assert (found[good].status, found[good].result) == ("SUCCESS", 3)
    assert (found[good].name, found[good].queue) == ("apptasks.add", queue)
    assert list(found[good].args) == [1, 2]  # type: ignore[call-overload]
    assert (found[bad].status, found[bad].result) == ("FAILURE", FAILURE)
    assert "ValueError: boom" in (found[bad].traceback or "")
    backend.close()


def test_real_celery_waits_for_what_we_publish(redis_url: str, run: Run) -> None:
    reader = run(READ, {"broker": redis_url, "backend": redis_url})
    assert reader.ask({"oid": True})
    task_id, backend = uuid4().hex, by_url(redis_url, BackendOptions())
    assert reader.process.stdin is not None
    assert reader.process.stdout is not None
    reader.process.stdin.write(json.dumps({"task": task_id}) + "\n")
    reader.process.stdin.flush()
    _until_subscribed(backend, f"celery-task-meta-{task_id}")
    backend.store(ResultMeta(task_id=task_id, status="STARTED"))
    backend.store(ResultMeta(task_id=task_id, status="SUCCESS", result="pushed"))
    assert json.loads(reader.process.stdout.readline())["value"] == "pushed"
    backend.close()


def _until_subscribed(backend: Any, channel: str) -> None:
    for _ in range(1000):
        if backend.client.pubsub_numsub(channel)[0][1]:
            return
        time.sleep(0.01)
    pytest.fail("the client never subscribed")


def test_a_chord_a_real_client_started_is_completed_with_our_part(redis_url: str, run: Run) -> None:
    """Two parts are counted by the real worker, the third by us: we get the chord."""
    queue = f"q{uuid4().hex}"
    conf = {"broker": redis_url, "backend": redis_url}
    body_id, group_id = run(SEND, conf, queue).ask({"task": "chord"})
    backend: Any = by_url(redis_url, BackendOptions())
    stolen = json.loads(backend.client.lpop(queue))  # the newest: the last header task
    run(WORK, conf, queue)
    _until(lambda: backend.client.zcard(f"celery-taskset-meta-{group_id}.j") == 2)
    headers = stolen["headers"]
    state = backend.add_chord_part(
        group_id, ChordPart(headers["id"], "SUCCESS", 4, headers["group_index"])
    )
    assert chord_values(backend, state, timeout_s=1).values == [0, 2, 4]
    assert backend.fetch(body_id).status == "PENDING"
    backend.close()


def test_a_real_worker_completes_a_chord_with_parts_of_ours(redis_url: str, run: Run) -> None:
    queue = f"q{uuid4().hex}"
    conf = {"broker": redis_url, "backend": redis_url}
    body_id, group_id = run(SEND, conf, queue).ask({"task": "chord"})
    backend: Any = by_url(redis_url, BackendOptions())
    for _ in range(2):
        headers = json.loads(backend.client.rpop(queue))["headers"]
        part = ChordPart(
            headers["id"], "SUCCESS", 10 * (1 + headers["group_index"]), headers["group_index"]
        )
        assert backend.add_chord_part(group_id, part) is None
        assert backend.add_chord_part(group_id, part) is None  # redelivered
    run(WORK, conf, queue)
    assert wait_for(backend, body_id, timeout_s=60)[body_id].result == 10 + 20 + 4
    _until(lambda: backend.client.get(f"celery-taskset-meta-{group_id}.c") == b"done")
    assert backend.add_chord_part(group_id, part) is None  # late
    backend.close()


def _until(is_so: Callable[[], bool]) -> None:
    for _ in range(3000):
        if is_so():
            return
        time.sleep(0.01)
    pytest.fail("it never became so")


@pytest.mark.parametrize("broker", ["redis_url", "rabbitmq_url"])
def test_replies_travel_both_ways(broker: str, request: pytest.FixtureRequest, run: Run) -> None:
    url, queue, our_oid = request.getfixturevalue(broker), f"q{uuid4().hex}", str(uuid4())
    conf = {"broker": url, "backend": "rpc://"}
    publisher = DirectPublisher(url)
    ours: ResultBackend = by_url(
        "rpc://", BackendOptions(publisher=publisher, broker_url=url, oid=lambda: our_oid)
    )
    # A real worker answers us.
    run(WORK, conf, queue)
    ours.expect("soon")
    sender = run(SEND, conf, queue)
    task_id, _ = sender.ask({"task": "apptasks.add", "args": [2, 3], "reply_to": our_oid})
    assert wait_for(ours, task_id, timeout_s=60)[task_id].result == 5
    # We answer a real client.
    reader = run(READ, conf)
    oid, reply_id = reader.ask({"oid": True}), uuid4().hex
    with publisher.connect() as connection:
        channel = connection.channel()
        channel.queue_declare(
            oid, durable=True, auto_delete=True, exclusive=False, arguments={"x-expires": 86400000}
        )
    for status, result in (("STARTED", None), ("SUCCESS", "answer")):
        ours.store(
            ResultMeta(task_id=reply_id, status=status, result=result),
            reply_to=oid,
            correlation_id=reply_id,
        )
    assert reader.ask({"task": reply_id})["value"] == "answer"
    ours.close()
