"""An app that keeps what it publishes, and the tasks the recorded expressions use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from celeriac.app.app import Celery
from celeriac.app.state import set_current_app
from tests.compat.canvas.expressions import define_tasks
from tests.compat.doubles import RecordingPublisher


@pytest.fixture
def publisher() -> RecordingPublisher:
    return RecordingPublisher()


@pytest.fixture
def app(publisher: RecordingPublisher) -> Iterator[Celery]:
    made = Celery("proj", broker="memory://", backend="cache+memory://")
    made.publisher = publisher
    yield made
    made.close()
    set_current_app(None)


@pytest.fixture
def tasks(app: Celery) -> dict[str, Any]:
    return define_tasks(app)
