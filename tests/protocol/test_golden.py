"""Every golden record is read, and says what the version that wrote it meant."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jsonschema

from celeriac_conformance.recorder.traffic import message_in
from celeriac_protocol.control import decode_command, decode_reply
from celeriac_protocol.events import decode_events
from celeriac_protocol.result import ResultMeta
from celeriac_protocol.serializers import accept_set
from celeriac_protocol.task import decode
from celeriac_protocol.times import parse_iso8601
from tests.golden import FIXTURES, SETS, every_set, message_of, records, typed, version_of

ACCEPT = accept_set(["json", "pickle", "yaml", "msgpack"])
VERSIONS = {"4.4.7", "5.0.5", "5.2.7", "5.3.6", "5.4.0", "5.5.3", "5.6.3", "5.7.0"}
SCHEMA = json.loads((FIXTURES / "record.schema.json").read_text("utf-8"))

_HEADERS = (
    *("task", "id", "root_id", "parent_id", "group", "group_index", "retries", "eta", "expires"),
    *("shadow", "argsrepr", "kwargsrepr", "origin", "ignore_result"),
)
"""Fields of `task.request` that repeat a header."""


def test_eight_versions_are_recorded_on_both_brokers() -> None:
    assert {
        f"celery-{version}/{broker}" for version in VERSIONS for broker in ("redis", "rabbitmq")
    } == set(SETS)


@every_set
def test_every_record_fits_the_schema(recording: str) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    found = [
        f"{record['case']}: {error.json_path} {error.message}"
        for record in records(recording)
        for error in validator.iter_errors(record)
    ]
    assert found == []


@every_set
def test_a_recording_holds_every_kind_of_traffic(recording: str) -> None:
    kinds = {message["kind"] for record in records(recording) for message in record["messages"]}
    assert kinds == {"task", "result", "event", "request", "reply"}
    assert len(list(records(recording))) >= 100


@every_set
def test_every_message_is_read_as_its_own_version_reads_it(recording: str) -> None:
    found = []
    for record in records(recording):
        for number, message in enumerate(record["messages"]):
            for line in _READERS[message["kind"]](message, version_of(recording)):
                found.append(f"{record['case']} {number}: {line}")
    assert found == []


@every_set
def test_a_call_arrives_as_it_was_made(recording: str) -> None:
    compared = 0
    for record in records(recording):
        call = typed(record["call"])
        if call.get("task") is None or record["messages"][0]["kind"] != "task":
            continue
        task = decode(message_of(record["messages"][0]["wire"]), accept=ACCEPT)
        assert task.headers.task == call["task"], record["case"]
        args = call["args"]
        if record["case"] == "serializers/json-typed" and version_of(recording) < (5, 3):
            args = ({name: _as_text(value) for name, value in args[0].items()},)
        assert (task.args, task.kwargs) == (args, call["kwargs"]), record["case"]
        assert task.version == call["settings"].get("task_protocol", 2), record["case"]
        compared += 1
    assert compared > 40


def _as_text(value: Any) -> str:
    """Return what kombu before 5.3 made of a value that JSON lacks: such a text stays a text for the task."""
    if isinstance(value, datetime.datetime):
        return value.isoformat().replace("+00:00", "Z")
    return f"{value}T00:00:00" if isinstance(value, datetime.date) else str(value)


def _task(message: Mapping[str, Any], version: tuple[int, ...]) -> Iterator[str]:
    task = decode(message_of(message["wire"]), accept=ACCEPT)
    if "request" not in message:
        return
    request = typed(message["request"])
    theirs = {name: request[name] for name in _HEADERS if request[name] is not None}
    ours = {name: getattr(task.headers, name) for name in theirs}
    if theirs != ours:
        yield f"headers: expected {theirs}, found {ours}"
    if [list(task.args), dict(task.kwargs)] != [list(request["args"]), request["kwargs"]]:
        yield f"arguments: expected {request['args']}, {request['kwargs']}, found {task.args}, {task.kwargs}"
    embed = {
        name: getattr(task.embed, name) for name in ("callbacks", "errbacks", "chain", "chord")
    }
    expected = {name: request[name] or None for name in embed}
    if {name: value or None for name, value in embed.items()} != expected:
        yield f"embed: expected {expected}, found {embed}"
    limits = [limit or None for limit in request["timelimit"] or (None, None)]
    if [task.headers.timelimit.hard, task.headers.timelimit.soft] != limits:
        yield f"timelimit: expected {limits}, found {task.headers.timelimit}"


def _result(message: Mapping[str, Any], version: tuple[int, ...]) -> Iterator[str]:
    _, _, body = message_in(message["wire"])
    stored = json.loads(body)
    ours = ResultMeta.from_dict(stored).to_dict()
    if version < (5, 7) and "command" not in message["wire"]:
        # What went over rpc did not say when it was done.
        assert stored.setdefault("date_done", None) is None
    if version < (5, 4) and isinstance(stored["date_done"], str):
        # Times without a zone are UTC; we say so.
        assert stored["date_done"][-6] not in "+-"
        stored["date_done"] = parse_iso8601(stored["date_done"]).isoformat()
    yield from _unequal(stored, ours)


def _event(message: Mapping[str, Any], version: tuple[int, ...]) -> Iterator[str]:
    _, _, body = message_in(message["wire"])
    sent = json.loads(body)
    batch = decode_events(message_of(message["wire"]), accept=ACCEPT)
    if batch.errors:
        yield f"refused: {batch.errors}"
    for theirs, ours in zip(sent if isinstance(sent, list) else [sent], batch.events, strict=True):
        yield from _unequal(theirs, ours.to_dict())


def _request(message: Mapping[str, Any], version: tuple[int, ...]) -> Iterator[str]:
    _, _, body = message_in(message["wire"])
    yield from _unequal(
        json.loads(body), decode_command(message_of(message["wire"]), accept=ACCEPT).to_dict()
    )


def _reply(message: Mapping[str, Any], version: tuple[int, ...]) -> Iterator[str]:
    _, _, body = message_in(message["wire"])
    yield from _unequal(
        json.loads(body), decode_reply(message_of(message["wire"]), accept=ACCEPT).to_dict()
    )


_READERS: dict[str, Callable[[Mapping[str, Any], tuple[int, ...]], Iterator[str]]] = {
    "task": _task,
    "result": _result,
    "event": _event,
    "request": _request,
    "reply": _reply,
}


def _unequal(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    for name in theirs.keys() | ours.keys():
        if name not in ours or name not in theirs or theirs[name] != ours[name]:
            yield f"{name}: expected {theirs.get(name, 'nothing')!r}, found {ours.get(name, 'nothing')!r}"
