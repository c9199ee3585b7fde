"""Redis URLs and settings become connection arguments."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from celeriac.backends import BackendOptions
from celeriac.backends.redis_url import RedisTarget, read_redis_url
from celeriac.exceptions import ImproperlyConfigured


def read(url: str, **settings: Any) -> RedisTarget:
    return read_redis_url(url, BackendOptions(settings=settings))


def picked(target: RedisTarget, *names: str) -> dict[str, Any]:
    return {name: target.arguments.get(name) for name in names}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", {"host": "localhost", "port": 6379, "db": 0}),
        ("redis://", {"host": "localhost", "port": 6379, "db": 0}),
        ("redis://h:7/3", {"host": "h", "port": 7, "db": 3}),
        ("redis://:p%40%2F@h", {"host": "h", "password": "p@/", "username": None}),
        ("redis://u:p@h", {"username": "u", "password": "p"}),
        ("redis://h/3?virtual_host=5", {"db": 3}),
        ("redis://h?virtual_host=5", {"db": 5}),
        ("redis://h/0?socket_timeout=4&socket_keepalive=true&client_name=me",
         {"socket_timeout": 4.0, "socket_keepalive": True, "client_name": "me"}),
        ("redis://[::1]:7/0", {"host": "::1", "port": 7}),
    ],
)  # fmt: skip
def test_tcp_urls(url: str, expected: dict[str, Any]) -> None:
    target = read(url)
    assert target.kind == "tcp"
    assert picked(target, *expected) == expected


@pytest.mark.parametrize("scheme", ["socket", "redis+socket"])
def test_socket_urls(scheme: str) -> None:
    target = read(f"{scheme}:///tmp/redis.sock?virtual_host=3", redis_socket_connect_timeout=2.0)
    assert target.kind == "unix"
    assert picked(target, "path", "db") == {"path": "/tmp/redis.sock", "db": 3}
    assert not {"host", "port", "socket_connect_timeout"} & set(target.arguments)


def test_what_the_url_leaves_open_comes_from_the_settings() -> None:
    target = read(
        "redis://h",
        redis_host="other", redis_port=1, redis_db=2, redis_username="u", redis_password="p",
        redis_socket_timeout=3.0, redis_socket_connect_timeout=4.0, redis_retry_on_timeout=True,
        redis_socket_keepalive=True, redis_max_connections=5,
        redis_backend_health_check_interval=6, redis_client_name="me",
    )  # fmt: skip
    assert target.max_connections == 5
    assert target.arguments == {
        "host": "h", "port": 1, "db": 2, "username": "u", "password": "p", "socket_timeout": 3.0,
        "socket_connect_timeout": 4.0, "retry_on_timeout": True, "socket_keepalive": True,
        "health_check_interval": 6, "client_name": "me",
    }  # fmt: skip


def test_a_credential_provider_replaces_user_and_password() -> None:
    provider = object()
    target = read("redis://h", redis_username="u", redis_backend_credential_provider=provider)
    assert target.arguments["credential_provider"] is provider
    assert "username" not in target.arguments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CERT_REQUIRED", ssl.CERT_REQUIRED),
        ("CERT_OPTIONAL", ssl.CERT_OPTIONAL),
        ("CERT_NONE", ssl.CERT_NONE),
        ("required", ssl.CERT_REQUIRED),
        ("optional", ssl.CERT_OPTIONAL),
        ("none", ssl.CERT_NONE),
    ],
)
def test_tls_urls(text: str, expected: ssl.VerifyMode) -> None:
    target = read(f"rediss://h/0?ssl_cert_reqs={text}&ssl_ca_certs=%2Fca.pem")
    assert target.kind == "tls"
    assert target.arguments["ssl_cert_reqs"] is expected
    assert target.arguments["ssl_ca_certs"] == "/ca.pem"


@pytest.mark.parametrize("url", ["rediss://h/0", "rediss://h/0?ssl_cert_reqs=maybe"])
def test_tls_without_a_known_requirement_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must have parameter ssl_cert_reqs"):
        read(url)


def test_tls_parameters_on_a_plain_url_are_refused() -> None:
    with pytest.raises(ValueError, match="should use the scheme rediss://"):
        read("redis://h/0?ssl_cert_reqs=required")


def test_tls_by_setting() -> None:
    target = read("redis://h", redis_backend_use_ssl={"ssl_cert_reqs": ssl.CERT_NONE})
    assert target.kind == "tls"
    assert target.arguments["ssl_check_hostname"] is False


def test_a_database_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="abc"):
        read("redis://h/abc")


def test_sentinel_urls() -> None:
    target = read_redis_url(
        "sentinel://u:p@h1:1/4;sentinel://h2:2/0",
        BackendOptions(
            transport_options={"master_name": "m", "sentinel_kwargs": {"password": "q"}}
        ),
    )
    assert target.kind == "sentinel"
    assert target.sentinels == (("h1", 1), ("h2", 2))
    assert (target.master_name, target.sentinel_arguments) == ("m", {"password": "q"})
    assert picked(target, "db", "username", "password") == {
        "db": 4,
        "username": "u",
        "password": "p",
    }
    assert not {"host", "port"} & set(target.arguments)
    with pytest.raises(ImproperlyConfigured, match="master_name"):
        read("sentinel://h1:1/4")
