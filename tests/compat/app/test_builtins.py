"""The tasks that every app has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from celeriac.app.app import Celery
from celeriac.app.builtins import BUILTIN_TASKS
from celeriac.canvas import chord, group
from celeriac.exceptions import Retry
from celeriac_protocol.result import ResultMeta
from tests.compat.doubles import RecordingPublisher
from tests.compat.in_process import run_all

MakeApp = Callable[..., Celery]


def define(app: Celery) -> dict[str, Any]:
    def add(x: int, y: int) -> int:
        return x + y

    def tsum(xs: list[int]) -> int:
        return sum(xs)

    def fails() -> None:
        raise ValueError("boom")

    def err(task_id: str) -> None:
        noted.append(task_id)

    noted: list[str] = []
    made: dict[str, Any] = {
        fun.__name__: app.task(fun, shared=False, name=f"proj.{fun.__name__}")
        for fun in (add, tsum, fails, err)
    }
    app.finalize()
    return {**made, "noted": noted}


@pytest.fixture
def polling(make_app: MakeApp, tmp_path: Path) -> Celery:
    """An app whose backend leaves chords to `celery.chord_unlock`."""
    return make_app(backend=f"file://{tmp_path}", result_chord_retry_interval=0.0)


def test_every_app_has_the_nine(app: Celery) -> None:
    assert sorted(name for name in app.tasks if name.startswith("celery.")) == sorted(BUILTIN_TASKS)


def test_accumulate_returns_its_arguments_or_one(app: Celery) -> None:
    accumulate = app.tasks["celery.accumulate"]
    assert accumulate(1, 2) == (1, 2)
    assert accumulate([1, 2], 3, index=0) == [1, 2]


def test_maps_run_in_one_task(app: Celery) -> None:
    add = define(app)["add"]
    double = app.task(lambda x: 2 * x, shared=False, name="proj.double", lazy=False, typing=False)
    assert app.tasks["celery.map"](dict(double.s()), [1, 2]) == [2, 4]
    assert app.tasks["celery.starmap"](dict(add.s()), [[1, 2], [3, 4]]) == [3, 7]


def test_chunks_are_sent_as_a_group_of_starmaps(app: Celery, publisher: RecordingPublisher) -> None:
    add = define(app)["add"]
    app.tasks["celery.chunks"](dict(add.s()), [[1, 2], [3, 4], [5, 6]], 2)
    first, second = publisher.take()
    assert (first.headers["task"], first.body[1]["it"]) == ("celery.starmap", [[1, 2], [3, 4]])
    assert second.body[1]["it"] == [[5, 6]]


def test_a_chain_is_no_task(app: Celery) -> None:
    with pytest.raises(NotImplementedError):
        app.tasks["celery.chain"]()


def test_groups_of_old_senders_are_sent(app: Celery, publisher: RecordingPublisher) -> None:
    add = define(app)["add"]
    app.tasks["celery.group"]([dict(add.s(1)), dict(add.s(2))], [["G", None], []], "G", (9,))
    assert [(sent.headers["group"], sent.body[0]) for sent in publisher.take()] == [
        ("G", [9, 1]),
        ("G", [9, 2]),
    ]


def test_chords_of_old_senders_are_sent(app: Celery, publisher: RecordingPublisher) -> None:
    n = define(app)
    app.tasks["celery.chord"]([dict(n["add"].s(1))], dict(n["tsum"].s()), (9,))
    (sent,) = publisher.take()
    assert (sent.body[0], sent.embed["chord"]["task"]) == ([9, 1], "proj.tsum")


def test_cleaning_up_is_left_to_the_backend(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned: list[int] = []
    monkeypatch.setattr(type(app.backend), "cleanup", lambda self: cleaned.append(1))
    app.tasks["celery.backend_cleanup"]()
    assert cleaned == [1]


def test_without_native_chords_a_task_that_polls_is_sent_first(
    polling: Celery, publisher: RecordingPublisher
) -> None:
    n = define(polling)
    body = n["tsum"].s().set(queue="bodies", priority=3)
    result = chord([n["add"].s(1, 1), n["add"].s(2, 2)])(body)
    unlock, *header = publisher.take()
    assert (unlock.headers["task"], unlock.headers["ignore_result"]) == ("celery.chord_unlock", True)  # fmt: skip
    assert unlock.headers["eta"] is not None
    assert (unlock.routing_key, unlock.message.properties.priority) == ("bodies", 3)
    group_id, signature = unlock.body[0]
    assert signature["options"]["task_id"] == result.id
    assert unlock.body[1] == {
        "interval": None,
        "max_retries": None,
        "result": [[[sent.headers["id"], None], None] for sent in header],
        "_chord_unlock_exchange_type": "direct",
    }
    assert {sent.headers["group"] for sent in header} == {group_id}


def test_the_body_runs_when_all_parts_are_there(
    polling: Celery, publisher: RecordingPublisher
) -> None:
    n = define(polling)
    result = chord([n["add"].s(1, 1), n["add"].s(2, 2)])(n["tsum"].s())
    ran = [sent.headers["task"] for sent in run_all(polling, publisher)]
    assert ran == ["celery.chord_unlock", "proj.add", "proj.add", "celery.chord_unlock", "proj.tsum"]  # fmt: skip
    assert result.get() == 6


def test_a_part_that_is_a_chain_ending_in_a_group_is_a_list(
    polling: Celery, publisher: RecordingPublisher
) -> None:
    n = define(polling)
    flat = polling.task(lambda xs: xs, shared=False, name="proj.flat", lazy=False, typing=False)
    add = n["add"]
    result = chord([add.s(1, 1) | group(add.s(1), add.s(2)), add.s(5, 5)])(flat.s())
    run_all(polling, publisher)
    assert result.get() == [[3, 4], 10]


def test_a_failed_part_fails_the_body_and_calls_its_errbacks(
    polling: Celery, publisher: RecordingPublisher
) -> None:
    n = define(polling)
    result = chord([n["fails"].s(), n["add"].s(2, 2)])(n["tsum"].s().set(link_error=n["err"].s()))
    sent = run_all(polling, publisher)
    failed = next(message for message in sent if message.headers["task"] == "proj.fails")
    assert result.state == "FAILURE"
    reason = f"Dependency {failed.headers['id']} raised ValueError('boom')"
    assert reason in str(result.result)
    assert n["noted"] == [result.id]


def test_a_body_that_cannot_be_sent_fails(polling: Celery, publisher: RecordingPublisher) -> None:
    n = define(polling)
    signature = n["tsum"].s(1, 2, 3)  # takes one argument
    signature.freeze("BODY", group_id="G")
    polling.backend.store(ResultMeta(task_id="H", status="SUCCESS", result=1))
    polling.tasks["celery.chord_unlock"]("G", dict(signature), result=[[["H", None], None]])
    result = polling.AsyncResult("BODY")
    assert result.state == "FAILURE"
    assert "Callback error: TypeError(" in str(result.result)
    assert publisher.sent == []


def test_polling_ends_after_as_many_looks_as_asked(polling: Celery) -> None:
    n = define(polling)
    signature = n["tsum"].s()
    signature.freeze("BODY", group_id="G")
    unlock = polling.tasks["celery.chord_unlock"]
    arguments: dict[str, Any] = {"result": [[["H", None], None]], "max_retries": 3, "interval": 2}
    unlock.push_request(id="U", called_directly=False, retries=0, args=["G", signature])
    try:
        with pytest.raises(Retry) as caught:
            unlock.run("G", dict(signature), **arguments)
    finally:
        unlock.pop_request()
    assert caught.value.when == 2
