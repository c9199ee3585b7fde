"""Finding the app that ``-A NAME`` means. Spec: app-and-cli#13.2."""

from __future__ import annotations

import sys
import traceback
from types import ModuleType
from typing import TYPE_CHECKING, Any

from celeriac.app.loader import import_from_cwd, symbol_by_name

if TYPE_CHECKING:
    from celeriac.app.app import Celery

__all__ = ["find_app", "load_app", "symbol_by_name"]

_UNABLE = "\nUnable to load celery application.\n"


def find_app(name: Any, imp: Any = import_from_cwd) -> Any:
    """Return the app that a name means; the current directory comes first on the path.

    1. ``module:attribute`` is that attribute, whatever it is.
    2. ``a.b`` is the attribute `b` of module `a` if there is one, else the module ``a.b``.
    3. A module stands for its attribute `app`, else `celery`, unless that is a module.
    4. A package without either stands for its submodule `celery`.
    5. Last, a module stands for the first `Celery` instance in it.

    Args:
        name: Text; anything else is returned as it is.
        imp: Imports a module by name.

    Raises:
        ImportError: A module is missing, or cannot be imported.
        AttributeError: There is no app where the name points.
    """
    if not isinstance(name, str):
        return name
    found = _symbol(name, imp)
    if ":" in name or not isinstance(found, ModuleType):
        return found
    return _app_of_module(name, found, imp)


def _symbol(name: str, imp: Any) -> Any:
    if ":" in name:
        module_name, _, attribute = name.partition(":")
        return getattr(imp(module_name), attribute)
    module_name, _, attribute = name.rpartition(".")
    if not module_name:
        return imp(name)
    try:
        return getattr(imp(module_name), attribute)
    except AttributeError:
        return imp(name)


def _app_of_module(name: str, module: ModuleType, imp: Any) -> Any:
    for attribute in ("app", "celery"):
        found = getattr(module, attribute, None)
        if found is not None and not isinstance(found, ModuleType):
            return found
    if hasattr(module, "__path__"):
        submodule = f"{name}.celery"
        try:
            return _app_of_module(submodule, imp(submodule), imp)
        except ImportError as exc:
            # Only a package without that submodule goes on; what the submodule fails to import is hidden by rule.
            _note(module, exc)
    instance = _first_instance(module)
    if instance is None:
        raise AttributeError(f"module {module.__name__!r} has no attribute 'celery'")
    return instance


def _note(module: ModuleType, exc: ImportError) -> None:
    import logging

    logging.getLogger("celery.app.find").debug("%s has no celery module: %r", module.__name__, exc)


def _first_instance(module: ModuleType) -> Celery | None:
    from celeriac.app.app import Celery

    return next((value for value in vars(module).values() if isinstance(value, Celery)), None)


def load_app(name: str) -> Any:
    """Return what `find_app` finds, or raise with the text the command line shows.

    Raises:
        ValueError: The app cannot be loaded; the message says why.
    """
    try:
        return find_app(name)
    except ModuleNotFoundError as exc:
        if _is_missing(exc, name):
            raise ValueError(f"{_UNABLE}The module {name} was not found.") from exc
        raise _failed_import(name) from exc
    except AttributeError as exc:
        if ":" in name and _raised_here(exc):
            raise ValueError(f"{_UNABLE}The module {name} was not found.") from exc
        if _raised_here(exc):
            text = str(exc)
            raise ValueError(f"{_UNABLE}{text[:1].upper()}{text[1:]}") from exc
        raise _failed_import(name) from exc
    except Exception as exc:
        raise _failed_import(name) from exc


def _is_missing(exc: ModuleNotFoundError, name: str) -> bool:
    module = name.partition(":")[0]
    return exc.name is not None and (module == exc.name or module.startswith(f"{exc.name}."))


def _raised_here(exc: BaseException) -> bool:
    """Tell whether the error arose while looking at modules, not inside the code of one."""
    tb = exc.__traceback__
    while tb is not None and tb.tb_next is not None:
        tb = tb.tb_next
    return tb is not None and tb.tb_frame.f_globals.get("__name__") == __name__


def _failed_import(name: str) -> ValueError:
    text = "".join(traceback.format_exception(*sys.exc_info()))
    return ValueError(
        f"{_UNABLE}While trying to load the module {name} the following error occurred:\n{text}"
    )
