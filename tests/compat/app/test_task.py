"""Tasks: attributes, binding, calling, running here."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from celeriac.app.app import Celery
from celeriac.app.task import Task
from celeriac.canvas import chunks, xmap
from celeriac.exceptions import MaxRetriesExceededError
from celeriac.result import EagerResult
from tests.compat.doubles import RecordingPublisher

MakeApp = Callable[..., Celery]


def define(app: Celery, fun: Callable[..., Any], **options: Any) -> Any:
    return app.task(fun, shared=False, lazy=False, name=f"proj.{fun.__name__}", **options)


def add(x: int, y: int = 2) -> int:
    return x + y


def test_a_task_has_celerys_attributes(app: Celery) -> None:
    task = define(app, add)
    values = {
        "name": "proj.add", "max_retries": 3, "default_retry_delay": 180, "rate_limit": None, "ignore_result": False,
        "store_errors_even_if_ignored": False, "track_started": False, "acks_late": False,
        "acks_on_failure_or_timeout": True, "acks_on_failure": True, "acks_on_timeout": True,
        "reject_on_worker_lost": None, "retry_on_worker_lost": False, "serializer": "json", "time_limit": None,
        "soft_time_limit": None, "throws": (), "expires": None, "priority": None, "resultrepr_maxsize": 1024,
        "trail": True, "send_events": True, "typing": True, "app": app,
        "Strategy": "celery.worker.strategy:default", "Request": "celery.worker.request:Request",
        "MaxRetriesExceededError": MaxRetriesExceededError, "OperationalError": OperationalError,
    }  # fmt: skip
    assert {name: getattr(task, name) for name in values} == values
    assert vars(task.request) == {}


def test_settings_fill_what_the_task_leaves_open(make_app: MakeApp) -> None:
    app = make_app(
        task_acks_late=True, task_time_limit=60, task_ignore_result=True, task_default_rate_limit="5/s",
        task_acks_on_failure_or_timeout=False,
    )  # fmt: skip
    task = define(app, add, ignore_result=False)
    assert (task.acks_late, task.time_limit, task.ignore_result) == (True, 60, False)
    assert (task.rate_limit, task.acks_on_failure, task.acks_on_timeout) == ("5/s", False, False)


def test_unknown_options_of_the_decorator_become_attributes(app: Celery) -> None:
    assert define(app, add, once={"graceful": True}).once == {"graceful": True}


def test_binding_tells_the_class(app: Celery) -> None:
    bound: list[Any] = []

    class Base(Task):
        @classmethod
        def on_bound(cls, app: Celery) -> None:
            bound.append((cls.name, app))

    define(app, add, base=Base)
    assert bound == [("proj.add", app)]


def test_calling_runs_the_function_under_a_request_of_its_own(app: Celery) -> None:
    def look(self: Any, x: int) -> tuple[Any, ...]:
        return self.request.called_directly, self.request.id, self.request.args, app.current_task

    task = define(app, look, bind=True)
    assert task(1) == (True, None, (1,), task)
    assert app.current_task is None


def test_the_text_of_a_task_names_its_app(app: Celery) -> None:
    task = define(app, add)
    assert repr(task) == f"<@task: proj.add of proj at {id(task):#x}>"


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), {}, "add() missing 1 required positional argument: 'x'"),
        ((1, 2, 3), {}, "add() takes from 1 to 2 positional arguments but 3 were given"),
        ((1,), {"z": 1}, "add() got an unexpected keyword argument 'z'"),
    ],
)
def test_arguments_are_checked_before_sending_in_pythons_words(
    args: Any, kwargs: Any, text: str, app: Celery, publisher: RecordingPublisher
) -> None:
    task = define(app, add)
    with pytest.raises(TypeError) as caught:
        task.apply_async(args, kwargs)
    assert str(caught.value) == text
    assert publisher.sent == []


def test_a_task_may_turn_the_check_off(app: Celery, publisher: RecordingPublisher) -> None:
    define(app, add, typing=False).delay()
    assert len(publisher.sent) == 1


def test_a_class_without_signature_is_not_checked(
    app: Celery, publisher: RecordingPublisher
) -> None:
    class Custom(app.Task):  # type: ignore[name-defined,misc]
        name = "proj.custom"

        def run(self, a: int) -> int:
            return a

    app.register_task(Custom()).delay()
    assert len(publisher.sent) == 1


def test_the_tasks_own_limits_must_be_in_order(app: Celery) -> None:
    task = define(app, add, time_limit=1, soft_time_limit=2)
    with pytest.raises(ValueError, match="soft_time_limit must be less than or equal to time_limit"):  # fmt: skip
        task.apply_async((1,), time_limit=5)
    assert task.apply((1,)).get() == 3


def test_the_limits_of_one_call_are_not_compared(
    app: Celery, publisher: RecordingPublisher
) -> None:
    define(app, add).apply_async((1,), time_limit=1, soft_time_limit=2)
    assert publisher.sent[0].headers["timelimit"] == [1, 2]


def test_a_task_may_name_itself_for_display(app: Celery, publisher: RecordingPublisher) -> None:
    class Base(Task):
        def shadow_name(self, args: Any, kwargs: Any, options: Any) -> str:
            return f"add {args}"

    define(app, add, base=Base).delay(1)
    assert publisher.sent[0].headers["shadow"] == "add (1,)"


def test_signatures_know_their_task(app: Celery) -> None:
    task = define(app, add)
    assert task.s(1, y=2) == {
        "task": "proj.add", "args": (1,), "kwargs": {"y": 2}, "options": {}, "subtask_type": None,
        "immutable": False,
    }  # fmt: skip
    assert task.si(1).immutable
    assert task.signature((1,), {"y": 2}, queue="q").options == {"queue": "q"}
    assert task.s(1).type is task
    assert isinstance(task.map([1]), xmap)
    assert isinstance(task.chunks([(1,)], 1), chunks)
    assert repr(task.starmap([(1, 2)])) == "[proj.add(*x) for x in [(1, 2)]]"


def test_eager_calls_run_here(make_app: MakeApp, publisher: RecordingPublisher) -> None:
    app = make_app(task_always_eager=True)
    result = define(app, add).apply_async((1,), {"y": 5}, queue="q", countdown=5)
    assert isinstance(result, EagerResult)
    assert (result.get(), result.state, publisher.sent) == (6, "SUCCESS", [])


def test_eager_runs_say_what_they_are(app: Celery) -> None:
    seen: list[Any] = []

    def look(self: Any) -> None:
        request = self.request
        seen.extend([request.id, request.is_eager, request.called_directly, request.headers])
        seen.append(request.delivery_info["priority"])

    define(app, look, bind=True).apply(task_id="Q", headers={"a": 1}, priority=3)
    assert seen == ["Q", True, False, {"a": 1}, 3]


def test_custom_states_are_stored_with_their_value(app: Celery) -> None:
    task = define(app, add)
    with pytest.raises(ValueError, match=r"task_id must not be empty\. Got None instead\."):
        task.update_state(state="PROGRESS", meta={"done": 1})
    task.update_state("T", "PROGRESS", {"done": 1})
    result = app.AsyncResult("T")
    assert (result.state, result.info, result.ready()) == ("PROGRESS", {"done": 1}, False)
    task.update_state("U", "FAILURE", ValueError("no"))
    assert repr(app.AsyncResult("U").result) == "ValueError('no')"


def test_a_task_may_have_a_backend_of_its_own(app: Celery) -> None:
    task = define(app, add)
    assert task.backend is app.backend
    other = object()
    task.backend = other
    assert task.backend is other
    assert task.AsyncResult("x").backend is other


def test_pickling_a_task_names_it(app: Celery) -> None:
    task = define(app, add)
    app.set_current()
    assert pickle.loads(pickle.dumps(task)) is task


def test_a_method_may_be_wrapped(app: Celery) -> None:
    task = define(app, add)
    type(task).add_around("delay", lambda delay: lambda self, *args: ("wrapped", args))
    assert task.delay(1) == ("wrapped", (1,))


def test_a_body_must_be_defined(app: Celery) -> None:
    class Empty(app.Task):  # type: ignore[name-defined,misc]
        name = "proj.empty"

    with pytest.raises(NotImplementedError):
        app.register_task(Empty())()
