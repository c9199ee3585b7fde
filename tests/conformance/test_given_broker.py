"""The cases aimed at a broker that somebody else runs: what is theirs stays as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from celeriac_conformance.broker_taps import AmqpTap, RawMessage
from celeriac_conformance.runtimes.base import CannotSetUpError
from celeriac_conformance.runtimes.given import GivenRabbit, GivenRedis, broker_kind
from celeriac_conformance.servers import RabbitServer, RedisServer
from tests.conformance.helpers import SuiteRun, run_suite
from tests.servers import started

pytestmark = pytest.mark.xdist_group("given-broker")

MATRIX = """
[[implementations]]
name = "celeriac"
library = "celeriac"
driver = "celeriac_conformance.drivers.celery_driver"

[[carriers]]
name = "redis"
broker = "redis"
backend = "redis"
features = ["chords", "stored-results", "redis-results", "group-results"]

[[carriers]]
name = "rabbitmq"
broker = "rabbitmq"
backend = "rpc"
features = ["rpc-results"]

[[carriers]]
name = "rabbitmq-redis"
broker = "rabbitmq"
backend = "redis"
features = ["stored-results"]

[[cells]]
producers = ["celeriac"]
workers = ["celeriac"]
carriers = ["redis", "rabbitmq", "rabbitmq-redis"]
"""
CASES = (
    "test_a_call_with_positional_arguments_returns_its_value",
    "test_a_late_message_is_acknowledged_after_its_task_ran",
)
PASSED = {"calls/positional-arguments": "passed", "acks/late": "passed"}


def suite(folder: Path, url: str, *options: str) -> SuiteRun:
    """Aim two cases at a broker."""
    return run_suite(folder, MATRIX, CASES, "--broker-url", url, "--patience", "10", *options)


@pytest.fixture(scope="module")
def their_redis() -> Iterator[RedisServer]:
    """A server that the suite did not start, with something in its first database."""
    server = RedisServer()
    started(server)
    with redis.Redis.from_url(server.url(0)) as client:
        client.set("theirs", "kept")
    yield server
    server.stop()


def contents(server: RedisServer) -> dict[str, object]:
    """Return which databases hold how many keys."""
    with redis.Redis.from_url(server.url(0)) as client:
        found: dict[str, object] = client.info("keyspace")
        assert client.get("theirs") == b"kept"
    return found


def test_a_given_redis_is_used_and_left_as_it_was(their_redis: RedisServer, tmp_path: Path) -> None:
    before = set(contents(their_redis))
    found = suite(tmp_path, f"redis://127.0.0.1:{their_redis.port}")
    assert found.of("celeriac.to.celeriac-redis") == PASSED, found.output
    assert {cell for cell, _ in found.outcomes} == {"celeriac.to.celeriac-redis"}
    assert set(contents(their_redis)) == before


def test_a_database_that_is_not_empty_is_refused(their_redis: RedisServer, tmp_path: Path) -> None:
    found = suite(tmp_path, their_redis.url(0))
    assert set(found.of("celeriac.to.celeriac-redis").values()) == {"error"}
    assert "no empty database among 0" in found.output
    contents(their_redis)


def test_a_database_is_flushed_only_when_named_and_allowed(their_redis: RedisServer) -> None:
    with redis.Redis.from_url(their_redis.url(5)) as client:
        client.set("old", "1")
        place = GivenRedis(their_redis.url(5), may_flush=False)
        with pytest.raises(CannotSetUpError, match="--allow-flush"):
            place.take()
        assert client.get("old") == b"1"
        place = GivenRedis(their_redis.url(5), may_flush=True)
        assert place.take() == their_redis.url(5)
        assert client.get("old") is None
        place.give_back()
    contents(their_redis)


def test_two_runs_never_take_the_same_database(their_redis: RedisServer) -> None:
    url = f"redis://127.0.0.1:{their_redis.port}"
    places = [GivenRedis(url, may_flush=False) for _ in range(3)]
    assert len({place.take() for place in places}) == 3
    for place in places:
        place.give_back()


@pytest.fixture(scope="module")
def their_rabbit() -> Iterator[RabbitServer]:
    """A node that the suite did not start, with its management plugin on."""
    server = RabbitServer(with_management=True)
    started(server)
    server.control("add_user", "tester", "secret")
    server.control("set_permissions", "-p", "/", "tester", ".*", ".*", ".*")
    yield server
    server.stop()


def amqp_url(server: RabbitServer) -> str:
    """Return a URL whose user the management plugin lets in nowhere."""
    return server.url("/").replace("guest:guest", "tester:secret")


def test_without_management_what_cannot_be_counted_is_unsupported(
    their_rabbit: RabbitServer, tmp_path: Path
) -> None:
    found = suite(tmp_path, amqp_url(their_rabbit))
    assert found.of("celeriac.to.celeriac-rabbitmq") == {
        "calls/positional-arguments": "passed",
        "acks/late": "unsupported",
    }, found.output
    assert {cell for cell, _ in found.outcomes} == {"celeriac.to.celeriac-rabbitmq"}
    assert "held messages are counted by the management plugin" in found.output
    assert their_rabbit.control("list_queues", "name").split() == []
    exchanges = their_rabbit.control("list_exchanges", "name").split()
    assert [name for name in exchanges if not name.startswith("amq.")] == ["name"]


def test_with_management_every_cell_has_a_virtual_host_of_its_own(
    their_rabbit: RabbitServer, their_redis: RedisServer, tmp_path: Path
) -> None:
    options = ["--management-url", their_rabbit.management_url]
    options += ["--backend-url", f"redis://127.0.0.1:{their_redis.port}"]
    found = suite(tmp_path, their_rabbit.url("/"), *options)
    assert found.of("celeriac.to.celeriac-rabbitmq") == PASSED, found.output
    assert found.of("celeriac.to.celeriac-rabbitmq-redis") == PASSED, found.output
    vhosts = their_rabbit.control("list_vhosts").split()
    assert [name for name in vhosts if name.startswith("celeriac-conformance")] == []
    contents(their_redis)


def test_two_runs_never_share_a_virtual_host(their_rabbit: RabbitServer) -> None:
    url = their_rabbit.add_vhost("shared")
    first = GivenRabbit(url, None, may_flush=False)
    first.take().close()
    with pytest.raises(CannotSetUpError, match="another run"):
        GivenRabbit(url, None, may_flush=False).take()
    first.give_back()
    second = GivenRabbit(url, None, may_flush=False)
    second.take().close()
    second.give_back()


def test_queues_in_the_way_are_deleted_only_where_that_is_allowed(
    their_rabbit: RabbitServer,
) -> None:
    url = their_rabbit.add_vhost("theirs")
    theirs = AmqpTap(url, lambda queue: 0)
    for name in ("celery", "elsewhere"):
        theirs.channel.queue_declare(name, durable=True, auto_delete=False)
    theirs.push("celery", RawMessage(body=b"{}"))
    with pytest.raises(CannotSetUpError, match="has queues celery already"):
        GivenRabbit(url, None, may_flush=False).take()
    assert theirs.ready("celery") == 1
    place = GivenRabbit(url, None, may_flush=True)
    place.take().close()
    place.give_back()
    theirs.close()
    listed = their_rabbit.control("list_queues", "-p", "theirs", "name").split()
    assert listed == ["name", "elsewhere"]


def test_only_redis_and_amqp_are_brokers() -> None:
    assert [broker_kind(url) for url in ("rediss://host", "amqps://host/")] == ["redis", "rabbitmq"]
    with pytest.raises(ValueError, match="sqs"):
        broker_kind("sqs://")


@pytest.mark.parametrize(
    "options",
    [
        ["--backend-url", "redis://127.0.0.1"],
        ["--broker-url", "sqs://"],
        ["--broker-url", "redis://127.0.0.1", "--runtime", "docker"],
        ["--broker-url", "amqp://127.0.0.1:1", "--management-url", "http://127.0.0.1:1"],
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: list[str]) -> None:
    found = run_suite(tmp_path, MATRIX, ["nothing"], *options)
    assert found.status == pytest.ExitCode.USAGE_ERROR
    assert "--broker-url" in found.output
