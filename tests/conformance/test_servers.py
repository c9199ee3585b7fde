"""The server fixtures: real servers, gone afterwards."""

from __future__ import annotations

import os
import shutil
from typing import Any

import kombu.connection
import pytest
import redis

from celeriac_conformance.servers import MissingServerError, RabbitServer, RedisServer


def test_redis_url_names_a_server_that_answers(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping() is True


def test_rabbitmq_url_names_a_node_that_opens_a_channel(rabbitmq_url: str) -> None:
    connect: Any = kombu.connection.Connection
    with connect(rabbitmq_url) as connection:
        assert connection.default_channel.queue_declare("probe", auto_delete=True).queue == "probe"


def test_a_stopped_server_leaves_neither_process_nor_folder() -> None:
    with RedisServer() as server:
        pid, folder = server.processes[0].pid, server.folder
        assert folder.is_dir()
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_missing_program_is_reported_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(MissingServerError, match="redis-server is not installed"):
        RedisServer().start()


def test_each_rabbit_node_has_ports_of_its_own() -> None:
    first, second = RabbitServer(), RabbitServer()
    try:
        assert first.port != second.port
        assert first.url("cell") == f"amqp://guest:guest@127.0.0.1:{first.port}/cell"
    finally:
        first.stop()
        second.stop()
