"""Results of many tasks."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from celeriac.app.app import Celery
from celeriac.exceptions import TimeoutError
from celeriac.result import GroupResult, ResultSet
from tests.compat.result.test_async_result import store


def group_of(app: Celery, *ids: str, **more: Any) -> Any:
    return app.GroupResult("G", [app.AsyncResult(name) for name in ids], **more)


def test_a_group_is_a_collection_with_an_id(app: Celery) -> None:
    group = group_of(app, "a", "b", parent=app.AsyncResult("p"))
    assert (str(group), repr(group), len(group)) == ("G", "<GroupResult: G [a, b]>", 2)
    assert (group[0].id, [member.id for member in group]) == ("a", ["a", "b"])
    assert group.children == group.results
    assert group == "G"
    assert group != group_of(app, "a", "b")
    assert group_of(app, "a") == group_of(app, "a")
    assert group.as_tuple() == (
        ("G", (("p", None), None)),
        [(("a", None), None), (("b", None), None)],
    )
    assert bool(app.GroupResult("G", []))
    assert not bool(app.GroupResult(None, []))


def test_a_set_keeps_each_result_once(app: Celery) -> None:
    results = ResultSet([app.AsyncResult("a")], app=app)
    results.add(app.AsyncResult("a"))
    results.update([app.AsyncResult("b")])
    assert repr(results) == "<ResultSet: [a, b]>"
    with pytest.raises(KeyError):
        results.remove(app.AsyncResult("zz"))
    results.discard("zz")
    results.remove("a")
    assert [result.id for result in results] == ["b"]
    results.clear()
    assert (len(results), results.get(), results.successful()) == (0, [], True)


def test_members_decide_the_state(app: Celery) -> None:
    group = group_of(app, "a", "b")
    store(app, "a", result=1)
    assert (group.ready(), group.waiting(), group.completed_count()) == (False, True, 1)
    store(app, "b", "FAILURE", ValueError("x"))
    assert (group.ready(), group.successful(), group.failed()) == (True, False, True)
    with pytest.raises(ValueError, match="x"):
        group.maybe_throw()


@pytest.mark.parametrize("method", ["get", "join", "join_native"])
def test_values_come_in_member_order(method: str, app: Celery) -> None:
    for name, value in (("b", 2), ("a", 1)):
        store(app, name, result=value)
    group = group_of(app, "a", "b", "a")
    heard: dict[str, Any] = {}
    assert getattr(group, method)(callback=heard.__setitem__) == [1, 2, 1]
    assert heard == {"a": 1, "b": 2}


@pytest.mark.parametrize("method", ["join", "join_native"])
def test_a_failed_member_raises_or_is_returned(method: str, app: Celery) -> None:
    store(app, "a", result=1)
    store(app, "b", "FAILURE", ValueError("boom"))
    with pytest.raises(ValueError, match="boom"):
        getattr(group_of(app, "a", "b"), method)()
    first, second = getattr(group_of(app, "a", "b"), method)(propagate=False)
    assert (first, repr(second)) == (1, "ValueError('boom')")


@pytest.mark.parametrize("method", ["join", "join_native"])
def test_a_member_that_is_missing_times_out(method: str, app: Celery) -> None:
    store(app, "a", result=1)
    with pytest.raises(TimeoutError):
        getattr(group_of(app, "a", "b"), method)(timeout=0.01)


@pytest.mark.parametrize("method", ["join", "join_native"])
def test_a_group_inside_is_a_list(method: str, app: Celery) -> None:
    store(app, "a", result=1)
    store(app, "b", result=2)
    outer = app.GroupResult("O", [group_of(app, "a"), app.AsyncResult("b")])
    assert getattr(outer, method)() == [[1], 2]


def test_documents_come_as_they_are_ready(app: Celery) -> None:
    store(app, "a", result=1)
    found = list(group_of(app, "a").iter_native())
    assert [(name, document["status"], document["result"]) for name, document in found] == [
        ("a", "SUCCESS", 1)
    ]


def test_a_group_is_saved_and_restored(app: Celery) -> None:
    group_of(app, "a", "b", parent=app.AsyncResult("p")).save()
    restored = app.GroupResult.restore("G")
    assert restored == group_of(app, "a", "b", parent=app.AsyncResult("p"))
    assert GroupResult.restore("G", app=app) == restored
    restored.delete()
    assert app.GroupResult.restore("G") is None


def test_forgetting_forgets_the_members(app: Celery) -> None:
    store(app, "a", result=1)
    group_of(app, "a").forget()
    assert app.AsyncResult("a").state == "PENDING"


def test_a_group_pickles(app: Celery) -> None:
    group = GroupResult("G", [app.AsyncResult("a")], app=app)
    app.set_current()
    assert pickle.loads(pickle.dumps(group)) == group


def test_callbacks_wait_for_all(app: Celery) -> None:
    heard: list[Any] = []
    group = group_of(app, "a", "b")
    group.then(heard.append)
    store(app, "a", result=1)
    store(app, "b", result=2)
    assert heard == []
    group.get()
    assert heard == [group]
