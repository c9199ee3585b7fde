"""Fixtures: an app that keeps what it publishes. Import them where they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from celeriac.app.app import Celery
from celeriac.app.state import set_current_app
from tests.compat.doubles import RecordingPublisher

__all__ = ["app", "make_app", "publisher"]


@pytest.fixture
def publisher() -> RecordingPublisher:
    return RecordingPublisher()


@pytest.fixture
def make_app(publisher: RecordingPublisher) -> Iterator[Callable[..., Celery]]:
    """Make apps whose current one is forgotten afterwards."""
    made: list[Celery] = []

    def make(**settings: Any) -> Celery:
        # Documents of one test are not those of another.
        settings.setdefault("backend", f"cache+memory://{uuid4()}")
        # An in-memory queue is looked at now and again; a test waits for that.
        settings.setdefault("broker_transport_options", {"polling_interval": 0.01})
        app = Celery("proj", broker="memory://", **settings)
        app.publisher = publisher
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()
    set_current_app(None)


@pytest.fixture
def app(make_app: Callable[..., Celery]) -> Celery:
    return make_app()
