"""What the strategies for values promise: one trip over the wire changes nothing."""

from __future__ import annotations

from datetime import datetime

from hypothesis import given

from celeriac_protocol.serializers import accept_set, dumps, loads
from celeriac_protocol.strategies import (
    arguments,
    instants,
    iso_times,
    json_values,
    keyword_arguments,
    node_names,
    task_ids,
    task_names,
    typed_values,
)
from celeriac_protocol.times import parse_iso8601, to_wire

JSON = accept_set(["json"])


def trip(value: object) -> object:
    encoded = dumps(value)
    return loads(encoded.data, encoded.content_type, encoded.content_encoding, JSON)


@given(json_values())
def test_json_values_survive_the_wire(value: object) -> None:
    assert trip(value) == value


@given(typed_values())
def test_typed_values_survive_the_wire(value: object) -> None:
    assert trip(value) == value


@given(arguments(), keyword_arguments())
def test_arguments_survive_the_wire(args: list[object], kwargs: dict[str, object]) -> None:
    assert trip([args, kwargs]) == [args, kwargs]


@given(task_ids(), task_names(), node_names())
def test_names_and_ids_are_never_empty(task_id: str, name: str, node: str) -> None:
    assert task_id
    assert all(part.isidentifier() for part in name.split("."))
    assert all(node.split("@"))


@given(instants())
def test_a_moment_is_read_back_as_it_was_written(moment: datetime) -> None:
    assert parse_iso8601(to_wire(moment)) == moment


@given(iso_times())
def test_every_generated_time_is_read_as_an_aware_one(text: str) -> None:
    assert parse_iso8601(text).utcoffset() is not None
