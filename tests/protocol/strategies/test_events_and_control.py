"""Events, commands and replies: one trip over the wire changes nothing, and anything else is refused."""

from __future__ import annotations

from hypothesis import given

from celeriac_protocol.control import (
    COMMANDS,
    Command,
    Reply,
    decode_command,
    decode_reply,
    encode_command,
    encode_reply,
)
from celeriac_protocol.errors import RemoteProtocolError
from celeriac_protocol.events import EVENT_TYPES, Event, decode_events, encode_event
from celeriac_protocol.serializers import accept_set
from celeriac_protocol.strategies import commands, events, json_values, replies

JSON = accept_set(["json"])


@given(events())
def test_an_event_is_read_as_it_was_written(event: Event) -> None:
    assert event.type in EVENT_TYPES
    assert decode_events(encode_event(event), accept=JSON) == ((event,), ())


@given(commands())
def test_a_command_is_read_as_it_was_written(command: Command) -> None:
    assert command.method in COMMANDS
    assert decode_command(encode_command(command), accept=JSON) == command


@given(replies())
def test_a_reply_is_read_as_it_was_written(reply: Reply) -> None:
    assert decode_reply(encode_reply(reply), accept=JSON) == reply


@given(json_values())
def test_any_value_is_read_or_refused(value: object) -> None:
    for read in (Event.from_dict, Command.from_dict, Reply.from_dict):
        try:
            found: object = read(value)
        except RemoteProtocolError as error:
            found = error
        assert isinstance(found, Event | Command | Reply | RemoteProtocolError)
