"""Every row of task-message#3.5: what the decoder says about it, or that it runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from celeriac_protocol.compression import compress
from celeriac_protocol.errors import (
    Hint,
    InvalidTaskError,
    Reason,
    RefusedContentError,
    RemoteProtocolError,
    TooLargeError,
    UndecodableBodyError,
    UnknownMessageError,
)
from celeriac_protocol.message import Message, Properties
from celeriac_protocol.serializers import accept_set
from celeriac_protocol.task import Embed, Limits, TaskMessage, TimeLimit, decode, read_headers

JSON = accept_set(["json"])
MISSING: Any = object()
SIG: dict[str, Any] = {"task": "t.next", "args": [], "kwargs": {}, "options": {}}
PLAIN: list[Any] = [[2, 3], {}, {}]


def v2(
    body: object = PLAIN,
    *,
    raw: bytes | None = None,
    content_type: str | None = "application/json",
    content_encoding: str | None = "utf-8",
    **headers: Any,
) -> Message:
    table = {"task": "t.add", "id": "id-1", **headers}
    return Message(
        {key: value for key, value in table.items() if value is not MISSING},
        Properties(content_type=content_type, content_encoding=content_encoding),
        json.dumps(body).encode() if raw is None else raw,
    )


def v1(*, headers: Any = None, raw: bytes | None = None, **changes: Any) -> Message:
    body = {"task": "t.add", "id": "id-1", "args": [2, 3], "kwargs": {}, **changes}
    body = {key: value for key, value in body.items() if value is not MISSING}
    return Message(
        {} if headers is None else headers,
        Properties(content_type="application/json", content_encoding="utf-8"),
        json.dumps(body).encode() if raw is None else raw,
    )


def embed(**keys: Any) -> list[Any]:
    return [[2, 3], {}, keys]


def refusal(message: Message) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(message, accept=JSON)
    return caught.value


def run(message: Message) -> TaskMessage:
    return decode(message, accept=JSON)


REJECTED = [
    ("v2 without id", v2(id=MISSING), "headers['id']"),
    ("v2 with a null id", v2(id=None), "headers['id']"),
    ("v2 with an empty id", v2(id=""), "headers['id']"),
    ("v2 with true for an id", v2(id=True), "headers['id']"),
    ("v2 with a list for an id", v2(id=["x"]), "headers['id']"),
    ("v2 with a mapping for an id", v2(id={"a": 1}), "headers['id']"),
    ("v2 with NaN for an id", v2(id=float("nan")), "headers['id']"),
    ("v2 with an integer past all text for an id", v2(id=10**5000), "headers['id']"),
    ("v1 without id", v1(id=MISSING), "body['id']"),
    ("v1 with a null id", v1(id=None), "body['id']"),
    ("v1 with a list for an id", v1(id=[]), "body['id']"),
    ("a task that is null", v2(task=None), "headers['task']"),
    ("a task that is a number", v2(task=5), "headers['task']"),
    ("a task that is empty", v2(task=""), "headers['task']"),
    ("a task that is a list", v2(task=["t"]), "headers['task']"),
    ("a task that is a mapping", v2(task={}), "headers['task']"),
    ("v1 with a list for a task", v1(task=["t"]), "body['task']"),
    ("v1 with null for a task", v1(task=None), "body['task']"),
    ("a body of two", v2([[2, 3], {}]), "body"),
    ("a body of four", v2([[2, 3], {}, {}, {}]), "body"),
    ("a body that is a mapping without args", v2({"kwargs": {}}), "body"),
    ("a body that is null", v2(None), "body"),
    ("a body that is a number", v2(3), "body"),
    ("a body that is a text of three", v2("abc"), "body"),
    ("v1 with a list for kwargs", v1(kwargs=[]), "body['kwargs']"),
    ("v1 with null for kwargs", v1(kwargs=None), "body['kwargs']"),
    ("an eta that is garbage", v2(eta="garbage"), "headers['eta']"),
    ("an eta that is a number", v2(eta=5), "headers['eta']"),
    ("an eta that is true", v2(eta=True), "headers['eta']"),
    ("an eta that is a list", v2(eta=[]), "headers['eta']"),
    ("an eta that is a mapping", v2(eta={}), "headers['eta']"),
    ("an eta that is empty", v2(eta=""), "headers['eta']"),
    ("expires that is garbage", v2(expires="x"), "headers['expires']"),
    ("expires that is a number", v2(expires=0), "headers['expires']"),
    ("expires that is false", v2(expires=False), "headers['expires']"),
    ("expires that is empty", v2(expires=""), "headers['expires']"),
    ("v1 with garbage for an eta", v1(eta="x"), "body['eta']"),
    ("v1 with garbage for an eta, by header", v1(headers={"eta": "x"}), "headers['eta']"),
    ("a limit alone", v2(timelimit=[5]), "headers['timelimit']"),
    ("three limits", v2(timelimit=[1, 2, 3]), "headers['timelimit']"),
    ("limits in a mapping", v2(timelimit={"hard": 1, "soft": 1}), "headers['timelimit']"),
    ("limits that are words", v2(timelimit=["a", "b"]), "headers['timelimit']"),
    ("limits that are a number", v2(timelimit=30), "headers['timelimit']"),
    ("limits that are lists", v2(timelimit=[[1], None]), "headers['timelimit']"),
    ("limits without end", v2(timelimit=[float("inf"), None]), "headers['timelimit']"),
    ("limits past any clock", v2(timelimit=[10**400, None]), "headers['timelimit']"),
    ("limits that are true", v2(timelimit=[True, None]), "headers['timelimit']"),
    ("v1 with three limits", v1(timelimit=[1, 2, 3]), "body['timelimit']"),
    ("a shadow that is a list", v2(shadow=["x"]), "headers['shadow']"),
    ("a group that is a list", v2(group=["x"]), "headers['group']"),
    ("a root that is a mapping", v2(root_id={}), "headers['root_id']"),
    ("a parent that is true", v2(parent_id=True), "headers['parent_id']"),
    ("stamped headers that are a number", v2(stamped_headers=5), "headers['stamped_headers']"),
    ("stamped headers of numbers", v2(stamped_headers=[5]), "headers['stamped_headers']"),
    ("stamps in a list", v2(stamped_headers=["a"], stamps=["a"]), "headers['stamps']"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "field"), [row[1:] for row in REJECTED], ids=[row[0] for row in REJECTED]
)
def test_a_message_that_stops_celery_is_rejected(message: Message, field: str) -> None:
    exc = refusal(message)
    assert isinstance(exc, InvalidTaskError)
    assert (exc.field, exc.reason, exc.hint) == (field, Reason.INVALID_TASK, Hint.REJECT)


ACKNOWLEDGED = [
    ("args that are a number", v2([5, {}, {}]), "body[0]"),
    ("args that are null", v2([None, {}, {}]), "body[0]"),
    ("args that are a text", v2(["ab", {}, {}]), "body[0]"),
    ("args that are a mapping", v2([{"a": 1}, {}, {}]), "body[0]"),
    ("v1 with null for args", v1(args=None), "body['args']"),
    ("kwargs that are a list", v2([[], [], {}]), "body[1]"),
    ("kwargs that are null", v2([[], None, {}]), "body[1]"),
    ("an embed that is a text", v2([[], {}, "x"]), "body[2]"),
    ("an embed that is a number", v2([[], {}, 5]), "body[2]"),
    ("an embed that is a list", v2([[], {}, ["callbacks"]]), "body[2]"),
    ("callbacks that are no signatures", v2(embed(callbacks=["x"])), "body[2]['callbacks'][0]"),
    ("a bare callback", v2(embed(callbacks=SIG)), "body[2]['callbacks']"),
    (
        "a callback without task",
        v2(embed(callbacks=[SIG, {"options": {}}])),
        "body[2]['callbacks'][1]['task']",
    ),
    (
        "a callback without options",
        v2(embed(callbacks=[{"task": "t"}])),
        "body[2]['callbacks'][0]['options']",
    ),
    (
        "a callback of unknown type",
        v2(embed(callbacks=[{**SIG, "subtask_type": "bogus"}])),
        "body[2]['callbacks'][0]['subtask_type']",
    ),
    ("a chain that is a mapping", v2(embed(chain=SIG)), "body[2]['chain']"),
    ("a chain of numbers", v2(embed(chain=[5])), "body[2]['chain'][0]"),
    ("errbacks that are a text", v2(embed(errbacks="err")), "body[2]['errbacks']"),
    ("a bare errback", v2(embed(errbacks=SIG)), "body[2]['errbacks']"),
    ("a chord that is garbage", v2(embed(chord="x"), group="g"), "body[2]['chord']"),
    ("v1 with callbacks that are garbage", v1(callbacks=[5]), "body['callbacks'][0]"),
]


@pytest.mark.parametrize(
    ("message", "field"), [row[1:] for row in ACKNOWLEDGED], ids=[row[0] for row in ACKNOWLEDGED]
)
def test_a_call_that_celery_acknowledges_and_fails_is_found_out_before_it_runs(
    message: Message, field: str
) -> None:
    exc = refusal(message)
    assert isinstance(exc, InvalidTaskError)
    assert (exc.field, exc.reason, exc.hint) == (field, Reason.INVALID_TASK, Hint.DROP)


@pytest.mark.parametrize("raw", [b"[]", b'"text"', b"null", b"5", b'{"id": "1"}', b"[1, 2, 3]"])
def test_a_body_without_task_under_headers_without_task_is_unknown(raw: bytes) -> None:
    exc = refusal(v1(raw=raw))
    assert isinstance(exc, UnknownMessageError)
    assert (exc.field, exc.reason, exc.hint) == ("body", Reason.UNKNOWN_MESSAGE, Hint.REJECT)


def test_null_headers_count_as_none() -> None:
    message = v1()
    assert read_headers(Message(None, message.properties, message.body)) is None  # type: ignore[arg-type]
    assert run(Message(None, message.properties, message.body)).headers.task == "t.add"  # type: ignore[arg-type]


UNDECODABLE = {
    "bad JSON": b"[[2, 3], {}, {",
    "bad UTF-8": b'[["\xff"], {}, {}]',
    "a byte order mark": b"\xef\xbb\xbf[[], {}, {}]",
    "nested too deep": b"[" * 200_000,
    "unknown __type__": b'[[{"__type__": "nope", "__value__": 1}], {}, {}]',
    "bad __type__": b'[[{"__type__": "datetime", "__value__": "x"}], {}, {}]',
}


@pytest.mark.parametrize("raw", UNDECODABLE.values(), ids=UNDECODABLE)
@pytest.mark.parametrize("make", [v1, v2])
def test_a_body_that_cannot_be_decoded_is_dropped(make: Callable[..., Message], raw: bytes) -> None:
    exc = refusal(make(raw=raw))
    assert isinstance(exc, UndecodableBodyError)
    assert (exc.reason, exc.hint) == (Reason.UNDECODABLE_BODY, Hint.DROP)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-python-serialize",
        "application/x-nope",
        "APPLICATION/JSON",
        "application/json; charset=utf-8",
    ],
)
def test_a_content_type_that_is_not_accepted_is_rejected(content_type: str) -> None:
    exc = refusal(v2(content_type=content_type))
    assert isinstance(exc, RefusedContentError)
    assert (exc.reason, exc.hint) == (Reason.REFUSED_CONTENT, Hint.REJECT)


def test_a_refused_content_type_is_dropped_when_the_body_was_needed_to_know_the_task() -> None:
    message = v1()
    refused = Message({}, Properties(content_type="application/x-python-serialize"), message.body)
    exc = refusal(refused)
    assert isinstance(exc, RefusedContentError)
    assert (exc.reason, exc.hint) == (Reason.REFUSED_CONTENT, Hint.DROP)


@pytest.mark.parametrize("content_type", [None, "application/data"])
def test_a_body_of_no_known_type_never_gets_further_than_an_error(content_type: str | None) -> None:
    with pytest.raises(RemoteProtocolError):
        decode(v2(content_type=content_type, content_encoding=None, raw=b"\x00\x01"), accept=JSON)


@pytest.mark.parametrize("content_encoding", [None, "nonsense"])
def test_json_does_not_care_for_the_content_encoding(content_encoding: str | None) -> None:
    assert run(v2(content_encoding=content_encoding)).args == (2, 3)


@pytest.mark.parametrize(
    "compression", ["application/x-nope", "application/x-gzip", 5, ["x"], True]
)
def test_a_compression_that_cannot_be_undone_drops_the_message(compression: object) -> None:
    exc = refusal(v2(compression=compression))
    assert isinstance(exc, UndecodableBodyError)
    assert exc.hint is Hint.DROP


@pytest.mark.parametrize("compression", ["", None, False, 0])
def test_a_falsy_compression_is_none(compression: object) -> None:
    task = run(v2(compression=compression))
    assert (task.args, task.headers.compression) == ((2, 3), None)


def test_a_body_that_explodes_is_refused_at_the_cap() -> None:
    content_type, raw = compress(b" " * 100_000, "gzip")
    with pytest.raises(TooLargeError) as caught:
        decode(
            v2(raw=raw, compression=content_type),
            accept=JSON,
            limits=Limits(decompressed_bytes=1000),
        )
    assert caught.value.reason is Reason.TOO_LARGE


def test_an_id_past_the_cap_is_refused() -> None:
    assert run(v2(id="x" * 4096)).headers.id == "x" * 4096
    for message, field in (
        (v2(id="x" * 4097), "headers['id']"),
        (v1(id="x" * 10**6), "body['id']"),
    ):
        exc = refusal(message)
        assert isinstance(exc, TooLargeError)
        assert (exc.field, exc.reason, exc.hint) == (field, Reason.TOO_LARGE, Hint.REJECT)


@pytest.mark.parametrize(
    ("given", "text"), [(5, "5"), (-1, "-1"), (1.5, "1.5"), (Decimal("2.50"), "2.50"), (0, "0")]
)
def test_an_id_that_is_a_number_counts_as_its_text(given: object, text: str) -> None:
    assert read(id=given).id == text


def read(**headers: Any) -> Any:
    return read_headers(v2(**headers))


@pytest.mark.parametrize(
    "timelimit",
    [None, [], [0, 0], [None, None], [0, None], ["", None], MISSING, "", 0, {}, (), [False, None]],
)
def test_limits_that_say_nothing_mean_the_tasks_own(timelimit: object) -> None:
    assert read(timelimit=timelimit).timelimit == TimeLimit(None, None)


@pytest.mark.parametrize(
    ("timelimit", "expected"),
    [
        ([60, 30], (60, 30)),
        ([1.5, 0.5], (1.5, 0.5)),
        (["60", "30.5"], (60, 30.5)),
        ([None, 3], (None, 3)),
        ([-1, -2], (-1, -2)),
        ((7, None), (7, None)),
        ([Decimal(2), None], (2, None)),
    ],
)
def test_limits_that_are_numbers_hold_hard_first(timelimit: object, expected: object) -> None:
    assert read(timelimit=timelimit).timelimit == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0, 0), (3, 3), (-1, -1), ("4", 4), ("x", 0), (None, 0), ([], 0), (2.9, 2),
        (float("inf"), 0), (float("nan"), 0), ("9" * 5000, 0), (Decimal("Infinity"), 0), (MISSING, 0),
    ],
)  # fmt: skip
def test_retries_and_nesting_are_integers_where_one_can_be_made(
    given: object, expected: int
) -> None:
    headers = read(retries=given, replaced_task_nesting=given)
    assert (headers.retries, headers.replaced_task_nesting) == (expected, expected)


def test_fields_of_odd_types_that_celery_runs_run_here() -> None:
    headers = read(
        group=1, root_id=2, parent_id=3, group_index="4", argsrepr=5, kwargsrepr=["x"],
        ignore_result="yes", shadow=5, origin=7, lang=["js"],
    )  # fmt: skip
    assert (headers.group, headers.root_id, headers.parent_id) == ("1", "2", "3")
    assert (headers.group_index, headers.argsrepr, headers.kwargsrepr) == (4, "5", "['x']")
    assert (headers.ignore_result, headers.shadow, headers.origin) == (True, "5", "7")
    assert headers.lang == "['js']"
    assert read(group_index="x").group_index is None
    assert read(shadow=0).shadow is None
    assert read(ignore_result=0).ignore_result is False


@pytest.mark.parametrize(
    ("stamped_headers", "expected"),
    [
        (None, None),
        ([], ()),
        ("name", ("name",)),
        ("", ()),
        (["a", "b"], ("a", "b")),
        (("a",), ("a",)),
    ],
)
def test_stamp_names_come_as_a_list_or_a_single_text(
    stamped_headers: object, expected: object
) -> None:
    assert read(stamped_headers=stamped_headers).stamped_headers == expected


@pytest.mark.parametrize("stamps", [None, {}, [], MISSING])
def test_no_stamps_may_be_written_in_several_ways(stamps: object) -> None:
    assert read(stamps=stamps).stamps == {}


@pytest.mark.parametrize("empty", [None, {}, []])
def test_an_empty_embed_may_be_written_in_several_ways(empty: object) -> None:
    assert run(v2([[2, 3], {}, empty])).embed == Embed()


def test_a_chord_without_a_group_is_looked_at_by_nobody() -> None:
    assert run(v2(embed(chord="garbage"))).embed.chord is None
    assert run(v2(embed(chord=SIG))).embed.chord == SIG


def test_an_amqp_timestamp_is_a_time() -> None:
    aware = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    for moment in (aware, aware.replace(tzinfo=None)):
        headers = read(eta=moment, expires=moment)
        assert (headers.eta, headers.eta_at) == ("2030-01-02T03:04:05+00:00", aware)
        assert (headers.expires, headers.expires_at) == ("2030-01-02T03:04:05+00:00", aware)


def test_a_naive_time_is_utc_and_its_text_is_kept() -> None:
    headers = read(eta="2030-01-02T03:04:05")
    assert headers.eta == "2030-01-02T03:04:05"
    assert headers.eta_at == datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_an_eta_at_the_end_of_time_is_still_a_time() -> None:
    assert read(eta="9999-12-31T23:59:59-12:00").eta_at is not None


def test_every_header_may_be_null_as_rusty_celery_writes_them() -> None:
    headers = read(
        lang=None, shadow=None, eta=None, expires=None, group=None, meth=None, parent_id=None,
        root_id=None, retries=None, timelimit=[None, None], argsrepr=None, kwargsrepr=None,
        origin=None, ignore_result=None, replaced_task_nesting=None, stamped_headers=None,
        stamps=None, group_index=None, compression=None,
    )  # fmt: skip
    assert (headers.lang, headers.retries, headers.stamps) == (None, 0, {})
    assert headers.custom == {"meth": None}


def test_unknown_headers_are_kept_in_wire_order_whatever_they_hold() -> None:
    death = [{"count": 1, "time": datetime(2030, 1, 1, tzinfo=UTC), "queue": "q"}]
    headers = read(zeta=1, **{"x-death": death}, args=[9], alpha={"b": [1]}, hostname="h")
    assert list(headers.custom.items()) == [
        ("zeta", 1), ("x-death", death), ("args", [9]), ("alpha", {"b": [1]}), ("hostname", "h"),
    ]  # fmt: skip


def test_the_minimum_message_runs() -> None:
    task = run(v2([["a"], {"k": 1}, {}]))
    assert (task.headers.task, task.headers.id) == ("t.add", "id-1")
    assert (task.args, task.kwargs, task.embed) == (("a",), {"k": 1}, Embed())


def test_unknown_embed_keys_are_kept() -> None:
    task = run(v2(embed(callbacks=None, retries=7, mine={"a": 1})))
    assert task.embed == Embed(extra={"retries": 7, "mine": {"a": 1}})


def test_the_last_step_of_a_chain_has_an_empty_chain() -> None:
    assert run(v2(embed(callbacks=None, errbacks=None, chain=[], chord=None))).embed.chain == []
