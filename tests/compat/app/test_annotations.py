"""Changing tasks from settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from celeriac.app.app import Celery

MakeApp = Callable[..., Celery]


class Everywhere:
    def annotate(self, task: Any) -> dict[str, Any] | None:
        return {"rate_limit": "3/s"} if task.name == "proj.body" else None

    def annotate_any(self) -> dict[str, Any]:
        return {"time_limit": 9}


def body() -> str:
    return "ran"


def annotated(make_app: MakeApp, annotations: Any) -> Any:
    app = make_app(task_annotations=annotations)
    return app.task(body, shared=False, lazy=False, name="proj.body")


def test_a_mapping_names_tasks_and_all_tasks(make_app: MakeApp) -> None:
    task = annotated(
        make_app, {"*": {"time_limit": 1, "priority": 2}, "proj.body": {"time_limit": 5}}
    )
    assert (task.time_limit, task.priority) == (5, 2)


@pytest.mark.parametrize("given", [Everywhere(), Everywhere, f"{__name__}.Everywhere"])
def test_an_object_decides(given: Any, make_app: MakeApp) -> None:
    task = annotated(make_app, given)
    assert (task.rate_limit, task.time_limit) == ("3/s", 9)


def test_several_sources_are_applied_in_order(make_app: MakeApp) -> None:
    task = annotated(make_app, [Everywhere(), {"*": {"time_limit": 4}}])
    assert (task.rate_limit, task.time_limit) == ("3/s", 4)


def test_methods_are_wrapped(make_app: MakeApp) -> None:
    def around(method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return "around", method(*args, **kwargs)

        return wrapper

    task = annotated(make_app, {"proj.body": {"@__call__": around}})
    assert task() == ("around", "ran")
