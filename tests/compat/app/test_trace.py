"""The order in which things happen around a task. Spec: results-and-workflows#4.2."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from celeriac import signals
from celeriac.app import trace
from celeriac.app.app import Celery
from celeriac.app.context import Context
from celeriac.app.outcome import Failed, Ignored, Outcome, Rejected, Retrying, Succeeded
from celeriac.app.task import Task
from celeriac.exceptions import Ignore, Reject
from celeriac_protocol.result import ResultMeta, State

SIGNALS = (
    "task_prerun",
    "task_success",
    "task_failure",
    "task_retry",
    "task_internal_error",
    "task_postrun",
)


class Recorded:
    """Everything that happened, in order."""

    def __init__(self, app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
        self.app = app
        self.events: list[str] = []
        self._receivers = []
        store = app.backend.store

        def storing(meta: ResultMeta, **kwargs: Any) -> None:
            self.events.append(f"store {meta.status}")
            store(meta, **kwargs)

        monkeypatch.setattr(app.backend, "store", storing)
        for name in SIGNALS:
            receiver = self._receiver(name)
            self._receivers.append((getattr(signals, name), receiver))
            getattr(signals, name).connect(receiver, weak=False)

    def _receiver(self, name: str) -> Callable[..., None]:
        def receive(**kwargs: Any) -> None:
            self.events.append(f"signal {name}")

        return receive

    def document(self, task_id: str = "t1") -> Any:
        return self.app.backend.fetch(task_id)

    def register(self, name: str, function: Callable[..., Any], **options: Any) -> Any:
        return self.app.task(function, name=name, shared=False, **options)

    def disconnect(self) -> None:
        for signal, receiver in self._receivers:
            signal.disconnect(receiver)

    def task(self, body: Callable[..., Any], **options: Any) -> Any:
        events = self.events

        class Hooked(Task):
            def before_start(self, *args: Any) -> None:
                events.append("before_start")

            def on_success(self, *args: Any) -> None:
                events.append("on_success")

            def on_failure(self, *args: Any) -> None:
                events.append("on_failure")

            def on_retry(self, *args: Any) -> None:
                events.append("on_retry")

            def after_return(self, status: str, *args: Any) -> None:
                events.append(f"after_return {status}")

        def run(self: Any, *args: Any) -> Any:
            events.append("body")
            return body(self, *args)

        return self.app.task(run, name=f"proj.{body.__name__}", bind=True, base=Hooked, **options)

    def run(self, task: Any, *args: Any, **fields: Any) -> Outcome:
        publisher: Any = self.app.publisher
        fields = {"id": "t1", "root_id": "t1", "ignore_result": task.ignore_result, **fields}
        request = Context(
            args=list(args), kwargs={}, is_eager=False, called_directly=False, **fields
        )
        tracer = trace.build_tracer(task.name, task, hostname="w@h", app=self.app)
        outcome: Outcome = tracer(str(fields["id"]), args, {}, request)
        self.events += [f"sent {sent.headers['task']}" for sent in publisher.sent]
        return outcome


@pytest.fixture
def recorded(app: Celery, monkeypatch: pytest.MonkeyPatch) -> Any:
    subject = Recorded(app, monkeypatch)
    yield subject
    subject.disconnect()


def link(name: str) -> dict[str, Any]:
    return {
        "task": name,
        "args": [],
        "kwargs": {},
        "options": {},
        "subtask_type": None,
        "immutable": False,
    }


def test_a_task_that_returns(recorded: Recorded) -> None:
    def returns(self: Any) -> int:
        return 3

    outcome = recorded.run(recorded.task(returns, track_started=True))
    assert isinstance(outcome, Succeeded)
    assert outcome.result_repr == "3"
    assert recorded.events == [
        "signal task_prerun", "store STARTED", "before_start", "body", "store SUCCESS", "on_success",
        "signal task_success", "after_return SUCCESS", "signal task_postrun",
    ]  # fmt: skip


def test_callbacks_are_sent_before_success_is_stored_so_that_they_are_its_children(
    recorded: Recorded,
) -> None:
    def parent(self: Any) -> int:
        return 3

    recorded.run(recorded.task(parent), callbacks=[link("proj.next")], chain=[link("proj.step")])
    children = recorded.document().children
    assert len(children) == 2
    assert recorded.events[-2:] == ["sent proj.next", "sent proj.step"]


def test_a_task_that_raises(recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    def raises(self: Any) -> None:
        raise ValueError("boom")

    outcome = recorded.run(recorded.task(raises))
    assert isinstance(outcome, Failed)
    assert outcome.exception_repr == "ValueError('boom')"
    assert outcome.traceback.endswith("ValueError: boom\n")
    assert recorded.events == [
        "signal task_prerun", "before_start", "body", "store FAILURE", "on_failure", "signal task_failure",
        "after_return FAILURE", "signal task_postrun",
    ]  # fmt: skip
    assert "Task proj.raises[t1] raised unexpected: ValueError('boom')" in caplog.text


@pytest.mark.parametrize("exc", [GeneratorExit("done"), asyncio.CancelledError("stop")])
def test_an_exception_that_is_no_exception_class_fails_the_task_too(
    recorded: Recorded, exc: BaseException
) -> None:
    def raises(self: Any) -> None:
        raise exc

    assert isinstance(recorded.run(recorded.task(raises)), Failed)
    assert recorded.document().status == State.FAILURE


def test_an_expected_exception_is_logged_without_traceback(
    recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    def expected(self: Any) -> None:
        raise KeyError("x")

    caplog.set_level(logging.INFO)
    recorded.run(recorded.task(expected, throws=(KeyError,)))
    (record,) = [record for record in caplog.records if "raised expected" in record.getMessage()]
    assert (record.levelno, record.exc_info) == (logging.INFO, None)


def test_a_retry_stores_retry_and_sends_the_next_attempt_from_inside(recorded: Recorded) -> None:
    def again(self: Any) -> None:
        raise self.retry(exc=ValueError("again"), countdown=1)

    outcome = recorded.run(
        recorded.task(again), delivery_info={"exchange": "", "routing_key": "celery"}
    )
    assert isinstance(outcome, Retrying)
    assert outcome.exception_repr == "ValueError('again')"
    assert recorded.events == [
        "signal task_prerun", "before_start", "body", "store RETRY", "on_retry", "signal task_retry",
        "signal task_postrun", "sent proj.again",
    ]  # fmt: skip


def test_an_ignored_task_stores_nothing_and_nothing_follows(recorded: Recorded) -> None:
    def ignores(self: Any) -> None:
        raise Ignore

    assert isinstance(recorded.run(recorded.task(ignores), callbacks=[link("proj.next")]), Ignored)
    assert recorded.events == ["signal task_prerun", "before_start", "body", "signal task_postrun"]


@pytest.mark.parametrize(
    ("requeue", "stored"), [(False, ["store FAILURE", "signal task_failure"]), (True, [])]
)
def test_a_rejected_task_is_a_failure_unless_it_goes_back(
    recorded: Recorded, requeue: bool, stored: list[str]
) -> None:
    def rejects(self: Any) -> None:
        raise Reject("no", requeue=requeue)

    assert recorded.run(recorded.task(rejects)) == Rejected("'no'", requeue)
    assert recorded.events == [
        "signal task_prerun", "before_start", "body", *stored, "signal task_postrun",
    ]  # fmt: skip


def test_a_result_that_cannot_be_encoded_is_a_failure_that_kombu_names(recorded: Recorded) -> None:
    def strange(self: Any) -> object:
        return object()

    assert isinstance(recorded.run(recorded.task(strange)), Failed)
    meta = recorded.document()
    assert (meta.status, meta.result["exc_type"], meta.result["exc_module"]) == (
        State.FAILURE, "EncodeError", "kombu.exceptions",
    )  # fmt: skip
    assert meta.result["exc_message"] == [
        "TypeError('Object of type object is not JSON serializable')"
    ]


def test_a_callback_that_cannot_be_sent_fails_the_task_and_not_the_process(
    recorded: Recorded,
) -> None:
    def parent(self: Any) -> int:
        return 3

    recorded.app.publisher.fail_with = RuntimeError("no broker")  # type: ignore[attr-defined]
    outcome = recorded.run(recorded.task(parent), callbacks=[link("proj.next")])
    assert isinstance(outcome, Failed)
    assert "signal task_internal_error" in recorded.events
    assert recorded.document().status == State.FAILURE


def test_the_steps_behind_a_failed_one_fail_with_it(recorded: Recorded) -> None:
    def raises(self: Any) -> None:
        raise ValueError("boom")

    step = {**link("proj.step"), "options": {"task_id": "t2"}}
    recorded.run(recorded.task(raises), chain=[step])
    later = recorded.document("t2")
    assert (later.status, later.result["exc_type"]) == (State.FAILURE, "ValueError")


def test_old_errbacks_are_sent_with_the_id_and_new_ones_called_in_place(recorded: Recorded) -> None:
    seen: list[Any] = []

    def new_style(request: Any, exc: BaseException, traceback: str) -> None:
        seen.append((request.id, repr(exc), traceback.splitlines()[-1]))

    recorded.register("proj.new_style", new_style)

    def old_style(task_id: str) -> None: ...

    recorded.register("proj.old_style", old_style)

    def raises(self: Any) -> None:
        raise ValueError("boom")

    recorded.run(recorded.task(raises), errbacks=[link("proj.new_style"), link("proj.old_style")])
    assert seen == [("t1", "ValueError('boom')", "ValueError: boom")]
    (sent,) = recorded.app.publisher.sent  # type: ignore[attr-defined]
    assert (sent.headers["task"], sent.body[0], sent.headers["parent_id"]) == (
        "proj.old_style",
        ["t1"],
        "t1",
    )


def test_a_broken_errback_does_not_keep_the_next_one_from_running(
    recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def broken(request: Any, exc: BaseException, traceback: str) -> None:
        raise RuntimeError("broken errback")

    recorded.register("proj.broken", broken)

    def fine(request: Any, exc: BaseException, traceback: str) -> None:
        seen.append(request.id)

    recorded.register("proj.fine", fine)

    def raises(self: Any) -> None:
        raise ValueError("boom")

    recorded.run(recorded.task(raises), errbacks=[link("proj.broken"), link("proj.fine")])
    assert seen == ["t1"]
    assert "broken errback" in caplog.text


def test_a_broken_hook_is_logged_and_changes_nothing(
    recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    class Base(Task):
        def on_success(self, *args: Any) -> None:
            raise RuntimeError("broken hook")

    def hooked() -> int:
        return 1

    hooked_task = recorded.register("proj.hooked", hooked, base=Base)

    assert isinstance(recorded.run(hooked_task), Succeeded)
    assert recorded.document().status == State.SUCCESS
    assert "broken hook" in caplog.text


def test_an_ignored_result_is_not_stored_but_its_errors_are_if_asked(recorded: Recorded) -> None:
    def raises(self: Any) -> None:
        raise ValueError("boom")

    task = recorded.task(raises, ignore_result=True)
    recorded.run(task)
    assert "store FAILURE" not in recorded.events
    task.store_errors_even_if_ignored = True
    recorded.run(task)
    assert "store FAILURE" in recorded.events


def test_a_part_of_a_chord_that_completes_it_sends_the_body(recorded: Recorded) -> None:
    def part(self: Any, x: int) -> int:
        return x

    recorded.app.backend.start_chord("G", 2)
    body = {**link("proj.body"), "options": {"task_id": "B", "group_id": "G"}}
    task = recorded.task(part)
    recorded.run(task, 1, group="G", group_index=0, chord=body)
    assert recorded.app.publisher.sent == []  # type: ignore[attr-defined]
    recorded.run(task, 2, id="t2", group="G", group_index=1, chord=body)
    (sent,) = recorded.app.publisher.sent  # type: ignore[attr-defined]
    assert (sent.headers["id"], sent.body[0], sent.headers["parent_id"]) == ("B", [[1, 2]], "t2")


def test_a_chord_with_a_failed_part_fails_its_body_and_sends_nothing(recorded: Recorded) -> None:
    def part(self: Any, x: int) -> int:
        return 6 // x

    recorded.app.backend.start_chord("G", 2)
    body = {**link("proj.body"), "options": {"task_id": "B", "group_id": "G"}}
    task = recorded.task(part)
    recorded.run(task, 0, group="G", group_index=0, chord=body)
    recorded.run(task, 2, id="t2", group="G", group_index=1, chord=body)
    meta = recorded.document("B")
    assert (meta.status, meta.result["exc_type"]) == (State.FAILURE, "ChordError")
    assert meta.result["exc_message"][0].startswith("Dependency t1 raised ZeroDivisionError(")
    assert recorded.app.publisher.sent == []  # type: ignore[attr-defined]


def test_an_eager_run_gives_state_and_value_and_stores_nothing(recorded: Recorded) -> None:
    def returns(self: Any) -> int:
        return 3

    result = recorded.task(returns).apply()
    assert (result.state, result.get()) == ("SUCCESS", 3)
    assert not any(event.startswith("store") for event in recorded.events)
    assert "on_success" in recorded.events
