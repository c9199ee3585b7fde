"""Loaders: sources of configuration, modules with tasks, settings on the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import signals
from celeriac.app.app import Celery
from celeriac.app.loader import BaseLoader, DefaultLoader, symbol_by_name
from celeriac.exceptions import NotConfigured


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CELERY_CONFIG_MODULE", raising=False)
    monkeypatch.delenv("CELERY_LOADER", raising=False)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def new_app(**kwargs: Any) -> Celery:
    return Celery("loaded", set_as_current=False, **kwargs)


@pytest.mark.parametrize(
    "source",
    [
        "ldr_config",
        "ldr_package.config",
        "ldr_holder:Config",
        "ldr_holder.Config",
        "ldr_holder:table",
    ],
)
def test_a_source_is_named_by_module_or_attribute(source: str, folder: Path) -> None:
    write(
        folder,
        {
            "ldr_config.py": "task_serializer = 'yaml'",
            "ldr_package/__init__.py": "",
            "ldr_package/config.py": "task_serializer = 'yaml'",
            "ldr_holder.py": "class Config:\n    task_serializer = 'yaml'\ntable = {'task_serializer': 'yaml'}",
        },
    )
    app = new_app()
    assert app.config_from_object(source) is None
    assert app.conf.task_serializer == "yaml"
    assert str(folder) not in sys.path


@pytest.mark.parametrize("source", ["ldr_missing", "os:nosuchattr", "os.nosuchattr"])
def test_a_missing_source_is_an_error_at_the_first_read(source: str, folder: Path) -> None:
    app = new_app()
    app.config_from_object(source)
    with pytest.raises(ModuleNotFoundError):
        _ = app.conf.task_serializer


def test_a_missing_source_may_be_ignored(folder: Path) -> None:
    app = new_app()
    app.config_from_object("ldr_missing", silent=True)
    assert app.conf.task_serializer == "json"


def test_an_import_error_inside_the_source_is_not_taken_for_its_absence(folder: Path) -> None:
    write(folder, {"ldr_broken.py": "import ldr_dependency_that_is_missing"})
    app = new_app()
    app.config_from_object("ldr_broken")
    with pytest.raises(ModuleNotFoundError, match="ldr_dependency_that_is_missing"):
        _ = app.conf.task_serializer


def test_without_source_the_environment_names_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, {"ldr_env.py": "task_serializer = 'yaml'"})
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "ldr_env")
    assert new_app().conf.task_serializer == "yaml"
    assert new_app(loader="default").conf.task_serializer == "yaml"


def test_the_default_loader_reads_celeryconfig_if_there_is_one(folder: Path) -> None:
    assert new_app(loader="default").conf.task_serializer == "json"
    write(folder, {"celeryconfig.py": "task_serializer = 'yaml'"})
    app = new_app(loader="default")
    assert app.conf.task_serializer == "yaml"
    assert app.loader.configured


def test_a_missing_celeryconfig_can_be_warned_about(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("C_WNOCONF", "1")
    with pytest.warns(NotConfigured, match="celeryconfig"):
        _ = new_app(loader="default").conf.task_serializer


def test_the_loader_may_be_a_class_or_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Own(BaseLoader):
        def read_configuration(self, env: str = "CELERY_CONFIG_MODULE") -> Any:
            return {"task_serializer": "own"}

    assert new_app(loader=Own).conf.task_serializer == "own"
    monkeypatch.setenv("CELERY_LOADER", "default")
    assert isinstance(new_app(loader=Own).loader, DefaultLoader)


def test_default_modules_are_imported_in_order_after_the_signal(folder: Path) -> None:
    write(folder, {f"ldr_m{n}.py": "" for n in range(4)})
    app = new_app(include=["ldr_m2", "ldr_m3"])
    app.conf.imports = ("ldr_m0", "ldr_m1")
    order: list[str] = []
    receiver = signals.import_modules.connect(
        lambda **_: order.extend(m for m in sys.modules if m.startswith("ldr_m")),
        sender=app,
        weak=False,
    )
    modules = app.loader.import_default_modules()
    signals.import_modules.disconnect(receiver, sender=app)
    assert order == []
    assert [module.__name__ for module in modules] == [f"ldr_m{n}" for n in range(4)]
    assert app.loader.task_modules == {f"ldr_m{n}" for n in range(4)}


def test_an_error_of_a_receiver_of_import_modules_is_raised() -> None:
    app = new_app()

    def bad(**_: Any) -> None:
        raise ValueError("stop")

    signals.import_modules.connect(bad, sender=app)
    with pytest.raises(ValueError, match="stop"):
        app.loader.import_default_modules()


def test_a_worker_is_prepared_once(folder: Path) -> None:
    calls: list[str] = []

    class Counting(BaseLoader):
        def on_worker_init(self) -> None:
            calls.append("init")

    app = new_app(loader=Counting)
    app.loader.init_worker()
    app.loader.init_worker()
    assert calls == ["init"]


def test_tasks_are_discovered_when_modules_are_imported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder)
    write(
        folder,
        {
            "ldr_with/__init__.py": "",
            "ldr_with/tasks.py": "",
            "ldr_with/jobs.py": "",
            "ldr_without/__init__.py": "",
            "ldr_with/apps.py": "class Config: ...",
        },
    )
    app = new_app()
    app.autodiscover_tasks(lambda: ["ldr_with.apps.Config", "ldr_without"])
    assert "ldr_with.tasks" not in sys.modules
    app.loader.import_default_modules()
    assert "ldr_with.apps" in sys.modules
    app.autodiscover_tasks(["ldr_with"], related_name="jobs", force=True)
    assert "ldr_with.jobs" in sys.modules
    app.autodiscover_tasks(["ldr_with", "ldr_without"], force=True)
    assert app.loader.task_modules >= {"ldr_with.tasks", "ldr_with.jobs"}


def test_a_discovered_module_that_fails_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder)
    write(folder, {"ldr_bad/__init__.py": "", "ldr_bad/tasks.py": "import ldr_nothing_there"})
    with pytest.raises(ModuleNotFoundError, match="ldr_nothing_there"):
        new_app().autodiscover_tasks(["ldr_bad"], force=True)
    with pytest.raises(ModuleNotFoundError, match="ldr_no_package"):
        new_app().autodiscover_tasks(["ldr_no_package"], force=True)


@pytest.mark.parametrize(
    ("word", "name", "value"),
    [
        ("worker.concurrency=3", "worker_concurrency", "3"),
        ("broker.heartbeat=5", "broker_heartbeat", 5),
        (".prefetch_multiplier=2", "worker_prefetch_multiplier", 2),
        ("_prefetch_multiplier=2", "worker_prefetch_multiplier", 2),
        ("worker_redirect_stdouts=no", "worker_redirect_stdouts", False),
        ('task_routes=(dict){"a":"b"}', "task_routes", {"a": "b"}),
        ('imports=(tuple)["a", "b"]', "imports", ("a", "b")),
        ("imports=a,b", "imports", ("a", "b")),
        ("TASK_TIME_LIMIT=1.5", "task_time_limit", 1.5),
        ("broker.heartbeat=(string)abc", "broker_heartbeat", "abc"),
    ],
)
def test_settings_are_read_off_the_command_line(word: str, name: str, value: Any) -> None:
    assert new_app().loader.cmdline_config_parser([word], namespace="worker") == {name: value}


@pytest.mark.parametrize(
    ("word", "error"),
    [
        ("foo=2", KeyError),
        ("foo", ValueError),
        ("broker.heartbeat=abc", ValueError),
        ("worker_redirect_stdouts=perhaps", ValueError),
        ("task_routes=(dict)[1]", ValueError),
        ("task_routes=(nosuch)1", ValueError),
    ],
)
def test_settings_that_cannot_be_read_are_errors(word: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        new_app().config_from_cmdline([word], namespace="worker")


def test_symbols_are_found_by_colon_dot_and_alias() -> None:
    assert symbol_by_name("os.path:join") is symbol_by_name("os.path.join")
    assert symbol_by_name("short", {"short": "os.path:join"}) is symbol_by_name("os.path:join")
    assert symbol_by_name("json").__name__ == "json"
    assert symbol_by_name(BaseLoader) is BaseLoader
    assert symbol_by_name("celery.app.amqp:AMQP").__module__ == "celeriac.app.amqp"
    with pytest.raises(ImportError):
        symbol_by_name("celery.nothing_here:X")
    with pytest.raises(AttributeError):
        symbol_by_name("os:nothing")
