"""Remote control: captured exchanges written back key for key, selection of nodes, and odd requests."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac_protocol.control import (
    ALIASES,
    COMMANDS,
    Command,
    Reply,
    ReplyTo,
    decode_command,
    decode_reply,
    encode_command,
    encode_reply,
    error,
    ok,
    read_revoked,
    resolve,
)
from celeriac_protocol.errors import RefusedContentError, RemoteProtocolError
from celeriac_protocol.message import Message, Properties
from celeriac_protocol.serializers import accept_set
from tests.protocol.sample_files import from_envelope, sample

JSON = accept_set(["json"])
AMQP = sample("control-amqp")
REDIS = sample("control-redis")


def test_a_captured_request_is_written_back_key_for_key() -> None:
    command = Command.from_dict(json.loads(AMQP["request"]), AMQP["request_headers"])
    assert command == Command(
        method="active",
        arguments={"safe": None},
        ticket="e800eb64-a61f-43a0-a35a-8f7f4bdd7329",
        reply_to=ReplyTo("reply.celery.pidbox", "7ef8716b-4605-3157-8b07-616e753da785"),
        clock=1,
        expires=1795365903.564831,
    )
    message = encode_command(command)
    assert message.body == AMQP["request"].encode()
    assert json.dumps(dict(message.headers)) == json.dumps(AMQP["request_headers"])
    assert message.properties == Properties(
        content_type="application/json", content_encoding="utf-8", delivery_mode=2, priority=0
    )


def test_a_captured_reply_is_written_back_key_for_key() -> None:
    reply = Reply.from_dict(json.loads(AMQP["reply"]), AMQP["reply_headers"])
    assert (reply.node, reply.ticket, reply.clock) == (
        "w1@vm", "e800eb64-a61f-43a0-a35a-8f7f4bdd7329", 3,
    )  # fmt: skip
    message = encode_reply(reply)
    assert message.body == AMQP["reply"].encode()
    assert json.dumps(dict(message.headers)) == json.dumps(AMQP["reply_headers"])
    assert message.properties.delivery_mode == 1


def test_a_ping_over_redis_goes_both_ways() -> None:
    request = from_envelope(REDIS["request"])
    command = decode_command(request, accept=JSON)
    assert (command.method, command.arguments, command.destination) == ("ping", {}, ("w1@vm",))
    assert encode_command(command) == Message(request.headers, request.properties, request.body)

    answer = from_envelope(REDIS["reply"])
    reply = decode_reply(answer, accept=JSON)
    assert (reply.node, reply.value, reply.ticket) == ("w1@vm", ok("pong"), command.ticket)
    assert encode_reply(reply) == Message(answer.headers, answer.properties, answer.body)


def test_mingle_is_read_from_both_generations() -> None:
    hello = Command.from_dict(json.loads(AMQP["hello"]))
    assert hello.arguments == {"from_node": "wc@vm", "revoked": []}
    assert json.dumps(hello.to_dict()) == AMQP["hello"]
    reply = Reply.from_dict(json.loads(AMQP["hello_reply_of_celery_5_6"]))
    assert isinstance(reply.value, dict)
    assert read_revoked(reply.value["revoked"]) == ("r2", "r1")
    assert read_revoked(["a", "b"]) == ("a", "b")
    assert read_revoked(None) == ()
    for value in ("abc", 5, [1]):
        with pytest.raises(RemoteProtocolError):
            read_revoked(value)


def test_without_reply_to_nothing_of_the_reply_is_written() -> None:
    assert list(Command(method="shutdown").to_dict()) == [
        "method", "arguments", "destination", "pattern", "matcher",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "meant"),
    [
        ({}, True),
        ({"destination": None}, True),
        ({"destination": []}, True),
        ({"destination": ["w1@h", "w2@h"]}, True),
        ({"destination": ["w2@h"]}, False),
        ({"destination": "w1@h"}, True),
        ({"destination": "w1@h and more"}, False),
        ({"pattern": "w2*"}, True),
        ({"matcher": "glob"}, True),
        ({"pattern": "w1@*", "matcher": "glob"}, True),
        ({"pattern": "W1@*", "matcher": "glob"}, False),
        ({"pattern": "1@", "matcher": "glob"}, False),
        ({"pattern": "w\\d@", "matcher": "pcre"}, True),
        ({"pattern": "\\d@", "matcher": "pcre"}, False),
        ({"pattern": "x", "matcher": "glob", "destination": ["w1@h"]}, True),
    ],
)
def test_a_request_selects_its_nodes(keys: dict[str, Any], meant: bool) -> None:
    assert Command.from_dict({"method": "ping", **keys}).is_for("w1@h") is meant


@pytest.mark.parametrize(
    ("pattern", "matcher", "field"),
    [
        ("w*", "nope", "body['matcher']"),
        ("(", "pcre", "body['pattern']"),
        ("(" * 1000, "pcre", "body['pattern']"),
        ("w" * 1025, "glob", "body['pattern']"),
    ],
)
def test_a_selection_nobody_can_make_is_refused(pattern: str, matcher: str, field: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        Command(method="ping", pattern=pattern, matcher=matcher).is_for("w1@h")
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        (None, "body"),
        ({}, "body['method']"),
        ({"method": None}, "body['method']"),
        ({"method": ["ping"]}, "body['method']"),
        ({"method": "ping", "arguments": [1]}, "body['arguments']"),
        ({"method": "ping", "arguments": "x"}, "body['arguments']"),
        ({"method": "ping", "arguments": {1: 2}}, "body['arguments']"),
        ({"method": "ping", "destination": 5}, "body['destination']"),
        ({"method": "ping", "destination": [5]}, "body['destination']"),
        ({"method": "ping", "pattern": 5}, "body['pattern']"),
        ({"method": "ping", "ticket": {}}, "body['ticket']"),
        ({"method": "ping", "reply_to": "q"}, "body['reply_to']"),
        ({"method": "ping", "reply_to": {"exchange": "e"}}, "body['reply_to']"),
    ],
)
def test_a_broken_request_is_refused_by_field(body: object, field: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        Command.from_dict(body)
    assert caught.value.field == field


@pytest.mark.parametrize("arguments", [None, {}, [], ""])
def test_no_arguments_may_be_written_in_several_ways(arguments: object) -> None:
    assert Command.from_dict({"method": "ping", "arguments": arguments}).arguments == {}


def test_no_headers_and_odd_headers_work() -> None:
    assert Command.from_dict({"method": "ping"}, None).clock is None
    command = Command.from_dict({"method": "ping", "x": 1}, {"clock": "5", "expires": None})
    assert (command.clock, command.expires) == (None, None)


def test_a_reply_has_its_ticket_header_even_when_null() -> None:
    assert Reply(node="w@h", value=None).headers() == {"ticket": None, "clock": None}
    assert Reply(node="w@h", value=None).to_dict() == {"w@h": None}
    assert Reply(node="w@h", value=1, expires=5.0).headers()["expires"] == 5.0


@pytest.mark.parametrize("body", [None, [], {}, {"a": 1, "b": 2}, {5: 1}, "x"])
def test_a_body_that_is_no_reply_is_refused(body: object) -> None:
    with pytest.raises(RemoteProtocolError):
        Reply.from_dict(body)


def test_content_types_that_are_not_accepted_are_refused() -> None:
    message = Message({}, Properties(content_type="application/x-python-serialize"), b"x")
    with pytest.raises(RefusedContentError):
        decode_command(message, accept=JSON)
    with pytest.raises(RefusedContentError):
        decode_reply(message, accept=JSON)


def test_the_two_usual_shapes_of_a_reply() -> None:
    assert ok("pong") == {"ok": "pong"}
    assert error("unknown task") == {"error": "unknown task"}
    assert error(KeyError("nosuch")) == {"error": "KeyError('nosuch')"}


def test_the_table_has_every_command() -> None:
    inspect = {name for name, command in COMMANDS.items() if command.kind == "inspect"}
    assert inspect == {
        "ping", "active", "reserved", "scheduled", "query_task", "revoked", "registered", "stats",
        "conf", "report", "active_queues", "clock", "memsample", "memdump", "objgraph", "hello",
    }  # fmt: skip
    assert set(COMMANDS) - inspect == {
        "revoke", "terminate", "revoke_by_stamped_headers", "rate_limit", "time_limit",
        "enable_events", "disable_events", "heartbeat", "pool_grow", "pool_shrink", "autoscale",
        "pool_restart", "add_consumer", "cancel_consumer", "election", "shutdown",
    }  # fmt: skip
    assert [name for name, command in COMMANDS.items() if command.hidden] == ["hello", "election"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("conf", ["with_defaults"]),
        ("query_task", ["ids"]),
        ("registered", ["taskinfoitems"]),
        ("memdump", ["samples"]),
        ("objgraph", ["type", "num", "max_depth"]),
        ("revoke", ["task_id"]),
        ("terminate", ["signal", "task_id"]),
        ("revoke_by_stamped_headers", ["headers"]),
        ("rate_limit", ["task_name", "rate_limit"]),
        ("time_limit", ["task_name", "soft", "hard"]),
        ("pool_grow", ["n"]),
        ("pool_shrink", ["n"]),
        ("autoscale", ["max", "min"]),
        ("add_consumer", ["queue", "exchange", "exchange_type", "routing_key"]),
        ("cancel_consumer", ["queue"]),
        ("active", []),
        ("pool_restart", []),
    ],
)
def test_the_words_of_a_command_line_become_these_arguments(name: str, words: list[str]) -> None:
    assert [each.name for each in COMMANDS[name].arguments if each.positional] == words


def test_aliases_lead_to_inspect_commands() -> None:
    assert {ALIASES[name] for name in ALIASES} <= set(COMMANDS)
    command = resolve("dump_schedule")
    assert command is not None
    assert (command.name, command.kind) == ("scheduled", "inspect")
    assert resolve("ping") is COMMANDS["ping"]
    assert resolve("nosuch") is None


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["arguments", "destination", "pattern", "matcher", "ticket", "reply_to"]


@given(
    st.fixed_dictionaries({"method": st.just("ping") | odd}, optional=dict.fromkeys(KEYS, odd))
    | odd,
    st.dictionaries(st.sampled_from(["clock", "expires", "ticket"]), odd),
)
def test_any_request_is_read_or_refused_and_what_was_read_is_stable(
    body: object, headers: dict[str, object]
) -> None:
    for command in read(body, headers):
        assert Command.from_dict(command.to_dict(), command.headers()).method == command.method


def read(body: object, headers: dict[str, object]) -> list[Command]:
    try:
        command = Command.from_dict(body, headers)
        command.is_for("w@h")
    except RemoteProtocolError:
        return []
    return [command]


@given(odd, st.dictionaries(st.sampled_from(["clock", "expires", "ticket"]), odd))
def test_any_reply_is_read_or_refused(body: object, headers: dict[str, object]) -> None:
    try:
        reply = Reply.from_dict(body, headers)
    except RemoteProtocolError as exc:
        field = exc.field
    else:
        field = "body"
        assert reply.to_dict() == body or "nan" in repr(body)
    assert field == "body"
