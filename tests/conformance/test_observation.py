"""What cases look at: the journal, and the Redis tap."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from celeriac_conformance.accounting import tree, usage
from celeriac_conformance.broker_taps import RawMessage, RedisTap, ResultTap
from celeriac_conformance.journal import Journal
from celeriac_conformance.processes import ManagedProcess


def line(event: str, task_id: str, **extra: object) -> str:
    """Write a journal line."""
    entry = {
        "event": event,
        "task": "add",
        "id": task_id,
        "pid": 1,
        "time": 2.5,
        "request": {"retries": 3, "parent_id": None},
        "extra": extra,
    }
    return json.dumps(entry) + "\n"


@pytest.fixture
def tap(redis_url: str) -> Iterator[RedisTap]:
    made = RedisTap(redis_url)
    made.client.flushdb()
    yield made
    made.close()


def test_the_journal_is_read_in_order_and_as_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    assert journal.entries() == []
    path.write_text(line("run", "a") + line("end", "a") + line("run", "b"))
    assert [entry.event for entry in journal.entries(id="a")] == ["run", "end"]
    with path.open("a") as stream:
        stream.write(line("run", "a"))
    assert [entry.retries for entry in journal.runs("a")] == [3, 3]


def test_a_line_that_is_still_being_written_is_left_for_later(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    whole = line("run", "a")
    path.write_text(whole[:20])
    assert journal.entries() == []
    path.write_text(whole)
    assert len(journal.entries()) == 1


def test_waiting_for_a_run_that_never_comes_says_what_came(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text(line("run", "a"))
    with pytest.raises(
        AssertionError, match=r"expected 1 entries with \{'id': 'b'\}, found 0"
    ) as caught:
        Journal(path).wait(id="b", timeout_s=0.05)
    assert "('run', 'add', 'a')" in str(caught.value)


def test_a_message_pushed_into_redis_is_taken_out_the_same(tap: RedisTap) -> None:
    message = RawMessage(
        body=b"\x00\xff",
        headers={"task": "add"},
        properties={"content_type": "application/json", "priority": 5},
    )
    tap.push("q", message)
    assert tap.ready("q") == 1
    taken = tap.take("q")
    assert taken is not None
    assert (taken.body, taken.headers) == (b"\x00\xff", {"task": "add"})
    assert taken.properties["content_type"] == "application/json"
    assert taken.properties["priority"] == 5
    assert tap.take("q") is None


def test_lists_of_every_priority_count_as_one_queue(tap: RedisTap) -> None:
    for name in ("q", "q\x06\x163", "q\x06\x169", "other"):
        tap.push_envelope(name, b"raw")
    assert tap.ready("q") == 3
    assert tap.take_envelope("q") == b"raw"
    assert tap.ready("q") == 2


def test_held_messages_are_counted_per_queue(tap: RedisTap) -> None:
    tap.client.hset("unacked", "tag1", json.dumps([{"body": ""}, "", "q"]))
    tap.client.hset("unacked", "tag2", json.dumps([{"body": ""}, "", "other"]))
    assert tap.unacked("q") == 1


def test_a_stored_document_is_read_raw(redis_url: str) -> None:
    results = ResultTap(redis_url)
    results.client.set("celery-task-meta-a", '{"status": "STARTED"}', ex=100)
    assert results.document("a") == {"status": "STARTED"}
    assert results.document("b") is None
    assert 0 < results.seconds_to_live("a") <= 100
    with pytest.raises(AssertionError, match="no final result of a"):
        results.wait("a", timeout_s=0.05)
    results.close()


def test_usage_counts_a_process_with_its_children(tmp_path: Path) -> None:
    work = "import sys; sum(range(10**7)); print(1, flush=True); sys.stdin.read()"
    script = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {work!r}], stdin=-1, stdout=-1)\n"
        "child.stdout.readline()\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = ManagedProcess(
        "parent",
        [sys.executable, "-c", script],
        log=tmp_path / "log",
        env=dict(os.environ),
        pipes=True,
    )
    assert process.stdout.readline() == b"ready\n"
    found = usage(process.pid)
    assert found.processes == len(tree(process.pid)) == 2
    assert found.cpu_s > 0.02
    assert found.memory_mb > 1
    process.stop()
