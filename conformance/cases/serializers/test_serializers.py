"""Every serializer, and the values each of them can carry."""

from __future__ import annotations

import datetime
import decimal
import uuid

from celeriac_conformance.cases import case
from celeriac_conformance.exchange import Exchange

SERIALIZERS = ("json", "pickle", "yaml", "msgpack")


@case("serializers/{serializer}", spec="task-message#6.1", each={"serializer": SERIALIZERS})
def test_arguments_survive_the_serializer(exchange: Exchange, serializer: str) -> None:
    value = {"text": "Grüße", "numbers": [1, -2.5, 0], "nothing": None, "flag": True}
    call = exchange.producer.send("echo_all", [value, 1], {"key": [value]}, serializer=serializer)
    assert exchange.producer.result(call) == {"args": [value, 1], "kwargs": {"key": [value]}}


@case(
    "serializers/failure-through-{serializer}",
    spec="task-message#6.1",
    each={"serializer": SERIALIZERS},
)
def test_a_failure_is_reported_whatever_the_serializer(exchange: Exchange, serializer: str) -> None:
    call = exchange.producer.send("fail", ["ValueError", "bad"], serializer=serializer)
    raised = exchange.producer.wait(call).raised
    assert raised is not None
    assert (raised.type, raised.args) == ("ValueError", ["bad"])


@case(
    "serializers/retry-through-{serializer}",
    spec="task-message#7.2",
    each={"serializer": ("json", "pickle", "msgpack")},
)
def test_a_retried_call_can_be_read_again(exchange: Exchange, serializer: str) -> None:
    call = exchange.producer.send("retry_n", [1], serializer=serializer)
    assert exchange.producer.result(call) == 1


@case("serializers/json-datetime", spec="task-message#6.2", since="5.3")
def test_a_datetime_in_json_arrives_as_one(exchange: Exchange) -> None:
    when = datetime.datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
    call = exchange.producer.send("echo", [when])
    assert exchange.producer.result(call) == when
    assert exchange.journal.runs(call.id)[0].request["args"] == [when]


@case("serializers/json-typed-values", spec="task-message#6.2", since="5.3")
def test_typed_values_in_json_come_back_with_their_types(exchange: Exchange) -> None:
    value = [
        datetime.datetime(2030, 1, 2, 3, 4, 5),  # noqa: DTZ001 - a naive value has to survive as one
        datetime.date(2030, 1, 2),
        datetime.time(3, 4, 5),
        decimal.Decimal("1.50"),
        uuid.UUID("12345678123456781234567812345678"),
        b"text",
        b"\xff\xfe",
    ]
    assert exchange.producer.result(exchange.producer.send("echo", [value])) == value


@case("serializers/pickle-python-values", spec="task-message#6.1")
def test_pickle_keeps_tuples_and_sets(exchange: Exchange) -> None:
    call = exchange.producer.send("measure", [((1, 2), {3})], serializer="pickle")
    assert exchange.producer.result(call) == 2
    assert exchange.journal.runs(call.id)[0].request["args"][0] == ((1, 2), {3})


@case("serializers/msgpack-bytes", spec="task-message#6.1", since="5.3")
def test_msgpack_carries_bytes(exchange: Exchange) -> None:
    call = exchange.producer.send("echo", [b"\x00\xff"], serializer="msgpack")
    assert exchange.producer.result(call) == b"\x00\xff"
