"""What the recorder keeps of the traffic, and what it takes for a change."""

from __future__ import annotations

import base64
import copy
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from celeriac_conformance.environments import REAL_CELERY_PYTHON
from celeriac_conformance.recorder.compare import all_differences, differences
from celeriac_conformance.recorder.scenarios import SCENARIOS
from celeriac_conformance.recorder.traffic import kind_of, message_in, wire_form, without_frames
from celeriac_conformance.wires import Frame, TracedMessage
from tests.conformance.helpers import CHECKOUT

RECORDED = CHECKOUT / "fixtures" / "celery-5.7.0"
PLACE = re.compile(r"""["' (=]/[a-z][\w.-]*/|File \\*"|\.pyc?\b|site-packages""")
"""An absolute path, or where a traceback says that it was."""
TRACEBACK = (
    'Traceback (most recent call last):\n  File "/home/me/tasks.py", line 3, in run\n'
    '    raise ValueError("x")\nValueError: x\n'
)


def command(action: str, where: str, *parts: str) -> Frame:
    """Make a frame as Redis tells it."""
    return Frame(at=0.0, peer="", action=action, where=where, parts=parts)


def publishing(where: str, body: bytes = b"[]", action: str = "publish") -> Frame:
    """Make a frame as RabbitMQ tells it."""
    message = TracedMessage(body, {"task": "add"}, {"content_type": "application/json"})
    return Frame(at=0.0, peer="", action=action, where=where, parts=(), message=message)


def recorded(case: str) -> dict[str, Any]:
    """Return a record of 5.7.0 on Redis."""
    path = RECORDED / "redis" / f"{case.replace('/', '-')}.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def changed(record: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """Replace a text wherever it stands in the messages of a record."""
    made = copy.deepcopy(record)
    for message in made["messages"]:
        assert old in message["wire"]["value"]
        message["wire"]["value"] = message["wire"]["value"].replace(old, new)
    return made


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (command("LPUSH", "celery", "{}"), "task"),
        (command("LPUSH", "0f0e.reply.celery.pidbox", "{}"), "reply"),
        (command("SETEX", "celery-task-meta-1", "60", "{}"), "result"),
        (command("SET", "celery-task-meta-1", "{}"), "result"),
        (command("SET", "lock", "1"), None),
        (command("PUBLISH", "/0.celeryev/task.sent", "{}"), "event"),
        (command("PUBLISH", "/0.celery.pidbox", "{}"), "request"),
        (command("PUBLISH", "celery-task-meta-1", "{}"), None),
        (command("BRPOP", "celery"), None),
        (publishing("(default exchange) celery"), "task"),
        (publishing("(default exchange) 12345678-1234-4678-9234-567812345678"), "result"),
        (publishing("celeryev task.sent"), "event"),
        (publishing("celery.pidbox "), "request"),
        (publishing("reply.celery.pidbox 0f0e"), "reply"),
        (publishing("(default exchange) celery", action="deliver"), None),
    ],
)
def test_traffic_is_told_apart_by_where_it_goes(frame: Frame, kind: str | None) -> None:
    assert kind_of(frame) == kind


def test_a_record_keeps_the_bytes_of_a_message() -> None:
    wire = wire_form(publishing("(default exchange) celery", b'[[1], {}, {"note": "\xc3\xbc"}]'))
    assert (wire["exchange"], wire["routing_key"]) == ("", "celery")
    headers, properties, body = message_in(json.loads(json.dumps(wire)))
    assert (headers, properties) == ({"task": "add"}, {"content_type": "application/json"})
    assert body == b'[[1], {}, {"note": "\xc3\xbc"}]'


def test_frames_are_left_out_of_tracebacks_and_nothing_else_is() -> None:
    text = json.dumps({"result": " File", "traceback": TRACEBACK, "children": []})
    assert json.loads(without_frames(text)) == {
        "result": " File",
        "traceback": "Traceback (most recent call last):\nValueError: x\n",
        "children": [],
    }
    without = '{"traceback": null,  "spaces":1}'
    assert without_frames(without) == without


def test_frames_are_left_out_of_bodies_in_base64() -> None:
    body = json.dumps({"type": "task-failed", "traceback": TRACEBACK}).encode()
    envelope = {
        "body": base64.b64encode(body).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {},
        "properties": {"body_encoding": "base64"},
    }
    on_redis = command("PUBLISH", "/0.celeryev/task.failed", json.dumps(envelope))
    for frame in (on_redis, publishing("celeryev task.failed", body)):
        _, _, kept = message_in(wire_form(frame))
        assert b"ValueError: x" in kept
        assert b"tasks.py" not in kept


def test_records_of_heartbeats_hold_the_one_that_was_asked_for() -> None:
    paths = sorted(RECORDED.parent.glob("celery-*/*/events-heartbeat.json"))
    found = [json.loads(path.read_text("utf-8"))["messages"] for path in paths]
    assert len(found) >= 16
    for messages in found:
        (event,) = [json.loads(message_in(message["wire"])[2]) for message in messages]
        # Those that a worker sends by itself tell how busy it is.
        assert "active" not in event


def test_paths_and_frames_would_be_found() -> None:
    assert PLACE.search(TRACEBACK)
    assert PLACE.search(json.dumps(json.dumps('File "x"')))
    assert PLACE.search('{"cwd": "/home/me"}')
    assert not PLACE.search('{"key": "/0.celeryev/worker.heartbeat"}')


def test_no_record_names_a_file_or_quotes_the_program_that_ran() -> None:
    found = []
    for path in sorted(RECORDED.parent.glob("celery-*/*/*.json")):
        text = path.read_text("utf-8")
        for message in json.loads(text)["messages"]:
            text += message_in(message["wire"])[2].decode("latin-1")
        found += [
            f"{path.relative_to(RECORDED.parent)}: {word[0]}" for word in PLACE.finditer(text)
        ]
    assert found == []


def test_another_run_is_no_difference() -> None:
    before = recorded("calls/plain")
    task_id = json.loads(before["messages"][0]["wire"]["value"])["headers"]["id"]
    after = changed(before, task_id, "12345678-1234-4678-9234-567812345678")
    assert after != before
    assert list(differences(before, after)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [('"retries": 0', '"retries": 1'), ('"lang": "py"', '"lang": "js"'), ('"shadow": null, ', "")],
)
def test_another_value_is_a_difference(old: str, new: str) -> None:
    before = recorded("calls/plain")
    lines = list(differences(before, changed(before, old, new)))
    assert [line.partition(": {")[0].split(" task")[0] for line in lines] == [
        "calls/plain: no longer:",
        "calls/plain: new:",
    ]


def test_a_change_inside_a_body_is_a_difference() -> None:
    before, after = recorded("calls/plain"), recorded("calls/keywords")
    after["case"] = before["case"]
    after["call"] = before["call"]
    assert len(list(differences(before, after))) == 2


def test_one_more_task_in_the_program_is_no_difference() -> None:
    before = recorded("control/inspect-registered")
    after = copy.deepcopy(before)
    (wire,) = [each["wire"] for each in after["messages"] if each["kind"] == "reply"]
    envelope = json.loads(wire["value"])
    ((node, names),) = json.loads(base64.b64decode(envelope["body"])).items()
    body = json.dumps({node: [*names, "one_more"]}).encode()
    wire["value"] = json.dumps({**envelope, "body": base64.b64encode(body).decode()})
    assert list(differences(before, after)) == []
    wire["value"] = json.dumps({**envelope, "body": base64.b64encode(b"[]").decode()})
    assert len(list(differences(before, after))) == 2


def test_another_call_and_missing_records_are_differences() -> None:
    one, other = recorded("calls/plain"), recorded("calls/priority")
    assert list(all_differences([one], [{**one, "call": other["call"]}])) == [
        "calls/plain: recorded for another call"
    ]
    assert list(all_differences([one], [other])) == [
        "calls/priority: not among the records",
        "calls/plain: is no scenario",
    ]


def test_scenarios_have_names_of_their_own() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert len(names) == len(set(names))


def test_real_celery_still_does_what_its_records_say(tmp_path: Path) -> None:
    if REAL_CELERY_PYTHON not in os.environ and not os.environ.get("CI"):
        pytest.skip("missing: an interpreter with real Celery (CELERIAC_REAL_CELERY_PYTHON)")
    copied = tmp_path / "celery-5.7.0"
    shutil.copytree(RECORDED, copied)
    # One record is changed, to see that a check can fail.
    path = copied / "redis" / "calls-priority.json"
    path.write_text(path.read_text("utf-8").replace(r"\"retries\": 0", r"\"retries\": 7"), "utf-8")
    arguments = ["--check", "--celery", "5.7.0", "--broker", "redis", "--cases", "calls/*"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "celeriac_conformance",
            "record",
            *arguments,
            "--out",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    if done.returncode == 2 and "redis-server" in done.stdout:
        pytest.skip("missing: redis-server")
    assert done.returncode == 1, done.stdout + done.stderr
    *_, first, second, last = done.stdout.splitlines()
    assert first.startswith("calls/priority: no longer: task ")
    assert second.startswith("calls/priority: new: task ")
    assert last == "2 differences"
