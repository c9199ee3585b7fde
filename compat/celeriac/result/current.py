"""How canvas and result objects find an app when none was handed to them.

They sit below the app layer and do not import it. The app layer says once how to find the current app; objects made
without an app ask when they first need one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

__all__ = ["app_or_current", "use_current_app"]

_find: Callable[[], Any] | None = None


def use_current_app(find: Callable[[], Any]) -> None:
    """Install the function that returns the current app; called by the app layer when it is imported."""
    global _find
    _find = find


def app_or_current(app: Any = None) -> Any:
    """Return `app`, or the current app when it is `None`."""
    if app is not None:
        return app
    if _find is None:
        # A program that imported canvas alone, and names no app, still gets the default one.
        importlib.import_module("celeriac.app.task")
    if _find is None:
        raise RuntimeError("no app: pass one with app=")
    return _find()
