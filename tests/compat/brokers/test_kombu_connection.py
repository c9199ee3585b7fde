"""Making a connection: what is shown of it, and what its failure looks like."""

from __future__ import annotations

import logging

import pytest

from celeriac.brokers.base import BrokerLostError
from celeriac.brokers.kombu import KombuBroker


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "amqp://guest@127.0.0.1:1//"])
def test_a_broker_that_is_away_is_one_line_and_no_surprise(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = KombuBroker(url, connect_timeout_s=1.0)
    with pytest.raises(BrokerLostError, match="refused"):
        broker.connect()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_guarded_transport_is_shown_under_the_scheme_of_its_url() -> None:
    broker = KombuBroker("memory://")
    broker.connect()
    try:
        assert broker.display_url == "memory://localhost//"
    finally:
        broker.disconnect()
