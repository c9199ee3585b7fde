"""Result documents and tuple forms: written as Celery 5.7 does, read from whoever wrote them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac_protocol.compression import compress
from celeriac_protocol.errors import RemoteProtocolError, TooLargeError, UndecodableBodyError
from celeriac_protocol.result import (
    EXCEPTION_STATES,
    PROPAGATE_STATES,
    READY_STATES,
    UNREADY_STATES,
    ResultMeta,
    ResultNode,
    State,
    precedence,
    read_result_tuple,
    result_tuple,
    unwrap_compressed,
    wrap_compressed,
)
from tests.protocol.sample_files import sample

DOCUMENTS: dict[str, str] = sample("result-documents")["documents"]
GROUP = DOCUMENTS.pop("saved group")
OLD_DATE = DOCUMENTS.pop("4.4 date style")


@pytest.mark.parametrize("text", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_captured_document_is_written_back_key_for_key(text: str) -> None:
    document = json.loads(text)
    meta = ResultMeta.from_dict(document)
    assert json.dumps(meta.to_dict()) == json.dumps(document)
    assert ResultMeta.from_dict(meta.to_dict()) == meta


def test_the_fields_of_an_extended_document_are_read() -> None:
    meta = ResultMeta.from_dict(
        json.loads(DOCUMENTS["result_extended, second run of a retried task"])
    )
    assert meta == ResultMeta(
        task_id="07d3990d-ac70-4a02-9348-7906e6878163",
        status=State.SUCCESS,
        result="ok after 1",
        children=[[["6633efdd-9cfa-48a5-bc8a-b33861c501d8", None], None]],
        date_done=datetime(2026, 11, 22, 16, 55, 59, 93222, UTC),
        parent_id="07d3990d-ac70-4a02-9348-7906e6878163",
        name="apptasks.retr",
        args=[],
        kwargs={"n": 1},
        worker="w1@host",
        retries=1,
        queue="celery",
        extended=True,
    )


def test_a_stored_group_is_a_tuple_form() -> None:
    node = read_result_tuple(json.loads(GROUP)["result"])
    assert node == ResultNode("<B>", None, (ResultNode("<A>"), ResultNode("<C>")))
    assert node.to_list() == json.loads(GROUP)["result"]


def test_a_naive_date_is_utc() -> None:
    meta = ResultMeta.from_dict(json.loads(OLD_DATE))
    assert meta.date_done == datetime(2026, 11, 22, 16, 53, 48, 416978, UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("2026-11-22T17:01:06+09:00", datetime(2026, 11, 22, 17, 1, 6, tzinfo=timezone(timedelta(hours=9)))),
        (datetime(2026, 1, 2, 3), datetime(2026, 1, 2, 3, tzinfo=UTC)),  # noqa: DTZ001 - naive on purpose
        (date(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC)),
        ("yesterday", "yesterday"),
        (5, "5"),
    ],
)  # fmt: skip
def test_dates_come_in_every_style(value: object, expected: object) -> None:
    document = {"status": "SUCCESS", "task_id": "1", "date_done": value}
    assert ResultMeta.from_dict(document).date_done == expected


def test_a_date_is_written_as_it_was_given() -> None:
    naive = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 - the style of Celery 5.4 and before
    meta = ResultMeta(task_id="1", status="SUCCESS", date_done=naive)
    assert meta.to_dict()["date_done"] == "2026-01-02T03:04:05"
    assert ResultMeta(task_id="1", status="SUCCESS", date_done="x").to_dict()["date_done"] == "x"


def test_the_minimum_document_and_unknown_keys_are_read() -> None:
    meta = ResultMeta.from_dict({"status": "SUCCESS", "result": 3, "task_id": "1", "x": 1})
    assert meta == ResultMeta(task_id="1", status="SUCCESS", result=3)


def test_an_id_missing_from_the_document_is_the_one_it_was_found_under() -> None:
    assert ResultMeta.from_dict({"status": "SUCCESS"}, task_id="key").task_id == "key"
    assert ResultMeta.from_dict({"status": "S", "task_id": 5}, task_id="key").task_id == "key"


def test_group_and_parent_are_written_only_when_known_and_before_the_extended_keys() -> None:
    meta = ResultMeta(
        task_id="1", status="SUCCESS", group_id="g", parent_id="p", extended=True,
        stamped_headers=("s", "status", "gone"), stamps={"s": "v", "status": "x", "other": 1},
    )  # fmt: skip
    assert list(meta.to_dict()) == [
        "status", "result", "traceback", "children", "date_done", "group_id", "parent_id",
        "name", "args", "kwargs", "worker", "retries", "queue", "stamped_headers", "s", "task_id",
    ]  # fmt: skip
    assert meta.to_dict()["status"] == "SUCCESS"
    assert ResultMeta.from_dict(meta.to_dict()).stamps == {"s": "v"}
    assert "name" not in ResultMeta(task_id="1", status="SUCCESS", name="t").to_dict()


def test_children_may_be_null() -> None:
    meta = ResultMeta.from_dict({"status": "REVOKED", "task_id": "1", "children": None})
    assert meta.children is None
    assert meta.to_dict()["children"] is None


def test_odd_types_of_what_nobody_decides_by_are_taken_as_text() -> None:
    meta = ResultMeta.from_dict(
        {
            "status": "SUCCESS",
            "task_id": "1",
            "traceback": 5,
            "worker": 6,
            "retries": "2",
            "queue": [],
        }
    )
    assert (meta.traceback, meta.worker, meta.retries, meta.queue) == ("5", "6", 2, "[]")


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (None, "result document"),
        ([], "result document"),
        ({}, "result['status']"),
        ({"status": None, "task_id": "1"}, "result['status']"),
        ({"status": "SUCCESS"}, "result['task_id']"),
        ({"status": "SUCCESS", "task_id": ""}, "result['task_id']"),
        ({"status": "SUCCESS", "task_id": "1", "children": "x"}, "result['children']"),
        ({"status": "SUCCESS", "task_id": "1", "stamped_headers": 5}, "result['stamped_headers']"),
    ],
)
def test_what_is_no_document_is_refused_by_field(document: object, field: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        ResultMeta.from_dict(document)
    assert caught.value.field == field


def test_the_states_form_the_documented_sets() -> None:
    assert {"SUCCESS", "FAILURE", "REVOKED"} == READY_STATES
    assert {"RETRY", "FAILURE", "REVOKED"} == EXCEPTION_STATES
    assert {"FAILURE", "REVOKED"} == PROPAGATE_STATES
    assert {"PENDING", "RECEIVED", "STARTED", "REJECTED", "RETRY"} == UNREADY_STATES
    order = ["SUCCESS", "FAILURE", "MINE", "REVOKED", "STARTED", "RECEIVED", "REJECTED", "RETRY"]
    assert [precedence(state) for state in [*order, "PENDING"]] == list(range(9))


CHAIN = [["B", [["C", [["A", None], None]], None]], None]
CHORD = [["body", [["gid", None], [[["h1", None], None], [["h2", None], None]]]], None]


@pytest.mark.parametrize("form", [[["C", None], None], CHAIN, CHORD, [["g", None], []]])
def test_a_tuple_form_is_written_back_as_it_was_read(form: Any) -> None:
    assert read_result_tuple(form).to_list() == form


def test_a_tuple_form_is_built_from_its_parts() -> None:
    first = result_tuple("A")
    assert result_tuple("B", result_tuple("C", first)) == CHAIN
    header = result_tuple("gid", None, [result_tuple("h1"), result_tuple("h2")])
    assert result_tuple("body", header) == CHORD


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("A", ResultNode("A")),
        (["A", None], ResultNode("A")),
        (("A", ("B", ["C", None])), ResultNode("A", None, (ResultNode("B"), ResultNode("C")))),
        ([["A", "P"], None], ResultNode("A", ResultNode("P"))),
    ],
)
def test_bare_ids_stand_for_forms(form: object, expected: ResultNode) -> None:
    assert read_result_tuple(form) == expected


def cyclic() -> list[Any]:
    form: list[Any] = [["A", None], None]
    form[0][1] = form
    return form


def its_own_child() -> list[Any]:
    form: list[Any] = [["A", None], []]
    form[1].append(form)
    return form


@pytest.mark.parametrize(
    "form",
    [None, 5, {}, [], ["A"], ["A", None, None], [[5, None], None], [["", None], None], [["A", 5], None],
     [["A", None], 5], [["A", None], "xy"], [["A", None], [None]], cyclic(), its_own_child()],
)  # fmt: skip
def test_what_is_no_tuple_form_is_refused(form: object) -> None:
    with pytest.raises(RemoteProtocolError):
        read_result_tuple(form)


def test_a_chain_of_thousands_is_a_line_of_parents() -> None:
    form: Any = None
    for number in range(20_000):
        form = result_tuple(str(number), form)
    node: ResultNode | None = read_result_tuple(form)
    seen = 0
    while node is not None:
        seen, node = seen + 1, node.parent
    assert seen == 20_000


@pytest.mark.parametrize("method", ["gzip", "zlib", "bzip2"])
def test_a_compressed_value_is_known_by_its_marker(method: str) -> None:
    stored = wrap_compressed(b'{"status": 1}', method)
    content_type, compressed = compress(b'{"status": 1}', method)
    assert stored == b"\x00celery-compressed\x00" + content_type.encode() + b"\x00" + compressed
    assert unwrap_compressed(stored) == b'{"status": 1}'


def test_a_value_without_marker_is_itself() -> None:
    assert unwrap_compressed(b'{"a": 1}') == b'{"a": 1}'
    assert unwrap_compressed(b"") == b""


@pytest.mark.parametrize(
    "stored",
    [
        b"\x00celery-compressed\x00",
        b"\x00celery-compressed\x00\x00data",
        b"\x00celery-compressed\x00application/x-nope\x00data",
        b"\x00celery-compressed\x00application/x-gzip\x00data",
        b"\x00celery-compressed\x00\xff\x00data",
    ],
)
def test_a_broken_compressed_value_is_undecodable(stored: bytes) -> None:
    with pytest.raises(UndecodableBodyError):
        unwrap_compressed(stored)


def test_a_compressed_value_is_undone_under_a_cap() -> None:
    with pytest.raises(TooLargeError):
        unwrap_compressed(wrap_compressed(b" " * 100_000, "gzip"), cap=1000)


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
KEYS = [
    "status", "result", "traceback", "children", "date_done", "task_id", "group_id", "parent_id",
    "name", "args", "kwargs", "worker", "retries", "queue", "stamped_headers",
]  # fmt: skip


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), odd) | odd)
def test_any_document_is_read_or_refused_and_what_was_read_is_stable(document: object) -> None:
    try:
        meta = ResultMeta.from_dict(document)
    except RemoteProtocolError as exc:
        assert exc.field.startswith("result")  # noqa: PT017 - either outcome is fine, no other is
    else:
        again = ResultMeta.from_dict(meta.to_dict())
        assert repr(again.to_dict()) == repr(meta.to_dict())


@given(odd)
def test_any_tuple_form_is_read_or_refused(form: object) -> None:
    try:
        node = read_result_tuple(form)
    except RemoteProtocolError as exc:
        assert exc.field == "result tuple"  # noqa: PT017 - either outcome is fine, no other is
    else:
        assert read_result_tuple(node.to_list()) == node
