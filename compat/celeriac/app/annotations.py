"""Changing tasks from settings: `task_annotations`. Spec: app-and-cli#5.8."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celeriac.app.app import Celery

__all__ = ["annotations_for"]


def annotations_for(app: Celery, task: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the changes for one task: attribute to value, ``@method`` to a wrapper of that method.

    Args:
        app: Its `task_annotations` is a mapping from task name (or ``*``) to changes, an object with the methods
            `annotate(task)` and `annotate_any()`, the dotted path of one, or a list of these.
        task: The task or its class.
    """
    configured = app.conf.task_annotations
    if not configured:
        return
    sources = configured if isinstance(configured, list | tuple) else [configured]
    for source in sources:
        annotator = _loaded(source)
        changes = (
            (annotator.get("*"), annotator.get(task.name))
            if isinstance(annotator, Mapping)
            else (annotator.annotate_any(), annotator.annotate(task))
        )
        yield from (change for change in changes if change)


def _loaded(source: Any) -> Any:
    if isinstance(source, str):
        module, _, name = source.replace(":", ".").rpartition(".")
        source = getattr(importlib.import_module(module), name)
    return source() if isinstance(source, type) else source
