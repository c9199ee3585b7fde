"""Which class serves which URL, and what is said when none does."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from celeriac import backends
from celeriac.backends import ALIASES, BackendOptions, ResultBackend, by_url, find_class
from celeriac.backends.disabled import DisabledBackend
from celeriac.backends.memory import MemoryBackend
from celeriac.backends.rpc import RpcBackend
from celeriac.exceptions import ImproperlyConfigured
from celeriac_protocol.result import ResultMeta


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_every_row_of_the_table_names_a_backend(alias: str) -> None:
    found = find_class(alias)
    assert isinstance(found, type)
    assert issubclass(found, ResultBackend)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (None, "DisabledBackend"),
        ("", "DisabledBackend"),
        ("disabled", "DisabledBackend"),
        ("disabled://", "DisabledBackend"),
        ("rpc", "RpcBackend"),
        ("rpc://", "RpcBackend"),
        ("redis", "RedisBackend"),
        ("redis://host:1234/3", "RedisBackend"),
        ("redis+socket:///tmp/redis.sock?virtual_host=3", "RedisBackend"),
        ("rediss://host/0?ssl_cert_reqs=required", "RedisBackend"),
        ("cache+memory://", "MemoryBackend"),
        ("db+sqlite://", "DatabaseBackend"),
        ("celeriac.backends.disabled:DisabledBackend", "DisabledBackend"),
        ("celeriac.backends.disabled.DisabledBackend", "DisabledBackend"),
        (MemoryBackend, "MemoryBackend"),
    ],
)
def test_a_url_an_alias_or_a_path_names_a_backend(url: Any, name: str) -> None:
    options = BackendOptions(settings={"cache_backend": "memory"})
    backend = by_url(url, options)
    assert type(backend).__name__ == name
    backend.close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("nosuch", "No module named 'nosuch'"),
        ("nosuch://host", "No module named 'nosuch'"),
        ("a+b://c", "No module named 'a'"),
        ("mod.nosuch:Class", "No module named 'mod'"),
        ("os:path", "is a Python module, not a backend class."),
        ("collections:OrderedDict", "OrderedDict is no ResultBackend"),
        ("celeriac.backends:Nothing", "has no attribute 'Nothing'"),
    ],
)
def test_an_unknown_name_is_refused_with_the_reason(url: str, reason: str) -> None:
    name = url.partition("://")[0].partition("+")[0]
    with pytest.raises(ImproperlyConfigured) as caught:
        by_url(url, BackendOptions())
    text = str(caught.value)
    assert text.startswith(f"Unknown result backend: {name!r}.  Did you spell that correctly? (")
    assert reason in text


@pytest.mark.parametrize("url", ["cache", "cache+memcached://host", "cache+nosuch://"])
def test_other_caches_are_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="is unknown,\nPlease use one of"):
        by_url(url, BackendOptions())


def test_overrides_come_before_the_table() -> None:
    options = BackendOptions(
        settings={"override_backends": {"redis": "celeriac.backends.rpc:RpcBackend"}}
    )
    assert isinstance(by_url("redis://host", options), RpcBackend)


def test_entry_points_name_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint(
        "mine", "celeriac.backends.disabled:DisabledBackend", "celery.result_backends"
    )

    def entry_points(*, group: str, name: str) -> EntryPoints:
        return EntryPoints([entry]).select(group=group, name=name)

    monkeypatch.setattr(backends, "entry_points", entry_points)
    assert isinstance(by_url("mine://", BackendOptions()), DisabledBackend)


def test_the_part_behind_the_plus_reaches_the_backend(tmp_path: Path) -> None:
    assert by_url("db+sqlite://", BackendOptions()).url == "sqlite://"
    assert by_url(f"file://{tmp_path}", BackendOptions()).url == f"file://{tmp_path}"


def test_a_disabled_backend_stores_nothing_and_says_so() -> None:
    backend = by_url(None, BackendOptions())
    backend.expect("t1")
    backend.store(ResultMeta(task_id="t1", status="SUCCESS"))
    for read in (backend.fetch, backend.forget, backend.fetch_group, backend.exists):
        with pytest.raises(NotImplementedError, match="No result backend is configured"):
            read("t1")
    with pytest.raises(NotImplementedError, match="No result backend is configured"):
        backend.wait(["t1"], timeout_s=1, on_meta=lambda meta: None)
    assert backend.chords == "refused"
    assert backend.no_chords_text.startswith(
        "Starting chords requires a result backend to be configured.\n\nNote that a group chained"
    )
