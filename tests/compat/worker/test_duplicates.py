"""A redelivered call whose result says that it is done is not run again, if the settings say so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from celeriac.app.app import Celery
from celeriac.app.outcome import Outcome, Succeeded
from celeriac.worker.execute import Executor
from celeriac.worker.payload import Payload
from celeriac_protocol.message import DeliveryInfo, Message, Properties
from tests.compat.doubles import RecordingPublisher


class Worker:
    """An executor over results in memory, with two tasks that note their runs."""

    def __init__(self, **settings: Any) -> None:
        self.app = Celery(
            "dedup", broker="memory://", backend="cache+memory://", set_as_current=False
        )
        self.app.conf.update(worker_deduplicate_successful_tasks=True, **settings)
        self.runs: list[int] = []

        def note(number: int) -> int:
            self.runs.append(number)
            return number

        self.app.task(note, name="late", acks_late=True, shared=False)
        self.app.task(note, name="early", shared=False)
        self.publisher = RecordingPublisher()
        self.app.publisher = self.publisher
        self.again()

    def again(self) -> None:
        """Forget what a process remembers."""
        self.execute = Executor(self.app, "w@h", accept=frozenset({"application/json"}))

    def deliver(self, name: str, number: int, *, redelivered: bool = True, **embed: Any) -> Outcome:
        message = Message(
            {"task": name, "id": f"{name}-{number}"},
            Properties(content_type="application/json", content_encoding="utf-8"),
            json.dumps([[number], {}, embed]).encode(),
            DeliveryInfo(routing_key="celery", redelivered=redelivered),
        )
        return self.execute.run(Payload.of(message), lambda: None)


@pytest.fixture
def worker() -> Iterator[Worker]:
    subject = Worker()
    yield subject
    subject.app.close()


@pytest.mark.parametrize("is_another_process", [False, True])
def test_a_late_call_is_not_run_again_after_its_success(
    worker: Worker, is_another_process: bool
) -> None:
    worker.deliver("late", 1, redelivered=False)
    if is_another_process:
        worker.again()
    outcome = worker.deliver("late", 1)
    assert outcome == Succeeded(None, None)
    assert worker.runs == [1]


def test_what_was_not_redelivered_or_not_late_or_not_done_runs(worker: Worker) -> None:
    worker.deliver("late", 1, redelivered=False)
    worker.deliver("late", 1, redelivered=False)
    worker.deliver("early", 2)
    worker.deliver("early", 2)
    worker.deliver("late", 3)
    assert worker.runs == [1, 1, 2, 2, 3]


def test_without_the_setting_it_runs_again() -> None:
    worker = Worker()
    worker.app.conf.worker_deduplicate_successful_tasks = False
    worker.again()
    worker.deliver("late", 1)
    worker.deliver("late", 1)
    assert worker.runs == [1, 1]
    worker.app.close()


def test_what_should_have_followed_follows_now(worker: Worker) -> None:
    worker.deliver("late", 1, redelivered=False)
    worker.again()
    link: dict[str, Any] = {
        "task": "early", "args": [], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False,
    }  # fmt: skip
    worker.deliver("late", 1, callbacks=[link])
    (sent,) = worker.publisher.take()
    assert (sent.headers["task"], sent.body[0]) == ("early", [1])
    assert worker.runs == [1]
