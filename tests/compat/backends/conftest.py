"""Subjects of the backend tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.compat.backends.subjects import Subject

NAMES = ("memory", "redis", "filesystem")
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
    raise ValueError(name)
