"""Result backends: a table from URL scheme or alias to the class that serves it.

A backend is one module here and one row in `ALIASES`. Classes are imported when first asked for.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from celeriac.backends.base import (
    BackendOptions,
    ChordPart,
    ChordState,
    ResultBackend,
)
from celeriac.exceptions import ImproperlyConfigured

__all__ = [
    "ALIASES",
    "BackendOptions",
    "ChordPart",
    "ChordState",
    "ResultBackend",
    "by_url",
    "find_class",
]

ALIASES: dict[str, str] = {
    "cache": "celeriac.backends.memory:MemoryBackend",
    "database": "celeriac.backends.database:DatabaseBackend",
    "db": "celeriac.backends.database:DatabaseBackend",
    "disabled": "celeriac.backends.disabled:DisabledBackend",
    "file": "celeriac.backends.filesystem:FilesystemBackend",
    "redis": "celeriac.backends.redis:RedisBackend",
    "rediss": "celeriac.backends.redis:RedisBackend",
    "rpc": "celeriac.backends.rpc:RpcBackend",
    "sentinel": "celeriac.backends.redis:RedisBackend",
    "socket": "celeriac.backends.redis:RedisBackend",
}
"""URL scheme or alias → ``module:class``."""

_ENTRY_POINTS = "celery.result_backends"


def by_url(url: str | type[ResultBackend] | None, options: BackendOptions) -> ResultBackend:
    """Make the backend of a URL, alias or class path.

    Args:
        url: ``scheme://…``, ``alias+scheme://…``, an alias, ``module:Class``, ``module.Class``, a class, or `None` for
            no backend.
        options: What the backend may know of the configuration.

    Raises:
        ImproperlyConfigured: Nothing of that name, or the backend cannot work as configured.

    Spec: results-and-workflows#2.0
    """
    if not url:
        url = "disabled://"
    if isinstance(url, type):
        return _checked(url.__name__, url)("", options)
    name, rest = _split(url)
    return _checked(name, find_class(name, options.setting("override_backends", {})))(rest, options)


def find_class(name: str, overrides: dict[str, str] | None = None) -> object:
    """Return what an alias, entry point or class path names.

    Args:
        name: As in a URL before ``://`` or ``+``.
        overrides: Aliases that come before the built-in ones (`override_backends`).

    Raises:
        ImproperlyConfigured: Neither an alias, nor an entry point, nor importable.
    """
    path = (overrides or {}).get(name) or ALIASES.get(name)
    if path is None:
        for entry in entry_points(group=_ENTRY_POINTS, name=name):
            return entry.load()
        path = name
    return _load(path, name)


def _split(url: str) -> tuple[str, str]:
    """Return the backend's name and the URL it gets: ``db+sqlite:///x`` → ``db``, ``sqlite:///x``."""
    if "://" not in url:
        return url, ""
    scheme = url.partition("://")[0]
    if "+" in scheme:
        name, _, rest = url.partition("+")
        return name, rest
    return scheme, url


def _load(path: str, name: str) -> object:
    module_name, separator, attribute = path.partition(":")
    if not separator:
        module_name, _, attribute = path.rpartition(".")
    if not module_name:
        raise _unknown(name, ModuleNotFoundError(f"No module named {attribute!r}"))
    try:
        return getattr(import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as exc:
        raise _unknown(name, exc) from exc


def _checked(name: str, found: object) -> type[ResultBackend]:
    if isinstance(found, type) and issubclass(found, ResultBackend):
        return found
    if isinstance(found, type):
        raise _unknown(name, TypeError(f"{found.__qualname__} is no ResultBackend"))
    raise _unknown(name, "is a Python module, not a backend class.")


def _unknown(name: str, reason: object) -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f"Unknown result backend: {name!r}.  Did you spell that correctly? ({reason!r})"
    )
