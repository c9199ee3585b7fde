"""Results of single tasks."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from celeriac.app.app import Celery
from celeriac.exceptions import IncompleteStream, SecurityError, TaskRevokedError, TimeoutError
from celeriac.result import (
    AsyncResult,
    GroupResult,
    allow_join_result,
    assert_will_not_block,
    denied_join_result,
    result_from_tuple,
    set_join_will_block,
    task_join_will_block,
)
from celeriac_protocol.result import ResultMeta, encode_exception


def store(
    app: Celery, task_id: str, status: str = "SUCCESS", result: Any = None, **more: Any
) -> None:
    if isinstance(result, BaseException):
        result = encode_exception(result, lambda value: isinstance(value, str))
    app.backend.store(ResultMeta(task_id=task_id, status=status, result=result, **more))


def test_an_id_is_needed() -> None:
    with pytest.raises(ValueError, match="AsyncResult requires valid id, not <class 'NoneType'>"):
        AsyncResult(None)  # type: ignore[arg-type]


def test_an_unknown_id_is_pending(app: Celery) -> None:
    result = app.AsyncResult("a")
    assert (result.state, result.result, result.ready(), result.exists()) == (
        "PENDING",
        None,
        False,
        False,
    )
    assert (result.children, result.date_done, result.maybe_throw()) == (None, None, None)


def test_a_result_equals_its_id(app: Celery) -> None:
    result = app.AsyncResult("a")
    assert (str(result), repr(result)) == ("a", "<AsyncResult: a>")
    assert result == "a"
    assert result == app.AsyncResult("a")
    assert result != app.AsyncResult("b")
    assert hash(result) == hash("a")
    assert copy.copy(result) == result


def test_a_result_pickles(app: Celery) -> None:
    result = AsyncResult("a", app=app, parent=AsyncResult("b", app=app))
    loaded = pickle.loads(pickle.dumps(result))
    assert (loaded.id, loaded.parent.id) == ("a", "b")


def test_a_value_is_fetched_once_and_kept(app: Celery) -> None:
    when = "2026-11-22T19:50:20.995659+00:00"
    store(app, "a", result=3, date_done=when, retries=2, worker="w@h", extended=True)
    result = app.AsyncResult("a")
    assert (result.get(), result.state, result.successful(), result.retries) == (
        3,
        "SUCCESS",
        True,
        2,
    )
    assert (result.date_done.year, result.date_done.utcoffset().total_seconds()) == (2026, 0)
    app.backend.forget("a")
    assert result.result == 3


def test_a_failure_is_raised_or_returned(app: Celery) -> None:
    store(app, "a", "FAILURE", KeyError("k"), traceback="TB")
    result = app.AsyncResult("a")
    with pytest.raises(KeyError):
        result.get()
    with pytest.raises(KeyError):
        result.maybe_throw()
    assert repr(result.get(propagate=False)) == "KeyError('k')"
    assert (result.failed(), result.traceback) == (True, "TB")


def test_classes_of_celery_are_ours(app: Celery) -> None:
    meta = {
        "exc_type": "TaskRevokedError",
        "exc_module": "celery.exceptions",
        "exc_message": ["expired"],
    }
    app.backend.store(ResultMeta(task_id="a", status="REVOKED", result=meta))
    with pytest.raises(TaskRevokedError, match="expired"):
        app.AsyncResult("a").get()


@pytest.mark.parametrize(("module", "name"), [("os", "system"), ("subprocess", "Popen")])
def test_a_document_cannot_make_us_call_what_is_no_exception(
    module: str, name: str, app: Celery
) -> None:
    meta = {"exc_type": name, "exc_module": module, "exc_message": ["touch /tmp/x"]}
    app.backend.store(ResultMeta(task_id="a", status="FAILURE", result=meta))
    with pytest.raises(SecurityError, match=f"Expected an exception class, got {module}.{name}"):
        app.AsyncResult("a").get()


def test_a_document_cannot_end_the_reader(app: Celery) -> None:
    meta = {"exc_type": "SystemExit", "exc_module": "builtins", "exc_message": [1]}
    app.backend.store(ResultMeta(task_id="a", status="FAILURE", result=meta))
    assert isinstance(app.AsyncResult("a").get(propagate=False), Exception)


def test_waiting_too_long_is_celerys_timeout(app: Celery) -> None:
    with pytest.raises(TimeoutError, match=r"The operation timed out\."):
        app.AsyncResult("a").get(timeout=0)


def test_an_earlier_step_that_failed_is_noticed(app: Celery) -> None:
    store(app, "first", "FAILURE", ValueError("boom"))
    first = app.AsyncResult("first")
    second = app.AsyncResult("second", parent=first)
    third = app.AsyncResult("third", parent=second)
    with pytest.raises(ValueError, match="boom"):
        third.get(timeout=1)
    with pytest.raises(TimeoutError):
        third.get(timeout=0, follow_parents=False)


def test_an_earlier_step_that_failed_is_noticed_also_when_the_result_is_known(app: Celery) -> None:
    store(app, "first", "FAILURE", ValueError("boom"))
    store(app, "second", "FAILURE", KeyError("because of the first"))
    second = app.AsyncResult("second", parent=app.AsyncResult("first"))
    assert isinstance(second.get(propagate=False, timeout=1), KeyError)
    with pytest.raises(ValueError, match="boom"):
        second.get(timeout=1)


def test_an_earlier_step_may_fail_while_waiting(app: Celery) -> None:
    second = app.AsyncResult("second", parent=app.AsyncResult("first"))
    rounds: list[int] = []

    def fail_later() -> None:
        rounds.append(1)
        store(app, "first", "FAILURE", ValueError("late"))

    with pytest.raises(ValueError, match="late"):
        second.get(timeout=30, interval=0.01, on_interval=fail_later)
    assert rounds


def test_callbacks_hear_the_value(app: Celery) -> None:
    store(app, "a", result=3)
    heard: list[Any] = []
    result = app.AsyncResult("a")
    result.then(heard.append)
    assert result.get(callback=lambda *args: heard.append(args)) == 3
    assert heard == [result, ("a", 3)]
    result.then(heard.append)
    assert heard[-1] is result


def test_failures_have_callbacks_of_their_own(app: Celery) -> None:
    store(app, "a", "FAILURE", ValueError("x"))
    heard: list[Any] = []
    result = app.AsyncResult("a")
    result.then(lambda r: heard.append("ok"), on_error=lambda r: heard.append("failed"))
    assert (result.state, heard) == ("FAILURE", ["failed"])


def test_on_message_gets_the_document(app: Celery) -> None:
    store(app, "a", result=3)
    heard: list[dict[str, Any]] = []
    app.AsyncResult("a").get(on_message=heard.append)
    assert [(document["task_id"], document["result"]) for document in heard] == [("a", 3)]


class Pushing:
    """Wraps a backend: shows a document on the way and the final one, as redis and rpc do."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def wait(
        self,
        task_ids: list[str],
        *,
        on_meta: Callable[[ResultMeta], None],
        on_message: Callable[[ResultMeta], None],
        **options: Any,
    ) -> None:
        for task_id in task_ids:
            final = ResultMeta(task_id=task_id, status="SUCCESS", result=3)
            on_message(ResultMeta(task_id=task_id, status="STARTED"))
            on_message(final)
            on_meta(final)


@pytest.mark.parametrize("how", ["get", "join_native", "iter_native"])
def test_on_message_gets_every_document_a_backend_pushes_once(app: Celery, how: str) -> None:
    result = app.AsyncResult("a", backend=Pushing(app.backend))
    heard: list[dict[str, Any]] = []
    if how == "get":
        result.get(on_message=heard.append)
    else:
        found = app.GroupResult("g", [result])
        getattr(found, how)(on_message=heard.append)
    assert [document["status"] for document in heard] == ["STARTED", "SUCCESS"]


def test_forgetting_starts_with_the_parents(app: Celery) -> None:
    store(app, "a", result=1)
    store(app, "b", result=2)
    app.AsyncResult("b", parent=app.AsyncResult("a")).forget()
    assert [app.AsyncResult(name).state for name in "ab"] == ["PENDING", "PENDING"]


def test_the_tree_below_a_result_is_walked_breadth_first(app: Celery) -> None:
    store(app, "a", result=1, children=([["b", None], None], [["c", None], None]))
    store(app, "b", result=2, children=([["d", None], None],))
    store(app, "c", result=3)
    result = app.AsyncResult("a")
    with pytest.raises(IncompleteStream):
        list(result.iterdeps())
    assert [node.id for _, node in result.iterdeps(intermediate=True)] == ["a", "b", "c", "d"]
    store(app, "d", result=4)
    assert [(node.id, value) for node, value in result.collect()] == [
        ("a", 1),
        ("b", 2),
        ("c", 3),
        ("d", 4),
    ]
    assert result.get_leaf() == 4


def test_tuple_forms_and_back(app: Celery) -> None:
    form: Any = [["C", [["G", [["A", None], None]], [[["h1", None], None], ["h2", None]]]], None]
    result = result_from_tuple(form, app)
    assert isinstance(result.parent, GroupResult)
    assert [member.id for member in result.parent.results] == ["h1", "h2"]
    assert result.parent.parent.id == "A"
    assert result.as_tuple() == (
        ("C", (("G", (("A", None), None)), [(("h1", None), None), (("h2", None), None)])), None,
    )  # fmt: skip
    assert result.as_list() == ["C", "G", "A"]
    assert result_from_tuple(result, app) is result
    with pytest.raises(ValueError, match="not the tuple form"):
        result_from_tuple("abc", app)


def test_waiting_inside_a_task_is_refused(app: Celery) -> None:
    store(app, "a", result=1)
    with denied_join_result():
        with pytest.raises(RuntimeError, match=r"^Never call result\.get\(\) within a task!"):
            app.AsyncResult("a").get()
        assert app.AsyncResult("a").get(disable_sync_subtasks=False) == 1
        with allow_join_result():
            assert app.AsyncResult("a").get() == 1
    assert app.AsyncResult("a").get() == 1


def test_the_process_default_can_be_overridden() -> None:
    set_join_will_block(True)
    try:
        assert task_join_will_block()
        with allow_join_result():
            assert_will_not_block()
        with pytest.raises(RuntimeError):
            assert_will_not_block()
    finally:
        set_join_will_block(False)
