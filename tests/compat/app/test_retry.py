"""Repeating a call. The messages are compared with Celery's in `test_replacing`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from celeriac.app.app import Celery
from celeriac.app.context import Context
from celeriac.app.retry import backoff
from celeriac.app.task import Task
from celeriac.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry
from tests.compat.doubles import RecordingPublisher


def define(app: Celery, fun: Callable[..., Any], **options: Any) -> Any:
    return app.task(fun, shared=False, lazy=False, name=f"proj.{fun.__name__}", **options)


def body(*args: Any, **kwargs: Any) -> None:
    """Do nothing."""


@contextmanager
def running(task: Any, **fields: Any) -> Iterator[Context]:
    fields.setdefault("delivery_info", {"exchange": "", "routing_key": "celery", "priority": 0})
    task.push_request(
        **{"id": "T", "root_id": "T", "called_directly": False, "args": [1], "kwargs": {}, **fields}
    )
    try:
        yield task.request
    finally:
        task.pop_request()


def test_outside_a_run_there_is_nothing_to_repeat(app: Celery) -> None:
    task = define(app, body)
    with pytest.raises(Retry, match="Task can be retried"):
        task.retry()
    with pytest.raises(KeyError):
        task.retry(exc=KeyError("k"))


def test_outside_a_run_the_active_exception_is_the_cause(app: Celery) -> None:
    task = define(app, body)
    active = ValueError("x")

    def handler() -> None:
        try:
            raise active
        except ValueError:
            task.retry()

    with pytest.raises(Retry) as caught:
        handler()
    assert caught.value.__cause__ is active


def test_the_standard_delay_is_the_tasks(app: Celery, publisher: RecordingPublisher) -> None:
    task = define(app, body, default_retry_delay=7)
    with running(task), pytest.raises(Retry) as caught:
        task.retry()
    assert (caught.value.when, caught.value.is_eager, str(caught.value)) == (7, False, "Retry in 7s")  # fmt: skip
    assert publisher.sent[0].headers["retries"] == 1


def test_a_retry_need_not_raise(app: Celery, publisher: RecordingPublisher) -> None:
    task = define(app, body)
    with running(task):
        returned = task.retry(throw=False, countdown=0, exc=ValueError("x"))
    assert isinstance(returned, Retry)
    assert (repr(returned.exc), len(publisher.sent)) == ("ValueError('x')", 1)
    assert publisher.sent[0].headers["eta"] is None


def test_attempts_run_out(app: Celery, publisher: RecordingPublisher) -> None:
    task = define(app, body, max_retries=2)
    with running(task, retries=2):
        with pytest.raises(MaxRetriesExceededError) as caught:
            task.retry()
        with pytest.raises(KeyError):
            task.retry(exc=KeyError("k"))
    assert str(caught.value) == "Can't retry proj.body[T] args:(1,) kwargs:{}"
    assert (caught.value.task_args, caught.value.task_kwargs) == ((1,), {})
    assert publisher.sent == []


def test_none_is_no_limit(app: Celery, publisher: RecordingPublisher) -> None:
    task = define(app, body, max_retries=None)
    with running(task, retries=1000), pytest.raises(Retry):
        task.retry()
    assert publisher.sent[0].headers["retries"] == 1001


def test_a_limit_for_this_attempt_wins_and_is_remembered(app: Celery) -> None:
    task = define(app, body, max_retries=5)
    with running(task), pytest.raises(MaxRetriesExceededError):
        task.retry(max_retries=0)
    assert task.override_max_retries == 0


def test_a_retry_that_cannot_be_sent_rejects_the_message(
    app: Celery, publisher: RecordingPublisher
) -> None:
    task = define(app, body)
    publisher.fail_with = OperationalError("gone")
    with running(task), pytest.raises(Reject) as caught:
        task.retry()
    assert (caught.value.reason, caught.value.requeue) == (publisher.fail_with, False)


def test_a_message_goes_back_where_it_came_from(app: Celery) -> None:
    task = define(app, body)
    through_default = Context(delivery_info={"exchange": "", "routing_key": "rk", "priority": 3})
    options = task.signature_from_request(through_default).options
    assert (options["queue"], options["priority"]) == ("rk", 3)
    named = Context(delivery_info={"exchange": "ex", "routing_key": "rk"})
    options = task.signature_from_request(named).options
    assert (options["exchange"], options["routing_key"], "queue" in options) == ("ex", "rk", False)
    options = task.signature_from_request(named, queue="other", foo=1).options
    assert (options["queue"], options["foo"], "exchange" in options) == ("other", 1, False)


def test_a_delay_of_the_broker_is_not_repeated(app: Celery, publisher: RecordingPublisher) -> None:
    task = define(app, body)
    key = ".".join("0" * 27) + ".1.tq.key"
    with running(task, delivery_info={"exchange": "celery_delayed_0", "routing_key": key}):
        task.retry(throw=False, countdown=1)
    (sent,) = publisher.take()
    assert (sent.exchange, sent.routing_key) == ("celery_delayed_delivery", "tq.key")


def test_eager_retries_run_at_once(app: Celery, publisher: RecordingPublisher) -> None:
    def twice(self: Any) -> tuple[int, str]:
        if self.request.retries < 2:
            raise self.retry(countdown=60)
        return self.request.retries, self.request.id

    result = define(app, twice, bind=True).apply(task_id="ii")
    assert (result.state, result.get(), publisher.sent) == ("SUCCESS", (2, "ii"), [])


@pytest.mark.parametrize(
    ("retries", "delay"), [(0, 1), (1, 2), (2, 4), (5, 32), (9, 512), (10, 600), (50, 600)]
)
def test_delays_double_up_to_a_maximum(retries: int, delay: int) -> None:
    assert backoff(True, retries, 600, jitter=False) == delay


def test_jitter_takes_any_delay_up_to_that() -> None:
    assert {backoff(2, 1, 600, jitter=True) for _ in range(300)} == {0, 1, 2, 3, 4}


def failing(app: Celery, error: BaseException, **options: Any) -> Any:
    def fails() -> None:
        raise error

    return define(app, fails, **options)


def test_chosen_exceptions_retry_by_themselves(app: Celery, publisher: RecordingPublisher) -> None:
    task = failing(app, ValueError("x"), autoretry_for=(ValueError,), retry_kwargs={"countdown": 3})
    with running(task, args=[]), pytest.raises(Retry) as caught:
        task.run()
    assert (caught.value.when, repr(caught.value.exc)) == (3, "ValueError('x')")
    assert len(publisher.sent) == 1


def test_the_delay_of_automatic_retries_may_grow(app: Celery) -> None:
    task = failing(
        app, ValueError("x"), autoretry_for=(Exception,), retry_backoff=3, retry_jitter=False,
        max_retries=None,
    )  # fmt: skip
    with running(task, args=[], retries=4), pytest.raises(Retry) as caught:
        task.run()
    assert caught.value.when == 48


@pytest.mark.parametrize("error", [KeyError("k"), Ignore(), Retry()])
def test_others_pass_through(error: Exception, app: Celery, publisher: RecordingPublisher) -> None:
    task = failing(app, error, autoretry_for=(Exception,), dont_autoretry_for=(LookupError,))
    with running(task, args=[]), pytest.raises(type(error)):
        task.run()
    assert publisher.sent == []


def test_the_last_failure_is_the_tasks_own(app: Celery) -> None:
    task = failing(app, ValueError("x"), autoretry_for=(ValueError,), max_retries=0)
    with running(task, args=[]), pytest.raises(ValueError, match="x"):
        task.run()


def test_a_base_class_may_ask_for_retries(app: Celery) -> None:
    class Stubborn(Task):
        autoretry_for = (ValueError,)
        retry_kwargs = {"max_retries": 1, "countdown": 0}  # noqa: RUF012 - as users write it

    runs: list[int] = []

    def flaky(self: Any) -> None:
        runs.append(self.request.retries)
        raise ValueError("x")

    task = define(app, flaky, base=Stubborn, bind=True)
    assert repr(task.apply().result) == "ValueError('x')"
    assert runs == [0, 1]
