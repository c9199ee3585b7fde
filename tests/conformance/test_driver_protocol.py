"""The driver protocol, with drivers that keep it and drivers that break it."""

from __future__ import annotations

import datetime
import decimal
import json
import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac_conformance.driver_client import (
    DriverClient,
    DriverError,
    DriverProtocolError,
)
from celeriac_conformance.drivers import typed_values
from celeriac_conformance.forms import Form, call, chain
from celeriac_conformance.processes import ManagedProcess, ProcessEndedError
from celeriac_conformance.unsupported import UnsupportedError

DRIVER = """
import json, sys, time
for line in sys.stdin:
    request = json.loads(line)
    answers = {
        "echo": {"ok": request.get("value")},
        "fail": {"errored": {"message": "Boom: no", "exception": {"type": "Boom"}, "traceback": "here"}},
        "refuse": {"unsupported": "not in this version"},
        "both": {"ok": 1, "unsupported": "x"},
        "neither": {},
    }
    if request["cmd"] == "end":
        sys.exit(3)
    if request["cmd"] == "hang":
        time.sleep(60)
    answer = answers.get(request["cmd"], {"ok": None})
    seq = request["seq"] + (request["cmd"] == "wrong seq")
    print("no json" if request["cmd"] == "chatter" else json.dumps({"seq": seq, **answer}), flush=True)
"""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[DriverClient]:
    process = ManagedProcess(
        "toy driver",
        [sys.executable, "-c", DRIVER],
        log=tmp_path / "log",
        env=dict(os.environ),
        pipes=True,
    )
    yield DriverClient(process)
    process.stop(grace_s=1)


def test_values_come_back_through_the_pipes(client: DriverClient) -> None:
    value = [(1, "ü"), b"\xff", {"a": None}]
    assert client.request("echo", value=value) == value
    assert client.request("echo", value=2) == 2


def test_an_error_of_the_driver_carries_its_exception_and_traceback(client: DriverClient) -> None:
    with pytest.raises(DriverError, match="Boom: no\nhere") as caught:
        client.request("fail")
    assert caught.value.exception == {"type": "Boom"}


def test_unsupported_is_no_error(client: DriverClient) -> None:
    with pytest.raises(UnsupportedError, match="not in this version"):
        client.request("refuse")


@pytest.mark.parametrize("command", ["both", "neither", "wrong seq", "chatter"])
def test_an_answer_that_is_none_is_refused(client: DriverClient, command: str) -> None:
    with pytest.raises(DriverProtocolError, match="toy driver"):
        client.request(command)


def test_a_driver_that_says_nothing_is_given_up(client: DriverClient) -> None:
    with pytest.raises(DriverProtocolError, match="no answer to 'hang' in time"):
        client.request("hang", timeout_s=0.2)


def test_a_driver_that_ends_is_reported_with_its_status(client: DriverClient) -> None:
    with pytest.raises(ProcessEndedError, match="ended with status 3"):
        client.request("end")


def test_forms_describe_canvases() -> None:
    form = chain(call("add", 1, 1), call("add", 2).with_options(queue="other")).link(
        call("collect")
    )
    built: list[dict[str, Any]] = []

    def build(fields: dict[str, Any]) -> str:
        built.append(fields)
        return f"{fields['kind']}{len(built)}"

    assert typed_values.decode(json.loads(json.dumps(typed_values.encode(form))), build) == "chain4"
    assert built[3]["tasks"] == ["call1", "call2"]
    assert built[3]["link"] == ["call3"]
    assert built[1]["options"] == {"queue": "other"}


def test_forms_are_values() -> None:
    plain = call("add", 1)
    assert plain.link(call("collect")) != plain
    assert plain == Form(
        "call", {"task": "add", "args": [1], "kwargs": {}, "immutable": False, "by_name": False}
    )


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes(timezones=st.none() | st.just(datetime.UTC))
    | st.dates()
    | st.times()
    | st.timedeltas(max_value=datetime.timedelta(days=365), min_value=datetime.timedelta(0)).map(
        lambda value: datetime.timedelta(seconds=int(value.total_seconds()))
    )
    | st.decimals(allow_nan=False)
    | st.uuids(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.just("__type"), inner)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_every_value_survives_json_lines(value: object) -> None:
    assert typed_values.decode(json.loads(json.dumps(typed_values.encode(value)))) == value


def test_sets_survive_json_lines() -> None:
    value = [{1, 2}, frozenset({"a"}), decimal.Decimal("1.50"), uuid.UUID(int=5)]
    assert typed_values.decode(json.loads(json.dumps(typed_values.encode(value)))) == value


def test_exceptions_and_objects_travel_as_descriptions() -> None:
    error = typed_values.encode(ValueError("bad", 1))
    assert error["__type"] == "exception"
    assert (error["value"]["type"], error["value"]["module"], error["value"]["args"]) == (
        "ValueError",
        "builtins",
        ["bad", 1],
    )
    assert typed_values.encode(object)["__type"] == "object"
    assert typed_values.decode(error)["value"]["type"] == "ValueError"
