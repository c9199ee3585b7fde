"""Subjects of the backend tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.compat.backends.subjects import DirectPublisher, Subject

NAMES = ("memory", "redis", "filesystem", "database", "database-5.6", "rpc-redis", "rpc-amqp")
NATIVE = ("memory", "redis")


@pytest.fixture
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    """A backend of the kind the test is parametrized with, on a store of its own."""
    made = make_subject(request.param, request, tmp_path)
    yield made
    made.close()


def make_subject(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    if name == "memory":
        return Subject(name, f"cache+memory://{uuid4().hex}/")
    if name == "redis":
        prefix = f"t{uuid4().hex}:"
        url = request.getfixturevalue("redis_url")
        return Subject(name, url, {"transport_options": {"global_keyprefix": prefix}})
    if name == "filesystem":
        return Subject(name, f"file://{tmp_path}")
    if name.startswith("database"):
        layout = {"database": ">=5.7", "database-5.6": "<=5.6"}[name]
        return Subject(
            name,
            f"db+sqlite:///{tmp_path}/results.sqlite",
            {"transport_options": {"layout": layout}},
            checks_content_type=name == "database",
        )
    if name.startswith("rpc-"):
        fixture = {"rpc-redis": "redis_url", "rpc-amqp": "rabbitmq_url"}[name]
        url, queue = request.getfixturevalue(fixture), str(uuid4())
        publisher = DirectPublisher(url)
        request.addfinalizer(publisher.close)
        made = Subject(
            name,
            "rpc://",
            {"publisher": publisher, "broker_url": url, "oid": lambda: queue},
            reply_to=queue,
            keeps_success=False,
            is_shared=False,
            saves_groups=False,
        )
        made.reader().expect("anything")  # a reply to a queue that is not there is lost
        return made
    raise ValueError(name)
