"""One broker of each kind, fresh for each test where that is possible."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from celeriac.brokers.base import Broker, Publisher
from celeriac.brokers.kombu import KombuBroker, KombuPublisher
from celeriac.brokers.memory import MemoryBroker, MemoryPublisher

KINDS = ("in-process", "memory", "filesystem", "sqlite", "redis", "rabbitmq")


@dataclass
class Site:
    """Where a test's messages live."""

    kind: str
    url: str
    options: dict[str, Any] = field(default_factory=dict)
    _open: list[Any] = field(default_factory=list)

    def broker(self, **options: Any) -> Broker:
        """A new unconnected broker."""
        made: Broker
        if self.kind == "in-process":
            made = MemoryBroker(self.url)
        else:
            made = KombuBroker(
                self.url, transport_options={**self.options, **options.pop("more", {})}, **options
            )
        self._open.append(made.disconnect)
        return made

    def consuming(self, *queues: Any, prefetch: int = 10, **options: Any) -> Broker:
        """A broker that consumes."""
        broker = self.broker(**options)
        broker.connect()
        broker.consume(list(queues), prefetch)
        return broker

    def publisher(self, **options: Any) -> Publisher:
        """A new publisher."""
        made: Publisher
        if self.kind == "in-process":
            made = MemoryPublisher(self.url)
        else:
            made = KombuPublisher(self.url, transport_options=dict(self.options), **options)
        self._open.append(made.close)
        return made

    def close(self) -> None:
        for close in reversed(self._open):
            close()


@pytest.fixture
def make_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Site]]:
    sites: list[Site] = []

    def make(kind: str) -> Site:
        if kind == "in-process":
            site = Site(kind, f"memory://{uuid.uuid4().hex}")
        elif kind == "memory":
            site = Site(kind, "memory://localhost/", {"polling_interval": 0.01})
        elif kind == "filesystem":
            options = {
                "data_folder_in": str(tmp_path / "data"),
                "data_folder_out": str(tmp_path / "data"),
                "control_folder": str(tmp_path / "control"),
                "polling_interval": 0.05,
            }
            site = Site(kind, "filesystem://localhost/", options)
        elif kind == "sqlite":
            path = tmp_path / "broker.sqlite"
            site = Site(kind, f"sqla+sqlite:///{path}", {"polling_interval": 0.05})
        elif kind == "redis":
            url = request.getfixturevalue("redis_url")
            _flush(url)
            site = Site(kind, url)
        else:
            site = Site(kind, request.getfixturevalue("rabbitmq_url"))
        sites.append(site)
        return site

    yield make
    for site in sites:
        site.close()


def _flush(url: str) -> None:
    import redis

    client = redis.Redis.from_url(url)
    client.flushdb()
    client.close()


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, make_site: Callable[[str], Site]) -> Site:
    return make_site(request.param)
