"""`import celery`, served from Celeriac.

`install` puts a finder in front of Python's own: a module of the `celery` or `billiard` namespace becomes
a real module object whose attributes are looked up here when they are used, and forwarded when they are assigned, so
that ``celery.app.trace.LOG_SUCCESS = text`` changes what the worker reads. A module or name that Celeriac does not
have raises the ordinary `ModuleNotFoundError`, `ImportError` or `AttributeError`; nothing is pretended.

The table of what is where is `celeriac.shim_table`.

Spec: app-and-cli#1, #2.1
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import threading
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from celeriac.shim_table import (
    MODULES,
    SERIES,
    VERSION,
    VERSION_BANNER,
    ModuleTable,
    version_info_t,
)

__all__ = [
    "SERIES",
    "VERSION",
    "VERSION_BANNER",
    "ShimModule",
    "import_module",
    "install",
    "is_installed",
    "main",
    "version_info_t",
]

_ROOTS = ("celery", "billiard")
_lock = threading.RLock()
_modules: dict[str, ShimModule] = {}


class ShimModule(ModuleType):
    """One module of the `celery` namespace; its attributes live in Celeriac's modules."""

    _table: ModuleTable

    def __init__(self, name: str, table: ModuleTable) -> None:
        super().__init__(name, table.doc)
        object.__setattr__(self, "_table", table)

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            return self._public()
        if name.startswith("__") and name.endswith("__") and name not in self._table.names:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        home = _home(self._table, name)
        if home is not None:
            return _follow(*home)
        child = f"{self.__name__}.{name}"
        if child in MODULES and _is_served(child):
            return import_module(child)
        raise AttributeError(
            f"module {self.__name__!r} has no attribute {name!r} (Celeriac does not provide it)"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        home = None if name.startswith("__") else _home(self._table, name)
        if home is None or home[1] is None:
            super().__setattr__(name, value)
        else:
            setattr(importlib.import_module(home[0]), home[1], value)

    def __delattr__(self, name: str) -> None:
        # Test doubles restore a forwarded attribute by assigning it; what only lives here can be deleted.
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *self._public()} - {"_table"})

    def _public(self) -> list[str]:
        found = set(self._table.names)
        for source in self._table.sources:
            if _exists(source):
                found.update(getattr(importlib.import_module(source), "__all__", ()))
        return sorted(found)


def _home(table: ModuleTable, name: str) -> tuple[str, str | None] | None:
    """Return the module and attribute that serve `name`; attribute `None` stands for the module itself."""
    target = table.names.get(name)
    if target is not None:
        module, colon, attribute = target.partition(":")
        return (module, attribute if colon else None) if _exists(module) else None
    for source in table.sources:
        if not _exists(source):
            continue
        module_object = importlib.import_module(source)
        public = getattr(module_object, "__all__", ())
        if name in public or (
            name in vars(module_object) and not isinstance(vars(module_object)[name], ModuleType)
        ):
            return source, name
    return None


def _follow(module: str, attribute: str | None) -> Any:
    found = importlib.import_module(module)
    return found if attribute is None else getattr(found, attribute)


def _exists(module: str) -> bool:
    if module in sys.modules:
        return True
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its package is not there either
        return False


def _is_served(name: str) -> bool:
    """Tell whether anything behind the module `name` exists."""
    table = MODULES[name]
    homes = (*table.sources, *(target.partition(":")[0] for target in table.names.values()))
    return table.is_package or any(_exists(home) for home in homes)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Meta path finder and loader of the two namespaces."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in MODULES or not _is_served(fullname):
            return None
        return _spec(fullname)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module's attributes are looked up when they are used."""


_finder = _Finder()


def _spec(name: str) -> importlib.machinery.ModuleSpec:
    return importlib.machinery.ModuleSpec(
        name,
        _finder,
        origin=f"celeriac.shim:{name}",
        is_package=MODULES[name].is_package,
    )


def _module(name: str) -> ShimModule:
    with _lock:
        if name not in _modules:
            _modules[name] = ShimModule(name, MODULES[name])
        return _modules[name]


def is_installed() -> bool:
    """Tell whether `install` was called."""
    return _finder in sys.meta_path


def install() -> None:
    """Serve `celery` and `billiard` from here, in this process, from now on.

    Calling it again changes nothing. An installed Celery is hidden; one that was imported already is forgotten, so this
    belongs at the start of a program.
    """
    with _lock:
        if is_installed():
            return
        for name in list(sys.modules):
            if name.partition(".")[0] in _ROOTS and not isinstance(sys.modules[name], ShimModule):
                del sys.modules[name]
        sys.meta_path.insert(0, _finder)


def import_module(name: str) -> ModuleType:
    """Return the module of that `celery` name, whether the shim is installed or not.

    Raises:
        ModuleNotFoundError: Celeriac has no such module.
    """
    if is_installed():
        return importlib.import_module(name)
    if name in MODULES and _is_served(name):
        return _module(name)
    raise ModuleNotFoundError(f"No module named {name!r} (Celeriac does not provide it)", name=name)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a program with the shim installed: ``python -m celeriac.shim prog.py [args]`` or ``… -m module [args]``."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words == ["-m"]:
        sys.stderr.write("usage: python -m celeriac.shim (prog.py | -m module) [args]\n")
        return 2
    import runpy
    from pathlib import Path

    install()
    globals_: Mapping[str, Any] = {}
    if words[0] == "-m":
        sys.argv = words[1:]
        sys.path.insert(0, str(Path.cwd()))
        globals_ = runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path[0:1] = [str(Path(words[0]).resolve().parent)]
        globals_ = runpy.run_path(words[0], run_name="__main__")
    return 0 if globals_ is not None else 1


if __name__ == "__main__":
    # `python -m` runs a second copy of this file; the finder must be the one that everybody else imports.
    sys.exit(importlib.import_module("celeriac.shim").main())
