"""Loaders: where the configuration comes from, and which modules are imported for their tasks.

`AppLoader` serves an app that names its source; `DefaultLoader` reads ``celeryconfig`` (or the module that
``CELERY_CONFIG_MODULE`` names).

Spec: app-and-cli#11.5, #11.6, #13.5
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

from celeriac import signals
from celeriac.exceptions import NotConfigured, reraise

if TYPE_CHECKING:
    from celeriac.app.app import Celery

__all__ = [
    "AppLoader",
    "BaseLoader",
    "DefaultLoader",
    "cwd_in_path",
    "find_related_module",
    "import_from_cwd",
    "resolve_loader",
    "symbol_by_name",
]

DEFAULT_CONFIG_MODULE = "celeryconfig"
_ALIASES = {
    "app": "celery.loaders.app:AppLoader",
    "default": "celery.loaders.default:Loader",
}


@contextmanager
def cwd_in_path() -> Iterator[None]:
    """Put the current directory first on the import path, unless it is on it."""
    try:
        cwd = str(Path.cwd())
    except FileNotFoundError:  # the directory was deleted: there is nothing in it to import
        yield
        return
    if cwd in sys.path:
        yield
        return
    sys.path.insert(0, cwd)
    try:
        yield
    finally:
        if cwd in sys.path:
            sys.path.remove(cwd)


def import_from_cwd(module: str, package: str | None = None) -> ModuleType:
    """Import a module, looking into the current directory first."""
    with cwd_in_path():
        return importlib.import_module(module, package)


def symbol_by_name(name: Any, aliases: Mapping[str, str] | None = None) -> Any:
    """Return what a name such as ``module:attribute``, ``module.attribute`` or an alias stands for.

    Anything but text is returned as it is.

    Raises:
        ImportError: There is no such module.
        AttributeError: The module has no such attribute.
    """
    if not isinstance(name, str):
        return name
    name = (aliases or {}).get(name, name)
    separator = ":" if ":" in name else "."
    module_name, _, attribute = name.rpartition(separator)
    if not module_name:
        module_name, attribute = attribute, ""
    module = _import_public(module_name)
    return getattr(module, attribute) if attribute else module


def _import_public(name: str) -> Any:
    """Import a module; one of the `celery` namespace is ours, whether the shim is installed or not."""
    if name == "celery" or name.startswith("celery."):
        from celeriac import shim

        return shim.import_module(name)
    return importlib.import_module(name)


def resolve_loader(loader: Any) -> type[BaseLoader]:
    """Return the loader class for an alias, a class path or a class."""
    found: type[BaseLoader] = symbol_by_name(loader, _ALIASES)
    return found


class BaseLoader:
    """Finds configuration and task modules for one app.

    Args:
        app: Whose loader it is.
    """

    builtin_modules: frozenset[str] = frozenset()
    configured = False
    override_backends: Mapping[str, str] = MappingProxyType({})
    worker_initialized = False

    def __init__(self, app: Celery, **kwargs: object) -> None:
        self.app = app
        self.task_modules: set[str] = set()
        self._conf: Any = None

    # Hooks for subclasses; each is called where its name says.

    def on_task_init(self, task_id: str, task: Any) -> None:
        """Called before a task runs."""

    def on_process_cleanup(self) -> None:
        """Called after a task ran."""

    def on_worker_init(self) -> None:
        """Called when a worker starts."""

    def on_worker_shutdown(self) -> None:
        """Called when a worker ends."""

    def on_worker_process_init(self) -> None:
        """Called when a pool process starts."""

    def now(self, utc: bool = True) -> datetime:
        """Return the time, in UTC or as naive local time."""
        return datetime.now(UTC) if utc else datetime.now()  # noqa: DTZ005 - naive is what is asked for

    def import_task_module(self, module: str) -> ModuleType:
        """Import a module and remember it as one that defines tasks."""
        self.task_modules.add(module)
        return self.import_from_cwd(module)

    def import_module(self, module: str, package: str | None = None) -> ModuleType:
        """Import a module by its absolute or relative name."""
        found: ModuleType = (
            importlib.import_module(module, package) if package else _import_public(module)
        )
        return found

    def import_from_cwd(
        self, module: str, imp: Callable[..., ModuleType] | None = None, package: str | None = None
    ) -> ModuleType:
        """Import a module, looking into the current directory first."""
        with cwd_in_path():
            return (imp or self.import_module)(module, package=package)

    @property
    def default_modules(self) -> tuple[str, ...]:
        """Names of the modules `import_default_modules` imports."""
        conf = self.app.conf
        return (
            *self.builtin_modules,
            *_names(conf.imports),
            *_names(conf.include),
        )

    def import_default_modules(self) -> list[ModuleType]:
        """Tell the receivers of `import_modules`, then import every module of `imports` and `include`.

        Raises:
            Exception: Whatever a receiver or a module raised.
        """
        for _, response in signals.import_modules.send(sender=self.app):
            if isinstance(response, Exception):
                reraise(type(response), response, response.__traceback__)
        return [self.import_task_module(module) for module in self.default_modules]

    def init_worker(self) -> None:
        """Prepare the process of a worker: once."""
        if not self.worker_initialized:
            self.worker_initialized = True
            self.import_default_modules()
            self.on_worker_init()

    def shutdown_worker(self) -> None:
        """Run the hook of a worker that ends."""
        self.on_worker_shutdown()

    def init_worker_process(self) -> None:
        """Run the hook of a pool process that starts."""
        self.on_worker_process_init()

    @property
    def conf(self) -> Any:
        """The configuration source, a mapping or an object with attributes; read on first use."""
        if self._conf is None:
            self._conf = self.read_configuration()
        return self._conf

    def config_from_object(self, obj: Any, silent: bool = False) -> bool:
        """Take the configuration from a module name, ``module:attribute``, module, mapping, class or object.

        Args:
            obj: The source.
            silent: Return False when a named module cannot be imported.

        Raises:
            ImportError: There is no such module or attribute.
        """
        if isinstance(obj, str):
            try:
                obj = self._named_source(obj)
            except ImportError:
                if silent:
                    return False
                raise
        self._conf = obj
        self.override_backends = _lookup(obj, "override_backends") or self.override_backends
        return True

    def _named_source(self, name: str) -> Any:
        with cwd_in_path():
            if ":" in name:
                module_name, _, attribute = name.partition(":")
                module = importlib.import_module(module_name)
                return _attribute(module, attribute)
            try:
                return importlib.import_module(name)
            except ImportError as exc:
                module_name, _, attribute = name.rpartition(".")
                # Only "there is no module of that name" may mean "it is an attribute".
                if not module_name or getattr(exc, "name", None) != name:
                    raise
                return _attribute(importlib.import_module(module_name), attribute)

    def read_configuration(self, env: str = "CELERY_CONFIG_MODULE") -> Any:
        """Return the source named by the environment variable `env`, or an empty mapping."""
        name = os.environ.get(env)
        return self._named_source(name) if name else {}

    def autodiscover_tasks(
        self, packages: Iterable[str] | None, related_name: str | None = "tasks"
    ) -> None:
        """Import ``<package>.<related_name>`` for every package and remember those that exist."""
        for package in packages or ():
            module = find_related_module(package, related_name)
            if module is not None:
                self.task_modules.add(module.__name__)

    def find_module(self, module: str) -> Any:
        """Return the import spec of a module in the current directory or on the path, or `None`."""
        with cwd_in_path():
            return importlib.util.find_spec(module)

    def cmdline_config_parser(
        self, args: Iterable[str], namespace: str = "celery"
    ) -> dict[str, Any]:
        """Read settings given as ``name.key=value`` on the command line.

        Args:
            args: Words such as ``worker.concurrency=3``, ``task_routes=(dict){"a": "b"}``; a leading dot or
                underscore stands for `namespace`.
            namespace: The command's own.

        Raises:
            KeyError: No setting of that name.
            ValueError: A word without ``=``, or a value its setting cannot hold.
        """
        return dict(self._parse_setting(word, namespace) for word in args)

    def _parse_setting(self, word: str, namespace: str) -> tuple[str, Any]:
        key, equals, text = word.partition("=")
        if not equals:
            raise ValueError(f"{word!r}: expected name=value")
        key = key.strip().lower().replace(".", "_")
        group, name = (namespace, key[1:]) if key.startswith("_") else ("", key)
        found = self.app.conf.find_option(name, group)
        full_name = found.type.name
        cast = re.fullmatch(r"\((\w+)\)(.*)", text.strip(), re.DOTALL)
        kind, literal = (cast[1], cast[2]) if cast else (found.type.type, text)
        try:
            return full_name, _from_text(kind, literal, explicit=cast is not None)
        except ValueError as exc:
            raise ValueError(f"{full_name!r}: {exc}") from exc


class AppLoader(BaseLoader):
    """The loader of an app that names its configuration source, if it has one."""

    __module__ = "celery.loaders.app"  # reports and banners show it


class DefaultLoader(BaseLoader):
    """The loader of the default app: reads the module ``celeryconfig``."""

    __module__ = "celery.loaders.default"
    __qualname__ = "Loader"

    def setup_settings(self, settings: Any) -> Any:
        """Return what was read, for a subclass to change."""
        return settings

    def read_configuration(self, env: str = "CELERY_CONFIG_MODULE") -> Any:
        """Return the configuration module; an empty mapping when there is no ``celeryconfig``.

        Raises:
            ImportError: A module that the environment names is missing.
        """
        name = os.environ.get(env) or DEFAULT_CONFIG_MODULE
        try:
            source = self._named_source(name)
        except ModuleNotFoundError as exc:
            if name != DEFAULT_CONFIG_MODULE or exc.name != name:
                raise
            if os.environ.get("C_WNOCONF"):
                warnings.warn(
                    NotConfigured(
                        f"No {name!r} module found! Please make sure it exists and is available to Python."
                    ),
                    stacklevel=2,
                )
            return self.setup_settings({})
        self.configured = True
        return self.setup_settings(source)


def find_related_module(package: str, related_name: str | None) -> ModuleType | None:
    """Import ``package.related_name``, or only `package` when `related_name` is empty.

    A package given by a class in it (``app.apps.AppConfig``) is shortened until it is a module.

    Returns:
        The module, or `None` when the package has no module of that name.

    Raises:
        ImportError: The package is missing, or its module is there but fails to import something else.
    """
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as exc:
        parent, _, _ = package.rpartition(".")
        if not parent or not _names_missing(exc, package):
            raise
        return find_related_module(parent, related_name)
    if not related_name:
        return module
    name = f"{package}.{related_name}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if _names_missing(exc, name):
            return None
        raise


def _names_missing(exc: ModuleNotFoundError, name: str) -> bool:
    """Tell whether exactly `name`, or a package on the way to it, is what is missing."""
    return exc.name is not None and (name == exc.name or name.startswith(f"{exc.name}."))


def _attribute(module: ModuleType, attribute: str) -> Any:
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ModuleNotFoundError(
            f"module {module.__name__!r} has no attribute {attribute!r}"
        ) from None


def _lookup(source: Any, key: str) -> Any:
    return source.get(key) if isinstance(source, Mapping) else getattr(source, key, None)


def _names(value: Any) -> Sequence[str]:
    if not value:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


_TRUE = frozenset({"true", "yes", "1", "on", "y", "t"})
_FALSE = frozenset({"false", "no", "0", "off", "n", "f"})


def _boolean(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"expected a truth value, got {text!r}")


def _from_text(kind: str, text: str, *, explicit: bool) -> Any:
    """Read the text of a setting of type `kind`; an explicit cast of a container asks for JSON."""
    match kind:
        case "bool":
            return _boolean(text)
        case "int":
            return int(text)
        case "float":
            return float(text)
        case "list" | "tuple" | "dict" if explicit or kind == "dict":
            value = json.loads(text)
            if not isinstance(value, dict if kind == "dict" else list):
                raise ValueError(f"expected a JSON {kind}, got {text!r}")
            return tuple(value) if kind == "tuple" else value
        case "list" | "tuple":
            words = [word.strip() for word in text.split(",") if word.strip()]
            return tuple(words) if kind == "tuple" else words
        case "bytes":
            return text.encode()
        case "string" | "str" | "any":
            return text
    raise ValueError(f"no such type: {kind!r}")
