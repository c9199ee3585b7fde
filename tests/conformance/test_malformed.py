"""The table of malformed messages is big enough, sound, and filled in anew for each sending."""

from __future__ import annotations

import json

import pytest

from celeriac_conformance.malformed import CORPUS, corpus
from celeriac_conformance.malformed.entry import ID, MARKER


@pytest.mark.parametrize("kind", ["redis", "amqp"])
def test_each_broker_carries_at_least_a_hundred(kind: str) -> None:
    assert sum(kind in entry.kinds for entry in CORPUS.values()) >= 100


def test_names_are_unique() -> None:
    assert len(list(corpus())) == len(CORPUS)


def test_every_entry_says_how_it_may_end() -> None:
    for entry in CORPUS.values():
        assert entry.allowed
        assert entry.allowed <= {"run", "failed", "refused", "held"}


def test_no_placeholder_is_left_in_a_message() -> None:
    for entry in CORPUS.values():
        raw = entry.raw_envelope("an-id", "a-marker")
        message = entry.message("an-id", "a-marker")
        text = (
            str(message.headers) + str(message.properties) + (raw or message.body).decode("latin-1")
        )
        assert ID not in text
        assert MARKER not in text


def test_envelopes_go_to_redis_only() -> None:
    assert all(entry.kinds == {"redis"} for entry in CORPUS.values() if entry.envelope is not None)


def test_the_good_message_behind_the_table_is_good() -> None:
    message = CORPUS["embed-empty-list"].message("an-id", "a-marker")
    assert message.headers == {
        "lang": "py",
        "task": "collect",
        "id": "an-id",
        "timelimit": [None, None],
    }
    assert json.loads(message.body) == [["a-marker"], {}, []]
