"""Servers for tests that need one: our own process, on a free port, started on first use."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from celeriac_conformance.servers import MissingServerError, RabbitServer, RedisServer, Server

__all__ = ["rabbitmq_url", "redis_url", "started"]


def started(server: Server) -> Server:
    """Start `server`; where its program is missing, skip at home and fail in CI."""
    try:
        return server.start()
    except MissingServerError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """URL of database 0 of a redis-server that belongs to this test process."""
    server = RedisServer()
    started(server)
    yield server.url()
    server.stop()


@pytest.fixture(scope="session")
def rabbitmq_url() -> Iterator[str]:
    """URL of the default virtual host of a RabbitMQ node that belongs to this test process."""
    server = RabbitServer()
    started(server)
    yield server.url()
    server.stop()
