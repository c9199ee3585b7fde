"""How an app gets its settings. Mixed into `Celery`. Spec: app-and-cli#11, #3.2."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from functools import cached_property
from typing import TYPE_CHECKING, Any

from celeriac import signals
from celeriac.app.settings import Settings
from celeriac.app.zones import UTC_ZONE, get_timezone, local_zone
from celeriac.exceptions import ImproperlyConfigured
from celeriac.signals import Signal

if TYPE_CHECKING:
    from celeriac.app.loader import BaseLoader

__all__ = ["AppConfiguration"]

logger = logging.getLogger("celery.app.base")

_ENV_MISSING = """\
The environment variable {0!r} is not set,
and as such the configuration could not be loaded.

Please set this variable and make sure it points to
a valid configuration module.

Example:
    {0}="proj.celeryconfig"
"""


class AppConfiguration:
    """The part of `Celery` that deals with settings, time zones, and modules to import."""

    main: str | None
    namespace: str | None
    configured: bool
    on_configure: Any
    on_after_configure: Signal
    _conf: Settings
    _config_source: Any
    _config_source_silent: bool
    _fixups: list[Any]
    _pending_periodic_tasks: list[tuple[str, dict[str, Any], bool]]

    if TYPE_CHECKING:

        @property
        def loader(self) -> BaseLoader:
            """The loader."""

        def signature(self, *args: Any, **kwargs: Any) -> Any:
            """Make a signature."""

    @property
    def conf(self) -> Settings:
        """The settings; reading one loads the configuration."""
        return self._conf

    @conf.setter
    def conf(self, value: Settings | Mapping[str, Any]) -> None:
        if isinstance(value, Settings):
            self._conf = value
        else:
            self._conf = Settings(value, load=self._load_config, namespace=self.namespace)

    def _load_config(self) -> None:
        """Read the configuration source into `conf`, and tell who waits for it."""
        if isinstance(self.on_configure, Signal):
            self.on_configure.send(sender=self)
        else:
            self.on_configure()
        if self._config_source is not None:
            self.loader.config_from_object(self._config_source, silent=self._config_source_silent)
        self._conf.set_source(self.prepare_config(self.loader.conf), self.namespace)
        self.configured = True
        while self._pending_periodic_tasks:
            self._add_entry(*self._pending_periodic_tasks.pop(0))
        self.on_after_configure.send(sender=self, source=self._conf)

    def prepare_config(self, c: Any) -> Any:
        """Return the configuration source, for a subclass to change."""
        return c

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> Settings | None:
        """Name the source of the configuration.

        It is loaded at the first read; at once when the app is configured already, which forgets what was set
        since.

        Args:
            obj: Name of a module, ``module:attribute``, module, class, object or mapping.
            silent: A module that is missing means an empty configuration.
            force: Load at once.
            namespace: Prefix of the keys.

        Raises:
            ImportError: On loading, when there is no such module.
            ImproperlyConfigured: On loading, when old and new names are mixed.
        """
        self._config_source = obj
        self._config_source_silent = silent
        self.namespace = namespace or self.namespace
        if force or self.configured:
            self.configured = False
            self._conf.reset(self._load_config)
            return self._conf.finalize()
        return None

    def config_from_envvar(
        self, variable_name: str, silent: bool = False, force: bool = False
    ) -> Settings | bool | None:
        """Name the source of the configuration by an environment variable.

        Raises:
            ImproperlyConfigured: The variable is not set; with `silent` the answer is False.
        """
        name = os.environ.get(variable_name)
        if not name:
            if silent:
                return False
            raise ImproperlyConfigured(_ENV_MISSING.format(variable_name))
        return self.config_from_object(name, silent=silent, force=force)

    def config_from_cmdline(self, argv: Iterable[str], namespace: str = "celery") -> None:
        """Set what ``name.key=value`` words of a command line say. See `BaseLoader.cmdline_config_parser`."""
        self.conf.update(self.loader.cmdline_config_parser(argv, namespace))

    def add_defaults(self, fun: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> None:
        """Add a layer of settings above the configuration source; a function is called when that is loaded."""
        self._conf.add_defaults(fun)

    def setup_security(
        self,
        allowed_serializers: Sequence[str] | None = None,
        key: str | None = None,
        key_password: bytes | None = None,
        cert: str | None = None,
        store: str | None = None,
        digest: str = "sha256",
        serializer: str = "json",
    ) -> None:
        """Sign messages, and accept signed ones only.

        What is left out comes from the settings `security_*`.

        Args:
            allowed_serializers: Serializers that Celery leaves enabled for what is decoded without an accept list; here
                nothing is decoded so, and it has no effect. It never makes unsigned messages acceptable.
            key: Path of the private key.
            key_password: Its password.
            cert: Path of the certificate.
            store: Folder or glob of trusted certificates.
            digest: Digest of the signatures.
            serializer: Serializer of what is signed.

        Raises:
            ImproperlyConfigured: The settings do not name ``auth`` as serializer, or a file is missing.
        """
        from celeriac.app.security import setup_security

        setup_security(
            self.conf,
            key=key,
            key_password=key_password,
            cert=cert,
            store=store,
            digest=digest,
            serializer=serializer,
        )

    def autodiscover_tasks(
        self,
        packages: Iterable[str] | Callable[[], Iterable[str]] | None = None,
        related_name: str | None = "tasks",
        force: bool = False,
    ) -> None:
        """Import a module of the same name from many packages.

        Args:
            packages: Names, or a function that returns them when they are needed; `None` asks the fixups.
            related_name: Module to import from each; `None`: only the packages themselves.
            force: Import now, not when the task modules are imported.
        """
        if force:
            self._autodiscover(packages, related_name)
            return

        def discover(**_: object) -> None:
            self._autodiscover(packages, related_name)

        signals.import_modules.connect(discover, sender=self, weak=False)

    def _autodiscover(
        self,
        packages: Iterable[str] | Callable[[], Iterable[str]] | None,
        related_name: str | None,
    ) -> None:
        found = packages() if callable(packages) else packages
        if not found:
            found = [
                name
                for fixup in self._fixups
                if hasattr(fixup, "autodiscover_tasks")
                for name in fixup.autodiscover_tasks()
            ]
        self.loader.autodiscover_tasks(found, related_name=related_name)

    def add_periodic_task(
        self,
        schedule: Any,
        sig: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | Sequence[Any] = (),
        name: str | None = None,
        **opts: Any,
    ) -> str:
        """Add an entry to `beat_schedule`.

        Args:
            schedule: Seconds, timedelta or schedule.
            sig: Signature, or task.
            args: Arguments added to the signature's.
            kwargs: Keyword arguments added to the signature's.
            name: Key of the entry; by default the signature as text.
            **opts: Call options.

        Returns:
            The key.
        """
        arguments, keywords = tuple(args), dict(kwargs)
        sig = (
            sig.clone(arguments, keywords)
            if hasattr(sig, "clone")
            else self.signature(sig.name, arguments, keywords)
        )
        key = name or repr(sig)
        entry = {
            "schedule": schedule,
            "task": sig.name,
            "args": sig.args,
            "kwargs": sig.kwargs,
            "options": {**sig.options, **opts},
        }
        if self.configured:
            self._add_entry(key, entry, name is not None)
        else:
            self._pending_periodic_tasks.append((key, entry, name is not None))
        return key

    def _add_entry(self, key: str, entry: dict[str, Any], is_named: bool) -> None:
        schedule = self._conf.beat_schedule
        if not is_named and key in schedule:
            logger.warning(
                "Periodic task key=%r shadowed a previous unnamed periodic task. "
                "Pass a name kwarg to add_periodic_task to silence this warning.",
                key,
            )
        schedule[key] = entry

    def either(self, default_key: str, *defaults: Any) -> Any:
        """Return the first of `defaults` that is not `None`, else the setting `default_key`."""
        return next((value for value in defaults if value is not None), self.conf.get(default_key))

    # -- time --------------------------------------------------------------------------------------

    @cached_property
    def timezone(self) -> tzinfo:
        """Zone of `now()` and of schedules; read from the settings once."""
        conf = self.conf
        if conf.timezone:
            return get_timezone(conf.timezone)
        return UTC_ZONE if conf.enable_utc else local_zone()

    def now(self) -> datetime:
        """Return the time as an aware datetime in the app's zone."""
        return self.loader.now(utc=True).astimezone(self.timezone)

    def uses_utc_timezone(self) -> bool:
        """Tell whether the app's zone is UTC."""
        return str(self.timezone) == "UTC"
