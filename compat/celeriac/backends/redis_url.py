"""Redis URLs and settings to the arguments of a redis-py connection. Pure: nothing is opened here.

Spec: results-and-workflows#2.2
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from celeriac.backends.base import BackendOptions
from celeriac.exceptions import ImproperlyConfigured

__all__ = ["RedisTarget", "read_redis_url"]

_CERT_REQS = {
    "CERT_REQUIRED": ssl.CERT_REQUIRED,
    "CERT_OPTIONAL": ssl.CERT_OPTIONAL,
    "CERT_NONE": ssl.CERT_NONE,
    "required": ssl.CERT_REQUIRED,
    "optional": ssl.CERT_OPTIONAL,
    "none": ssl.CERT_NONE,
}
_SSL_PATHS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_CERT_REQS_TEXT = (
    "\nA rediss:// URL must have parameter ssl_cert_reqs and this must be set to "
    "CERT_REQUIRED, CERT_OPTIONAL, or CERT_NONE\n"
)
_SSL_ON_PLAIN_TEXT = (
    "\nSSL connection parameters have been provided but the specified URL scheme is redis://. "
    "A Redis SSL connection URL should use the scheme rediss://.\n"
)
_BOOLEANS = {"0": False, "f": False, "false": False, "n": False, "no": False,
             "1": True, "t": True, "true": True, "y": True, "yes": True}  # fmt: skip
_CASTS: Mapping[str, Any] = {
    "db": int,
    "port": int,
    "max_connections": int,
    "health_check_interval": int,
    "socket_timeout": float,
    "socket_connect_timeout": float,
    "socket_keepalive": lambda text: _BOOLEANS[text.lower()],
    "retry_on_timeout": lambda text: _BOOLEANS[text.lower()],
    "ssl_check_hostname": lambda text: _BOOLEANS[text.lower()],
}


@dataclass(frozen=True, slots=True)
class RedisTarget:
    """Where a redis is and how to talk to it."""

    kind: str
    """``tcp``, ``tls``, ``unix`` or ``sentinel``."""
    arguments: dict[str, Any]
    """Keyword arguments of the connection class, `max_connections` aside."""
    max_connections: int | None = None
    sentinels: tuple[tuple[str, int], ...] = ()
    master_name: str = ""
    sentinel_arguments: dict[str, Any] = field(default_factory=dict)
    min_other_sentinels: int = 0


def read_redis_url(url: str, options: BackendOptions) -> RedisTarget:
    """Return the target of a result backend URL; whatever the URL leaves open comes from the `redis_*` settings.

    Args:
        url: ``redis://``, ``rediss://``, ``socket://``, ``redis+socket://`` or ``sentinel://…;sentinel://…``.
        options: Settings and transport options.

    Raises:
        ValueError: TLS parameters that do not fit the scheme, a database that is no number.
        ImproperlyConfigured: A sentinel URL without `master_name`.
    """
    if url.startswith("sentinel"):
        return _read_sentinel_urls(url, options)
    arguments = _defaults(options)
    scheme, from_url = _read_one(url)
    arguments.update(from_url)
    kind = {"rediss": "tls", "socket": "unix", "redis+socket": "unix", "unix": "unix"}.get(
        scheme, "tcp"
    )
    if kind == "unix":
        for name in ("host", "port", "socket_connect_timeout", "socket_keepalive"):
            arguments.pop(name, None)
    use_ssl = options.setting("redis_backend_use_ssl")
    if use_ssl and kind == "tcp":
        kind = "tls"
        arguments.update(use_ssl)
        _check_cert_reqs(arguments)
    max_connections = arguments.pop("max_connections", None)
    return RedisTarget(kind, arguments, max_connections)


def _read_sentinel_urls(url: str, options: BackendOptions) -> RedisTarget:
    master_name = options.transport("master_name")
    if not master_name:
        raise ImproperlyConfigured(
            "A sentinel:// result backend needs result_backend_transport_options['master_name']"
        )
    parts = [_read_one(part)[1] for part in url.split(";") if part]
    arguments = _defaults(options)
    arguments.update(parts[0])
    for name in ("host", "port"):
        arguments.pop(name, None)
    use_ssl = options.setting("redis_backend_use_ssl")
    if use_ssl:
        arguments.update(use_ssl, ssl=True)
        _check_cert_reqs(arguments)
    max_connections = arguments.pop("max_connections", None)
    return RedisTarget(
        "sentinel",
        arguments,
        max_connections,
        tuple((part.get("host", "localhost"), int(part.get("port", 26379))) for part in parts),
        str(master_name),
        dict(options.transport("sentinel_kwargs") or {}),
        int(options.transport("min_other_sentinels", 0)),
    )


def _defaults(options: BackendOptions) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "host": options.setting("redis_host", "localhost"),
        "port": options.setting("redis_port", 6379),
        "db": options.setting("redis_db", 0),
        "socket_timeout": options.setting("redis_socket_timeout", 120.0),
        "retry_on_timeout": bool(options.setting("redis_retry_on_timeout", False)),
    }
    optional = {
        "username": "redis_username",
        "password": "redis_password",
        "max_connections": "redis_max_connections",
        "socket_connect_timeout": "redis_socket_connect_timeout",
        "socket_keepalive": "redis_socket_keepalive",
        "health_check_interval": "redis_backend_health_check_interval",
        "client_name": "redis_client_name",
        "credential_provider": "redis_backend_credential_provider",
    }
    for argument, name in optional.items():
        value = options.setting(name)
        if value is not None:
            settings[argument] = value
    for name in ("socket_timeout", "socket_connect_timeout", "socket_keepalive", "client_name"):
        value = options.transport(name)
        if value is not None:
            settings[name] = value
    if "credential_provider" in settings:
        settings.pop("username", None)
        settings.pop("password", None)
    return settings


def _read_one(url: str) -> tuple[str, dict[str, Any]]:
    split = urlsplit(url)
    query = dict(parse_qsl(split.query))
    found: dict[str, Any] = {}
    if split.username:
        found["username"] = unquote(split.username)
    if split.password:
        found["password"] = unquote(split.password)
    if split.scheme in ("socket", "redis+socket", "unix"):
        found["path"] = unquote(f"{split.netloc.rpartition('@')[2]}{split.path}")
        database = query.pop("virtual_host", None)
    else:
        if split.hostname:
            found["host"] = unquote(split.hostname)
        if split.port:
            found["port"] = split.port
        database = query.pop("virtual_host", None)
        if split.path.strip("/"):
            database = split.path.strip("/")
    if database is not None:
        found["db"] = int(database.strip("/"))
    found.update({name: _CASTS.get(name, str)(text) for name, text in query.items()})
    _check_ssl(split.scheme, found)
    return split.scheme, found


def _check_ssl(scheme: str, arguments: dict[str, Any]) -> None:
    if scheme == "rediss":
        _check_cert_reqs(arguments)
    elif any(name in arguments for name in ("ssl_cert_reqs", *_SSL_PATHS)):
        raise ValueError(_SSL_ON_PLAIN_TEXT)


def _check_cert_reqs(arguments: dict[str, Any]) -> None:
    given = arguments.get("ssl_cert_reqs")
    if not isinstance(given, ssl.VerifyMode):
        if given not in _CERT_REQS:
            raise ValueError(_CERT_REQS_TEXT)
        given = _CERT_REQS[given]
    arguments["ssl_cert_reqs"] = given
    if given is ssl.CERT_NONE:
        # Without a verified certificate there is no name to check; redis-py would refuse the pair.
        arguments.setdefault("ssl_check_hostname", False)
