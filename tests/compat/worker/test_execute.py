"""What the pool's side of a worker makes of one message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from celeriac.app.app import Celery
from celeriac.app.outcome import Succeeded
from celeriac.worker.execute import Executor
from celeriac.worker.payload import Payload
from celeriac_protocol.message import Message, Properties


@pytest.fixture
def app() -> Iterator[Celery]:
    app = Celery("exec", broker="memory://", backend="cache+memory://", set_as_current=False)

    def headers(self: Any) -> Any:
        return self.request.headers

    app.task(name="exec.headers", bind=True, shared=False)(headers)
    yield app
    app.close()


@pytest.mark.parametrize(
    "name",
    ["self", "children", "_children", "get", "update", "clear", "as_execution_options", "__dict__"],
)
def test_a_custom_header_may_have_any_name(app: Celery, name: str) -> None:
    message = Message(
        {"task": "exec.headers", "id": "an-id", name: 5},
        Properties(content_type="application/json", content_encoding="utf-8"),
        json.dumps([[], {}, {}]).encode(),
    )
    execute = Executor(app, "celery@here", accept=frozenset({"application/json"}))
    outcome = execute.run(Payload.of(message), lambda: None)
    assert isinstance(outcome, Succeeded)
    assert outcome.result_repr == repr({name: 5})
