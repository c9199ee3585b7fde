"""The pool of publishing connections."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from celeriac.brokers.kombu_publisher import _pauses
from tests.compat.brokers.conftest import Site
from tests.compat.brokers.driving import a_message, a_queue, ids, receive, send, tags


@pytest.fixture(params=["redis", "rabbitmq", "filesystem", "sqlite"])
def site(request: pytest.FixtureRequest, make_site: Callable[[str], Site]) -> Site:
    return make_site(request.param)


def test_many_threads_share_few_connections(site: Site) -> None:
    queue = a_queue()
    publisher = site.publisher(pool_limit=2)
    send(publisher, queue, 100)
    errors: list[BaseException] = []

    def work(first: int) -> None:
        try:
            send(publisher, queue, *range(first, first + 5))
        except BaseException as exc:  # noqa: BLE001 - reported below
            errors.append(exc)

    threads = [threading.Thread(target=work, args=(n * 5,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    broker = site.consuming(queue, prefetch=0)
    got = receive(broker, 21)
    assert sorted(map(int, ids(got))) == [*range(20), 100]
    broker.ack(tags(got))


def test_without_a_pool_every_message_has_its_own_connection(site: Site) -> None:
    queue = a_queue()
    publisher = site.publisher(pool_limit=None)
    send(publisher, queue, 1, 2)
    broker = site.consuming(queue)
    broker.ack(tags(receive(broker, 2)))


def test_a_forked_child_publishes_on_connections_of_its_own(site: Site) -> None:
    queue = a_queue()
    publisher = site.publisher()
    send(publisher, queue, 1)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            send(publisher, queue, 2, 3)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    send(publisher, queue, 4)
    broker = site.consuming(queue)
    got = receive(broker, 4)
    assert sorted(ids(got)) == ["1", "2", "3", "4"]
    broker.ack(tags(got))


def test_a_closed_publisher_opens_again_when_needed(site: Site) -> None:
    queue = a_queue()
    publisher = site.publisher()
    send(publisher, queue, 1)
    publisher.close()
    send(publisher, queue, 2)
    broker = site.consuming(queue)
    broker.ack(tags(receive(broker, 2)))


def test_a_busy_pool_fails_with_a_clear_error_in_bounded_time(
    make_site: Callable[[str], Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celeriac.brokers.kombu_publisher._ACQUIRE_TIMEOUT_S", 0.1)
    publisher = make_site("redis").publisher(pool_limit=1)
    slots = publisher._slots  # type: ignore[attr-defined]
    with slots, pytest.raises(OperationalError, match="busy"):
        publisher.publish(a_message(), routing_key="x")


def test_the_pauses_follow_the_policy() -> None:
    assert list(_pauses(None)) == [0, 0.2, 0.4]
    policy = {"max_retries": 4, "interval_start": 1, "interval_step": 2, "interval_max": 4}
    assert list(_pauses(policy)) == [1, 3, 4, 4]
    assert list(_pauses({"max_retries": 0})) == []
    endless = _pauses({"max_retries": None, "interval_step": 0})
    assert [next(endless) for _ in range(100)] == [0] * 100


def test_a_timeout_in_the_policy_bounds_all_attempts(make_site: Callable[[str], Site]) -> None:
    site = make_site("redis")
    publisher = Site("redis", "redis://127.0.0.1:1/0").publisher()
    policy = {"max_retries": None, "interval_start": 0.05, "interval_max": 0.05, "timeout": 0.3}
    began = time.monotonic()
    with pytest.raises(OperationalError):
        publisher.publish(a_message(), routing_key="x", retry_policy=policy)
    assert time.monotonic() - began >= 0.3
    assert site.kind == "redis"


def test_after_one_dead_idle_connection_the_others_are_not_tried(
    make_site: Callable[[str], Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = a_queue()
    site = make_site("redis")
    publisher: Any = site.publisher()
    links = [publisher._take() for _ in range(3)]
    tried: list[object] = []
    alive = type(links[0]).send

    def send_unless_dead(link: Any, *args: Any) -> None:
        if link in links:
            tried.append(link)
            raise ConnectionResetError("gone")
        alive(link, *args)

    monkeypatch.setattr(type(links[0]), "send", send_unless_dead)
    for link in links:
        link.fresh = False
        publisher._give_back(link)
    send(publisher, queue, 1)
    assert len(tried) == 1
    broker = site.consuming(queue)
    got = receive(broker, 1)
    assert ids(got) == ["1"]
    broker.ack(tags(got))
