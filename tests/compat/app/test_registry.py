"""The registry: names, classes, and tasks that travel by name."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import pickle

import pytest

from celeriac.app.app import Celery
from celeriac.app.registry import TaskRegistry
from celeriac.exceptions import InvalidTaskError, NotRegistered


class Named:
    name = "proj.named"


class Nameless:
    name = None


class Periodic(Named):
    name = "proj.periodic"
    type = "periodic"


def test_a_class_is_registered_as_an_instance() -> None:
    registry = TaskRegistry()
    registry.register(Named)
    assert isinstance(registry["proj.named"], Named)


def test_a_missing_task_is_a_key_error_that_says_what_to_do() -> None:
    with pytest.raises(NotRegistered) as caught:
        TaskRegistry()["nope"]
    assert isinstance(caught.value, KeyError)
    assert repr(caught.value).startswith("Task of kind 'nope' never registered")


def test_a_task_without_a_name_is_refused() -> None:
    with pytest.raises(InvalidTaskError, match=r"must specify \.name attribute"):
        TaskRegistry().register(Nameless)


def test_a_task_is_removed_by_name_or_by_itself() -> None:
    registry = TaskRegistry()
    for handle in ("proj.named", Named()):
        registry.register(Named)
        registry.unregister(handle)
        assert "proj.named" not in registry
    with pytest.raises(NotRegistered):
        registry.unregister("proj.named")


def test_tasks_are_filtered_by_type() -> None:
    registry = TaskRegistry()
    registry.register(Named)
    registry.register(Periodic)
    assert [name for name, _ in registry.regular()] == ["proj.named"]
    assert [name for name, _ in registry.periodic()] == ["proj.periodic"]


def test_a_task_unpickles_as_the_registered_instance() -> None:
    with Celery("p", broker="memory://") as app:

        @app.task(name="p.add")
        def add(x: int, y: int) -> int:
            return x + y

        assert pickle.loads(pickle.dumps(add)) is app.tasks["p.add"]
