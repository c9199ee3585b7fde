"""Names whose modules are gone from Celery but which programs still import. Spec: app-and-cli#1."""

from __future__ import annotations

from typing import Any

from celeriac.app.state import get_current_app
from celeriac.local import Proxy

__all__ = ["send_task", "tasks"]

tasks: Any = Proxy(lambda: get_current_app().tasks)
"""Registry of the current app."""


def send_task(*args: Any, **kwargs: Any) -> Any:
    """Publish a call by name through the current app; see `Celery.send_task`."""
    return get_current_app().send_task(*args, **kwargs)
