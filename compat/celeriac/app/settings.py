"""`app.conf`: layers of settings, read lazily.

First hit wins, top down: what the program set, dicts given to `add_defaults` (the newest first), the configuration
source, the built-in defaults. A key may be spelled as of Celery 4 (``task_serializer``) or of Celery 3
(``CELERY_TASK_SERIALIZER``), and with a namespace (``CELERY_TASK_SERIALIZER`` for namespace ``CELERY``): all spellings
of one setting are tried in a layer before the next layer is.

Nothing is loaded until the first read; until then what is set is kept as a preset.

Spec: app-and-cli#11
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple

from celeriac.app.settings_censor import censor, pretty
from celeriac.app.settings_source import AttributeSource, check_styles
from celeriac.app.settings_table import NEW_NAMES, OLD_NAMES, SETTINGS, Setting, defaults

__all__ = ["FoundSetting", "Settings"]

_MISSING = object()

_GROUPS = frozenset(
    {
        "arangodb",
        "azureblockblob",
        "beat",
        "broker",
        "cache",
        "cassandra",
        "control",
        "cosmosdbsql",
        "couchbase",
        "database",
        "elasticsearch",
        "event",
        "events",
        "gcs",
        "mongodb",
        "redis",
        "result",
        "s3",
        "security",
        "task",
        "worker",
    }
)


class FoundSetting(NamedTuple):
    """Where `find_option` found a setting: ``{namespace}_{key}``, or ``key`` when `namespace` is empty."""

    namespace: str
    key: str
    type: Setting


def _split(name: str) -> tuple[str, str]:
    group, _, rest = name.partition("_")
    return (group, rest) if group in _GROUPS else ("", name)


_BY_PARTS = {_split(row.name): row for row in SETTINGS}


class Settings(MutableMapping[str, Any]):
    """Settings of one app, as a mapping and as attributes.

    Args:
        presets: Settings that beat the configuration source. They do not take part in deciding which style of names
            the source is written in.
        load: Called before the first read; it is expected to call `set_source`.
        namespace: Prefix of the keys in the source.
    """

    _own = frozenset(
        {
            "_added",
            "_bound",
            "_changes",
            "_defaults",
            "_load",
            "_loading",
            "_lock",
            "_presets",
            "_ready",
            "_source",
            "_upper",
            "deprecated_settings",
            "prefix",
        }
    )

    def __init__(
        self,
        presets: Mapping[str, Any] | None = None,
        *,
        load: Callable[[], None] | None = None,
        namespace: str | None = None,
        builtin: Mapping[str, Any] | None = None,
    ) -> None:
        self._changes: dict[str, Any] = dict(presets or {})
        self._presets = frozenset(self._changes)
        self._added: list[Any] = []
        self._source: Mapping[str, Any] = {}
        self._defaults: Mapping[str, Any] = defaults() if builtin is None else builtin
        self._load = load
        self._ready = load is None
        self._loading = False
        self._lock = threading.RLock()
        self._bound: list[Callable[..., Any]] = []
        self.deprecated_settings: set[str] | None = None
        self._set_prefix(namespace)

    # -- loading -----------------------------------------------------------------------------------

    def _set_prefix(self, namespace: str | None) -> None:
        self.prefix: str | None = f"{namespace.rstrip('_')}_" if namespace else None
        self._upper = bool(self.prefix and self.prefix.isupper())

    def _ensure(self) -> None:
        if self._ready:
            return
        with self._lock:
            if self._ready or self._loading or self._load is None:
                return
            self._loading = True
            try:
                self._load()
                self._ready = True
            finally:
                self._loading = False

    def set_source(self, source: Any, namespace: str | None = None) -> None:
        """Put the configuration source in place.

        Args:
            source: A mapping, or any object whose attributes are the settings.
            namespace: Prefix of its keys; with one, old and new names may be mixed.

        Raises:
            ImproperlyConfigured: Old and new names are mixed.
        """
        if source is None:
            source = {}
        elif not isinstance(source, Mapping):
            source = AttributeSource(source)
        self._set_prefix(namespace)
        self._added = [dict(extra()) if callable(extra) else extra for extra in self._added]
        named = {*source, *(key for key in self._changes if key not in self._presets)}
        self.deprecated_settings = check_styles(named, strict=self.prefix is None)
        self._source = source

    def reset(self, load: Callable[[], None]) -> None:
        """Forget source and run-time changes, and load again before the next read. Presets of the constructor stay."""
        with self._lock:
            self._changes = {
                key: value for key, value in self._changes.items() if key in self._presets
            }
            self._source = {}
            self.deprecated_settings = None
            self._load = load
            self._ready = False

    def finalize(self) -> Settings:
        """Load now if that did not happen yet."""
        self._ensure()
        return self

    # -- mapping -----------------------------------------------------------------------------------

    def _spellings(self, key: str) -> tuple[str, ...]:
        if self.prefix is None:
            other = OLD_NAMES.get(key) or NEW_NAMES.get(key)
            return (key,) if other is None else (key, other)
        prefixed = self.prefix + (key.upper() if self._upper else key)
        found = [prefixed, key]
        found += [name for name in (OLD_NAMES.get(key), NEW_NAMES.get(key)) if name]
        return tuple(found)

    def _look_up(self, key: str) -> Any:
        layers = self.maps  # first: loading may bring the prefix that the spellings need
        spellings = self._spellings(key)
        for layer in layers:
            for name in spellings:
                value = layer.get(name, _MISSING)
                if value is not _MISSING:
                    return value
        return _MISSING

    @property
    def maps(self) -> list[Mapping[str, Any]]:
        """The layers, the strongest first."""
        self._ensure()
        return [
            self._changes,
            *(extra for extra in self._added if not callable(extra)),
            self._source,
            self._defaults,
        ]

    @property
    def changes(self) -> dict[str, Any]:
        """The topmost layer: what the program set."""
        return self._changes

    @property
    def defaults(self) -> list[Mapping[str, Any]]:
        """Every layer but the topmost."""
        return self.maps[1:]

    def __getitem__(self, key: str) -> Any:
        value = self._look_up(key)
        if value is _MISSING:
            raise KeyError(key)
        return value

    def get(self, key: str, default: Any = None) -> Any:
        """Return a setting, or `default` when there is none of that name."""
        value = self._look_up(key)
        return default if value is _MISSING else value

    def __setitem__(self, key: str, value: Any) -> None:
        # Whatever spelling was used before, the latest one counts.
        for name in self._spellings(key):
            self._changes.pop(name, None)
        self._changes[key] = value

    def __delitem__(self, key: str) -> None:
        if key not in self._changes:
            raise KeyError(f"Key not found in first mapping: {key!r}")
        del self._changes[key]

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set several settings at once."""
        changed = dict(*args, **kwargs)
        for key, value in changed.items():
            self[key] = value
        for callback in self._bound:
            callback(**changed)

    def clear(self) -> None:
        """Forget what the program set."""
        self._changes.clear()

    def __iter__(self) -> Iterator[str]:
        seen: set[str] = set()
        for layer in self.maps:
            for key in layer:
                if key not in seen:
                    yield key
                    seen.update(self._aliases(key))

    def _aliases(self, key: str) -> Iterable[str]:
        """Every key that means the same setting as `key`, so that iteration names it once."""
        if self.prefix and key.startswith(self.prefix):
            plain = key[len(self.prefix) :].lower()
            if plain in self._defaults:
                return (key, plain, OLD_NAMES.get(plain) or plain)
        return (key, OLD_NAMES.get(key) or NEW_NAMES.get(key) or key)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return True

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._look_up(key) is not _MISSING

    def __repr__(self) -> str:
        return f"Settings({', '.join(repr(dict(layer)) for layer in self.maps)})"

    # -- attributes --------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name in Settings._own or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        value = self._look_up(name)
        if value is _MISSING:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if name in Settings._own:
            object.__setattr__(self, name, value)
        else:
            self[name] = value

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self})

    @property
    def broker_url(self) -> Any:
        """`CELERY_BROKER_URL` of the environment, else the setting."""
        return os.environ.get("CELERY_BROKER_URL") or self.first("broker_url", "broker_host")

    @property
    def broker_read_url(self) -> Any:
        """`CELERY_BROKER_READ_URL` of the environment, else the setting, else `broker_url`."""
        return (
            os.environ.get("CELERY_BROKER_READ_URL")
            or self.get("broker_read_url")
            or self.broker_url
        )

    @property
    def broker_write_url(self) -> Any:
        """`CELERY_BROKER_WRITE_URL` of the environment, else the setting, else `broker_url`."""
        return (
            os.environ.get("CELERY_BROKER_WRITE_URL")
            or self.get("broker_write_url")
            or self.broker_url
        )

    @property
    def result_backend(self) -> Any:
        """`CELERY_RESULT_BACKEND` of the environment, else the setting."""
        return os.environ.get("CELERY_RESULT_BACKEND") or self.get("result_backend")

    @property
    def task_default_exchange(self) -> Any:
        """The setting, else the name of the default queue."""
        return self.first("task_default_exchange", "task_default_queue")

    @property
    def task_default_routing_key(self) -> Any:
        """The setting, else the name of the default queue."""
        return self.first("task_default_routing_key", "task_default_queue")

    @property
    def timezone(self) -> Any:
        """The setting, else a Django-style `TIME_ZONE` of the same source."""
        return self.first("timezone", "TIME_ZONE")

    # -- the rest of the public surface --------------------------------------------------------------

    def first(self, *keys: str) -> Any:
        """Return the first of these settings that is not `None`."""
        return next((value for key in keys if (value := self.get(key)) is not None), None)

    def add_defaults(self, extra: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> None:
        """Add a layer above the configuration source. A function is called when the source is loaded."""
        if callable(extra) and self._ready:
            extra = extra()
        self._added.insert(0, extra)

    def without_defaults(self) -> Settings:
        """Return the settings that differ from having none: everything but the built-in layer."""
        plain = Settings(self._changes, builtin={})
        plain._added = [extra for extra in self._added if not callable(extra)]
        plain._source = self.maps[-2]
        plain.prefix, plain._upper = self.prefix, self._upper
        return plain

    def value_set_for(self, key: str) -> bool:
        """Tell whether anything above the built-in defaults sets `key`."""
        return key in self.without_defaults()

    def find_option(self, name: str, namespace: str = "") -> FoundSetting:
        """Find a setting by the end of its name.

        Args:
            name: Such as ``concurrency``.
            namespace: Where to look first, such as ``worker``.

        Raises:
            KeyError: There is none.
        """
        name = name.lower()
        for parts in ((namespace, name), _split(name), ("", name)):
            if parts in _BY_PARTS:
                return FoundSetting(*parts, _BY_PARTS[parts])
        for (group, key), row in _BY_PARTS.items():
            if key == name:
                return FoundSetting(group, key, row)
        raise KeyError(name)

    def find_value_for_key(self, name: str, namespace: str = "celery") -> Any:
        """Return the value of the setting that `find_option` finds."""
        found = self.find_option(name, namespace)
        return self.get_by_parts(found.namespace, found.key)

    def get_by_parts(self, *parts: str) -> Any:
        """Return the setting whose name is the non-empty parts joined by underscores."""
        return self["_".join(part for part in parts if part)]

    def table(self, with_defaults: bool = False, censored: bool = True) -> dict[str, Any]:
        """Return the settings as a dict.

        Args:
            with_defaults: Built-in defaults too.
            censored: Hide passwords, keys and tokens.
        """
        shown = self if with_defaults else self.without_defaults()
        plain = {key: shown[key] for key in shown if not key.startswith("_")}
        return censor(plain) if censored else plain

    def humanize(self, with_defaults: bool = False, censored: bool = True) -> str:
        """Return the settings as text, one ``key: value`` after the other."""
        table = self.table(with_defaults, censored)
        return "\n".join(f"{key}: {pretty(value)}" for key, value in table.items())

    def copy(self) -> Settings:
        """Return settings with the same layers and a topmost layer of their own."""
        self._ensure()
        twin = Settings(self._changes, builtin=self._defaults)
        twin._added, twin._source = list(self._added), self._source
        twin.prefix, twin._upper = self.prefix, self._upper
        twin.deprecated_settings = self.deprecated_settings
        return twin

    def bind_to(self, callback: Callable[..., Any]) -> None:
        """Call `callback(**changed)` after every `update`."""
        self._bound.append(callback)
