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


def headers_seen(app: Celery, headers: dict[str, Any], body: object) -> str:
    message = Message(
        headers,
        Properties(content_type="application/json", content_encoding="utf-8"),
        json.dumps(body).encode(),
    )
    execute = Executor(app, "celery@here", accept=frozenset({"application/json"}))
    outcome = execute.run(Payload.of(message), lambda: None)
    assert isinstance(outcome, Succeeded)
    assert outcome.result_repr is not None
    return outcome.result_repr


def test_unknown_keys_of_the_embed_count_as_headers(app: Celery) -> None:
    v2 = {"task": "exec.headers", "id": "an-id", "mine": 5}
    assert headers_seen(app, v2, [[], {}, {"other": 6, "task": "x", "group": "y"}]) == repr(
        {"mine": 5, "other": 6}
    )
    bare = {"task": "exec.headers", "id": "an-id", "other": 6}
    assert headers_seen(app, {"mine": 5}, bare) == repr({"mine": 5})


@pytest.mark.parametrize(
    "name",
    ["self", "children", "_children", "get", "update", "clear", "as_execution_options", "__dict__"],
)
def test_a_custom_header_may_have_any_name(app: Celery, name: str) -> None:
    headers = {"task": "exec.headers", "id": "an-id", name: 5}
    assert headers_seen(app, headers, [[], {}, {}]) == repr({name: 5})
