"""What our app publishes for the calls of the golden records, next to what each version of Celery published."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from types import ModuleType
from typing import Any

import pytest

from celeriac.app.state import set_current_app
from celeriac_conformance.drivers import typed_values
from celeriac_protocol.compression import decompress
from celeriac_protocol.message import Message
from celeriac_protocol.serializers import accept_set, loads
from tests.compat.doubles import RecordingPublisher
from tests.compat.recorded import differences, normalized
from tests.golden import SETS, every_set, message_of, records, version_of

ACCEPT = accept_set(["json", "pickle", "yaml", "msgpack"])
_DRIVER = "celeriac_conformance.drivers.celery_driver"
_LOADED = (_DRIVER, "celeriac_conformance.drivers.tasks")


@dataclass(frozen=True)
class Deviation:
    """A difference that is meant."""

    reason: str
    paths: str
    """Regular expression over the paths of fields."""
    cases: str = "*"
    until: tuple[int, ...] = (99,)
    """First version that no longer differs."""
    since: tuple[int, ...] = (0,)

    def covers(self, version: tuple[int, ...], case: str, path: str) -> bool:
        """Say whether it explains one difference."""
        return (
            self.since <= version < self.until
            and re.fullmatch(self.cases.replace("*", ".*"), case) is not None
            and re.fullmatch(self.paths, path) is not None
        )


_NEWER = "an older Celery does not know this header; ours sends those of 5.7, which older workers take as custom ones"
DEVIATIONS: tuple[Deviation, ...] = (
    Deviation(
        "the rest of a chain travels in the chord's body",
        r"/\d/body/2/chord/.*",
        "canvas/chord-then-task",
    ),
    Deviation(_NEWER, r"/\d/headers/(stamped_headers|stamps)", until=(5, 3)),
    Deviation(_NEWER, r"/\d/headers/replaced_task_nesting", until=(5, 3, 5)),
    Deviation(_NEWER, r"/\d/headers/ignore_result", until=(5, 1)),
    Deviation(
        "a call by name said that its result is wanted, now it leaves that to the task",
        r"/\d/headers/ignore_result",
        "calls/by-(unknown-)?name",
        since=(5, 1),
        until=(5, 7),
    ),
    Deviation(
        "the text of arguments cut in the middle of one was closed in another way",
        r"/\d/headers/argsrepr",
        "calls/large-text",
        until=(5, 7),
    ),
    Deviation(
        "every signature told the size of its chord; ours does in chord bodies",
        r".*/chord_size|/\d/headers/kwargsrepr",
        until=(5, 1),
    ),
    Deviation(
        "ours tells the size of a chord in its body, where workers of 4.0 to 5.0 look for it",
        r".*/chord_size",
        "(canvas|runs)/*",
        since=(5, 1),
    ),
    Deviation(
        "kombu before 5.3 wrote values JSON lacks as plain text, which cannot be told from text",
        r"/\d/body/0/0/(date|datetime|decimal|uuid)",
        "serializers/json-typed",
        until=(5, 3),
    ),
    Deviation(
        "the body of a chord did not say which group it follows",
        r".*/chord/options/group_id",
        "(canvas|runs)/(chord*|group-then-task)",
        until=(5, 6),
    ),
    Deviation(
        "header tasks of a chord further on in a chain carried the chord's body twice",
        r".*/chain/\d/kwargs/header/(options|kwargs/tasks/\d/options)/chord",
        "runs/chord-in-chain",
        until=(5, 7),
    ),
    Deviation(
        "a stray `kwargs` among the arguments of a chord made of a dictionary",
        r".*/chain/\d/kwargs/kwargs/kwargs",
        "runs/chord-in-chain",
        until=(5, 1),
    ),
    Deviation(
        "a chord's body said that it has no parent",
        r".*/chord/options/parent_id",
        "canvas/chord-in-chord",
        until=(5, 7),
    ),
    Deviation(
        "parts of a group that is no chord's header did not say which part they are",
        r"/\d/(headers|body/2/chain/\d/options)/group_index",
        "(canvas|runs)/(group*|chunks)",
        until=(5, 3),
    ),
)


@pytest.fixture(scope="module")
def driver() -> Iterator[ModuleType]:
    """The conformance driver with our library in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONFORMANCE_LIBRARY", "celeriac")
        patch.setenv("CONFORMANCE_BROKER_URL", "memory://")
        patch.setenv("CONFORMANCE_RESULT_BACKEND", "cache+memory://")
        for name in _LOADED:
            patch.delitem(sys.modules, name, raising=False)
        made = importlib.import_module(_DRIVER)
        yield made
        made.app.close()
        set_current_app(None)
        for name in _LOADED:
            sys.modules.pop(name, None)


@dataclass
class Comparison:
    """What came of one recording."""

    compared: int = 0
    """Messages."""
    unexplained: list[str] = field(default_factory=list)
    met: set[Deviation] = field(default_factory=set)


@pytest.fixture(scope="module")
def comparison(driver: ModuleType) -> Callable[[str], Comparison]:
    """Compare one recording, once in a process."""
    return cache(partial(_compare, driver))


@every_set
def test_our_app_publishes_what_celery_published(
    recording: str, comparison: Callable[[str], Comparison]
) -> None:
    found = comparison(recording)
    assert found.unexplained == []
    assert found.compared > 60


def test_every_deviation_still_occurs(comparison: Callable[[str], Comparison]) -> None:
    met = set().union(*(comparison(recording).met for recording in SETS))
    assert [each for each in DEVIATIONS if each not in met] == []


def _compare(driver: ModuleType, recording: str) -> Comparison:
    found = Comparison()
    for record in records(recording):
        call = record["call"]
        sent = [message for message in record["messages"] if message["kind"] == "task"]
        if "cmd" in call or not sent:
            continue
        ours = _published(driver, call)
        if call["options"]["queue"] != "held":
            # A worker's own messages follow those of the producer.
            sent = sent[: len(ours)]
        theirs = [message_of(message["wire"]) for message in sent]
        found.compared += len(ours)
        explained = partial(_explained, found, version_of(recording), record["case"])
        left, right = _comparable(theirs), _comparable(ours)
        # First what only one side has: names are given to ids in the order in which they appear.
        _prune(left, right, explained)
        found.unexplained += [
            f"{record['case']}: {path}"
            for path in differences(normalized(left), normalized(right))
            if not explained(path)
        ]
    return found


def _explained(found: Comparison, version: tuple[int, ...], case: str, path: str) -> bool:
    covering = {each for each in DEVIATIONS if each.covers(version, case, path)}
    found.met |= covering
    return bool(covering)


def _prune(theirs: Any, ours: Any, explained: Callable[[str], bool], path: str = "") -> None:
    """Take out the keys that only one of two values has, where that is explained."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in theirs.keys() ^ ours.keys():
            if explained(f"{path}/{key}"):
                theirs.pop(key, None)
                ours.pop(key, None)
        for key in theirs.keys() & ours.keys():
            _prune(theirs[key], ours[key], explained, f"{path}/{key}")
    elif isinstance(theirs, list) and isinstance(ours, list):
        for number, (left, right) in enumerate(zip(theirs, ours, strict=False)):
            _prune(left, right, explained, f"{path}/{number}")


def _published(driver: ModuleType, call: Mapping[str, Any]) -> list[Message]:
    """Make the call with our app, and return what it published."""
    publisher = RecordingPublisher()
    app = driver.app
    before = {name: app.conf[name] for name in call["settings"]}
    app.publisher = publisher
    app.conf.update(call["settings"])
    try:
        answer = driver.answer(json.dumps({"seq": 1, "cmd": "send", **call}))
        assert "ok" in answer, answer
        return [each.message for each in publisher.take()]
    finally:
        app.conf.update(before)


def _comparable(messages: list[Message]) -> Any:
    return json.loads(json.dumps([typed_values.encode(_form(message)) for message in messages]))


def _form(message: Message) -> dict[str, Any]:
    properties = message.properties
    named = {
        name: getattr(properties, name)
        for name in (
            *("content_type", "content_encoding", "correlation_id", "delivery_mode", "priority"),
            "expiration",
        )
    }
    body = message.body
    if "compression" in message.headers:
        body = decompress(body, str(message.headers["compression"]), cap=1 << 20)
    value = loads(body, properties.content_type, properties.content_encoding, ACCEPT)
    # Priority 0 and none at all are one and the same to every broker.
    named["priority"] = named["priority"] or 0
    return {"headers": dict(message.headers), "properties": named, "body": value}
