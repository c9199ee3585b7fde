"""Envelopes: legal ones give back the message, broken ones name the field, and anything is read or refused."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from celeriac_protocol.errors import BrokenEnvelopeError
from celeriac_protocol.message import DeliveryInfo, Message
from celeriac_protocol.strategies import (
    BrokenEnvelope,
    broken_envelopes,
    messages,
    mutated_envelopes,
)
from celeriac_protocol.virtual import Envelope, read_envelope, write_envelope


def opened(raw: bytes) -> Envelope | BrokenEnvelopeError:
    try:
        return read_envelope(raw, queue="celery")
    except BrokenEnvelopeError as error:
        return error


@given(messages())
def test_a_message_comes_out_of_its_envelope_unchanged(message: Message) -> None:
    addressed = replace(message, delivery_info=DeliveryInfo(routing_key="celery", queue="celery"))
    envelope = opened(write_envelope(addressed, delivery_tag="tag").encode())
    assert isinstance(envelope, Envelope)
    assert envelope.delivery_tag == "tag"
    priority = message.properties.priority or 0
    properties = replace(message.properties, priority=priority)
    assert envelope.message == replace(addressed, properties=properties)


@given(broken_envelopes())
def test_one_fault_is_named_exactly(broken: BrokenEnvelope) -> None:
    error = opened(broken.raw)
    assert isinstance(error, BrokenEnvelopeError), broken.label
    assert error.field == broken.field, broken.label


@given(mutated_envelopes())
def test_a_mutated_envelope_is_read_or_refused(raw: bytes) -> None:
    assert isinstance(opened(raw), Envelope | BrokenEnvelopeError)


@given(st.binary())
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    assert isinstance(opened(raw), Envelope | BrokenEnvelopeError)
