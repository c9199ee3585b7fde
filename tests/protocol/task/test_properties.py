"""For any legal call, decode undoes encode; for anything at all, decode answers or raises one kind of error."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from celeriac_protocol.errors import RemoteProtocolError
from celeriac_protocol.message import Message, Properties
from celeriac_protocol.serializers import accept_set
from celeriac_protocol.task import (
    DEFAULT_LIMITS,
    STANDARD_HEADERS,
    Embed,
    TaskHeaders,
    TaskMessage,
    TimeLimit,
    decode,
    encode,
    v2,
)
from celeriac_protocol.task.embed import EMBED_KEYS

JSON = accept_set(["json"])
SAFE = accept_set(["json", "yaml", "msgpack"])

names = st.text(min_size=1, max_size=20)
# NaN differs from itself; a mapping of `__type__` and `__value__` alone is converted on reading, as it must be.
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
keys = st.text(max_size=10).filter(lambda key: not key.startswith("__"))
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
moments = st.datetimes(timezones=st.just(UTC))
limits = st.none() | st.integers(min_value=1, max_value=10**9) | st.floats(0.001, 10**9)


@st.composite
def signatures(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "task": draw(names),
        "args": draw(st.lists(values, max_size=2)),
        "kwargs": draw(st.dictionaries(keys, values, max_size=2)),
        "options": draw(st.fixed_dictionaries({}, optional={"task_id": names, "queue": names})),
        "subtask_type": None,
        "immutable": draw(st.booleans()),
    }


embeds = st.builds(
    Embed,
    callbacks=st.none() | st.lists(signatures(), max_size=2),
    errbacks=st.none() | st.lists(signatures(), max_size=2),
    chain=st.none() | st.lists(signatures(), max_size=2),
    chord=st.none() | signatures(),
    extra=st.dictionaries(keys.filter(lambda key: key not in EMBED_KEYS), values, max_size=2),
)


@st.composite
def headers(draw: st.DrawFn) -> TaskHeaders:
    eta, expires = draw(st.none() | moments), draw(st.none() | moments)
    stamped = draw(st.none() | st.lists(names, max_size=2).map(tuple))
    return TaskHeaders(
        task=draw(names),
        id=draw(names),
        lang=draw(st.none() | st.sampled_from(["py", "js"])),
        shadow=draw(st.none() | st.text()),
        eta=eta.isoformat() if eta else None,
        eta_at=eta,
        expires=expires.isoformat() if expires else None,
        expires_at=expires,
        group=draw(st.none() | names),
        group_index=draw(st.none() | st.integers()),
        retries=draw(st.integers(0)),
        timelimit=TimeLimit(draw(limits), draw(limits)),
        root_id=draw(st.none() | names),
        parent_id=draw(st.none() | names),
        argsrepr=draw(st.none() | st.text()),
        kwargsrepr=draw(st.none() | st.text()),
        origin=draw(st.none() | names),
        ignore_result=draw(st.none() | st.booleans()),
        replaced_task_nesting=draw(st.integers(0)),
        stamped_headers=stamped,
        stamps={name: draw(values) for name in stamped or ()},
        compression=draw(st.none() | st.sampled_from(["application/x-gzip", "application/x-bz2"])),
        custom=draw(
            st.dictionaries(
                keys.filter(lambda key: key not in {*STANDARD_HEADERS, "compression"}), values,
                max_size=3,
            )
        ),
    )  # fmt: skip


def properties(**content: str) -> st.SearchStrategy[Properties]:
    return st.builds(
        Properties,
        content_type=st.just("application/json"),
        content_encoding=st.just("utf-8"),
        correlation_id=st.none() | names,
        reply_to=st.none() | names,
        priority=st.none() | st.integers(0, 255),
        extra=st.dictionaries(keys, values, max_size=2),
    )


calls = st.builds(
    TaskMessage,
    headers=headers(),
    args=st.lists(values, max_size=3).map(tuple),
    kwargs=st.dictionaries(keys, values, max_size=3),
    embed=embeds,
    properties=properties(),
)


@given(calls)
def test_decode_undoes_encode(task: TaskMessage) -> None:
    assert decode(encode(task), accept=JSON) == task


@given(calls)
def test_encode_undoes_decode(task: TaskMessage) -> None:
    message = encode(task)
    assert encode(decode(message, accept=JSON)) == message


@given(headers(), embeds, st.booleans(), st.lists(values, max_size=3))
def test_decode_undoes_encode_for_what_protocol_1_carries(
    full: TaskHeaders, embed: Embed, utc: bool, args: list[object]
) -> None:
    task = TaskMessage(
        headers=TaskHeaders(
            task=full.task, id=full.id, lang=None, eta=full.eta, eta_at=full.eta_at,
            expires=full.expires, expires_at=full.expires_at, group=full.group,
            group_index=full.group_index, retries=full.retries, timelimit=full.timelimit,
            compression=full.compression, custom=full.custom,
        ),
        args=args,
        embed=Embed(callbacks=embed.callbacks, errbacks=embed.errbacks, chord=embed.chord),
        version=1,
        utc=utc,
        properties=Properties(content_type="application/json", content_encoding="utf-8"),
    )  # fmt: skip
    assert decode(encode(task), accept=JSON) == task


odd = st.one_of(
    scalars,
    st.floats(),
    st.binary(max_size=10),
    st.datetimes(),
    st.decimals(),
    st.lists(scalars, max_size=3),
    st.tuples(scalars, scalars),
    st.dictionaries(st.text(max_size=5), scalars, max_size=2),
)
odd_tables = st.dictionaries(
    st.sampled_from([*STANDARD_HEADERS, "compression", "meth"]) | st.text(max_size=5), odd
)
odd_bodies = st.binary(max_size=200) | st.builds(lambda task: encode(task).body, calls)
odd_content = st.sampled_from(
    ["application/json", "application/x-yaml", "application/x-msgpack", "application/data", "text/plain", None]
) | st.text(max_size=10)  # fmt: skip


def answer(message: Message) -> TaskMessage | RemoteProtocolError:
    try:
        return decode(message, accept=SAFE)
    except RemoteProtocolError as exc:
        return exc


def answered(message: Message) -> None:
    found = answer(message)
    if isinstance(found, RemoteProtocolError):
        assert str(found).startswith(f"{found.field}: expected ")
        assert found.hint in ("reject", "drop")
    else:
        assert found.headers.task
        assert found.headers.id


@given(odd_tables, odd_bodies, odd_content, st.none() | st.text(max_size=10))
def test_any_headers_over_any_bytes_give_a_call_or_a_remote_error(
    table: dict[str, object], body: bytes, content_type: str | None, encoding: str | None
) -> None:
    answered(Message(table, Properties(content_type=content_type, content_encoding=encoding), body))


@given(odd_tables)
def test_any_headers_over_a_good_body_give_a_call_or_a_remote_error(
    table: dict[str, object],
) -> None:
    good = Properties(content_type="application/json", content_encoding="utf-8")
    answered(Message({"task": "t", "id": "1", **table}, good, b"[[], {}, {}]"))
    answered(Message(table, good, b'{"task": "t", "id": "1", "args": []}'))


@given(calls, st.data())
def test_a_good_message_with_one_odd_header_gives_a_call_or_a_remote_error(
    task: TaskMessage, data: st.DataObject
) -> None:
    message = encode(task)
    name = data.draw(st.sampled_from(list(message.headers)))
    answered(Message({**message.headers, name: data.draw(odd)}, message.properties, message.body))


@given(st.lists(odd, max_size=4) | odd)
def test_any_decoded_body_gives_a_call_or_a_remote_error(payload: object) -> None:
    message = Message({"task": "t", "id": "1"}, Properties(), b"")
    try:
        task = v2.read_payload(payload, message, TaskHeaders(task="t", id="1"), DEFAULT_LIMITS)
    except RemoteProtocolError as exc:
        field = exc.field
    else:
        field = "body"
        assert isinstance(task.args, tuple)
    assert field.startswith(("body", "headers"))
