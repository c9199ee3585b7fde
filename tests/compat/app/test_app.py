"""Apps: laziness, the current one, tasks shared among several, pickling, forking."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import importlib
import logging
import os
import pickle
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from celeriac import shared_task
from celeriac.app import builtins, state
from celeriac.app.app import Celery
from celeriac.app.task import Task
from celeriac.exceptions import AlwaysEagerIgnored, DuplicateTaskNameWarning, ImproperlyConfigured
from celeriac.local import PromiseProxy


@pytest.fixture(autouse=True)
def _own_current_app() -> Iterator[None]:
    """Leave current app, default app and shared tasks as they were."""
    before = state._per_thread.current_app, state._default_app, list(state._on_finalize)
    yield
    state._per_thread.current_app, default, shared = before
    state.set_default_app(default)
    state._on_finalize[:] = shared


@pytest.fixture
def app() -> Celery:
    return Celery("proj", broker="memory://", backend="cache+memory://")


def test_making_an_app_reads_and_connects_nothing(app: Celery) -> None:
    assert not app.configured
    assert not app.finalized
    assert app._publisher is None
    assert app._backends == []
    assert repr(app).startswith("<Celery proj at 0x")
    assert repr(Celery()).startswith("<Celery __main__ at 0x")


def test_parts_happen_in_order_at_the_first_look_at_the_tasks(app: Celery) -> None:
    order: list[str] = []
    for name in ("on_configure", "on_after_configure", "on_after_finalize"):
        getattr(app, name).connect(lambda name=name, **_: order.append(name), weak=False)
    _ = app.tasks
    assert order == ["on_configure", "on_after_configure", "on_after_finalize"]


def test_a_subclass_overrides_the_signal_by_a_method() -> None:
    class Own(Celery):
        def on_configure(self) -> None:
            self.conf.task_serializer = "yaml"

        def on_init(self) -> None:
            self.was_made = True

    app = Own("own", set_as_current=False)
    assert app.was_made
    assert app.conf.task_serializer == "yaml"


def test_constructor_settings_beat_the_source() -> None:
    app = Celery("p", broker="m://", include=["x"], task_serializer="yaml", set_as_current=False)
    app.config_from_object({"broker_url": "other://", "task_serializer": "json", "imports": ("a",)})
    assert (app.conf.broker_url, app.conf.task_serializer) == ("m://", "yaml")
    assert (app.conf.include, app.conf.imports) == (["x"], ("a",))


def test_settings_before_a_lazy_source_are_kept_and_after_configuring_are_reset(
    app: Celery,
) -> None:
    app.conf.task_default_queue = "mine"
    app.config_from_object({"task_default_queue": "source"})
    assert app.conf.task_default_queue == "mine"
    app.config_from_object({"task_default_queue": "again"})
    assert app.conf.task_default_queue == "again"
    assert app.conf.broker_url == "memory://"


def test_a_source_from_the_environment_must_be_named(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_VARIABLE", raising=False)
    with pytest.raises(ImproperlyConfigured, match="NO_SUCH_VARIABLE"):
        app.config_from_envvar("NO_SUCH_VARIABLE")
    assert app.config_from_envvar("NO_SUCH_VARIABLE", silent=True) is False


def test_a_decorated_function_becomes_a_task_when_it_is_needed(app: Celery) -> None:
    @app.task
    def add(x: int, y: int) -> int:
        """Add."""
        return x + y

    assert type(add) is PromiseProxy
    assert (add.__doc__, add.__evaluated__()) == ("Add.", False)
    assert add(2, 3) == 5
    assert app.configured
    assert not app.finalized
    assert isinstance(add, Task)
    assert (add.__name__, add.__module__, add.__wrapped__(1, 1)) == ("add", __name__, 2)
    assert repr(add).startswith(f"<@task: {__name__}.add of proj at 0x")


def test_options_of_the_decorator(app: Celery) -> None:
    class Base(Task):
        shouts = True

    @app.task(name="named", base=Base, bind=True, once={"graceful": True}, lazy=False)
    def own(self: Any, x: int) -> Any:
        return self.name, x

    assert type(own) is not PromiseProxy
    assert own(1) == ("named", 1)
    assert (own.shouts, own.once) == (True, {"graceful": True})
    assert app.task(filter=lambda task: ("filtered", task), name="f")(len)[0] == "filtered"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [((1,), "argument 1 to @task"), ((len, len), "takes exactly 1 argument")],
)
def test_wrong_use_of_the_decorator(app: Celery, arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        app.task(*arguments)


def test_calls_are_checked_before_they_are_sent_with_python_s_own_words(app: Celery) -> None:
    @app.task(shared=False)
    def add(x: int, /, y: int = 1, *args: int, key: int, **more: int) -> None: ...

    @app.task(bind=True, shared=False)
    def bound(self: Any, x: int) -> None: ...

    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'key'"):
        add.delay(1)
    with pytest.raises(TypeError, match=r"bound\(\) missing 1 required positional argument: 'x'"):
        bound.delay()
    with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
        bound.delay(1, 2)


@pytest.mark.parametrize(
    ("main", "module", "name"),
    [
        ("proj", "proj.tasks", "proj.tasks.add"),
        ("proj", "__main__", "proj.add"),
        (None, "__main__", "__main__.add"),
        (None, None, "__main__.add"),
        ("proj", None, "proj.add"),
    ],
)
def test_tasks_get_names(main: str | None, module: str | None, name: str) -> None:
    assert Celery(main, set_as_current=False).gen_task_name("add", module) == name


def test_the_first_function_keeps_a_name_and_the_second_is_warned_about_once(app: Celery) -> None:
    def first() -> str:
        return "first"

    def second() -> str:
        return "second"

    task = app.task(name="same", shared=False, lazy=False)(first)
    with pytest.warns(DuplicateTaskNameWarning, match="'same' is already registered"):
        again = app.task(name="same", shared=False, lazy=False)(second)
    assert again is task
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        app.task(name="same", shared=False, lazy=False)(second)
        app.task(name="same", shared=False, lazy=False)(first)


def test_registering_a_class_instantiates_names_and_replaces(app: Celery) -> None:
    class Job(Task):
        def run(self) -> str:
            return "ran"

    job = app.register_task(Job)
    assert job.name == f"{__name__}.Job"
    assert app.tasks[job.name] is job
    assert job.app is app
    replacement = app.register_task(Job())
    assert app.tasks[job.name] is replacement


def test_every_app_has_the_built_in_tasks(app: Celery) -> None:
    names = {"accumulate", "backend_cleanup", "chain", "chord", "chord_unlock", "chunks", "group"}
    names |= {"map", "starmap"}
    assert {name for name in app.tasks if name.startswith("celery.")} == {
        f"celery.{name}" for name in names
    }
    assert builtins.__name__ == "celeriac.app.builtins"


def test_a_contract_without_autofinalize_is_kept() -> None:
    app = Celery("strict", autofinalize=False, set_as_current=False)

    @app.task
    def job() -> None: ...

    with pytest.raises(RuntimeError, match="Contract breach: app not finalized"):
        _ = job.name
    with pytest.raises(RuntimeError, match="Contract breach: app not finalized"):
        _ = app.tasks
    app.finalize()
    assert job.name in app.tasks


def test_tasks_are_shared_with_apps_finalized_later_unless_private(app: Celery) -> None:
    @app.task(name="open")
    def shared() -> None: ...

    @app.task(name="private", shared=False)
    def private() -> None: ...

    later = Celery("later", set_as_current=False)
    assert "open" in later.tasks
    assert "private" not in later.tasks
    assert later.tasks["open"].app is later
    assert {"open", "private"} <= set(app.tasks)


def test_a_shared_task_belongs_to_whatever_app_is_current() -> None:
    first, second = Celery("a"), Celery("b")

    @shared_task(name="everywhere")
    def job(x: int) -> int:
        """Say x."""
        return x

    assert (job.app, job.__doc__, job.__name__, job(3)) == (second, "Say x.", "job", 3)
    first.set_current()
    assert job.app is first


def test_shared_task_is_applied_once() -> None:
    @shared_task
    def applied_once() -> None: ...

    with pytest.raises(TypeError, match="applied more than once"):
        shared_task(applied_once)
    with pytest.raises(TypeError, match="must be a callable"):
        shared_task(1)


def test_the_current_app_is_the_last_made_in_this_thread() -> None:
    app = Celery("mine")
    seen: list[Any] = []
    state.set_default_app(Celery("fallback", set_as_current=False))
    thread = threading.Thread(target=lambda: seen.append(state.get_current_app().main))
    thread.start()
    thread.join()
    assert (state.current_app.main, seen) == (app.main, ["fallback"])
    assert state.app_or_default() is app
    assert state.app_or_default(app) is app


def test_a_default_app_is_made_on_demand() -> None:
    state.set_current_app(None)
    state.set_default_app(None)
    assert state.get_current_app().main == "default"
    assert state.get_current_app() is state.get_default_app()


def test_falling_back_can_be_made_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    state.enable_trace()
    try:
        with pytest.raises(Exception, match="DEFAULT APP"):
            state.app_or_default()
    finally:
        state.disable_trace()
    assert "DEFAULT APP" in capfd.readouterr().err


def test_strict_mode_forbids_asking_for_the_current_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("C_STRICT_APP", "1")
    with pytest.raises(RuntimeError, match="USES CURRENT APP"):
        state.get_current_app()


def test_the_zone_is_read_from_the_settings() -> None:
    app = Celery("z", set_as_current=False, timezone="Europe/Paris")
    assert str(app.timezone) == "Europe/Paris"
    assert app.now().utcoffset() in (timedelta(hours=1), timedelta(hours=2))
    assert not app.uses_utc_timezone()
    assert Celery("u", set_as_current=False).uses_utc_timezone()


def test_without_utc_the_zone_is_the_machine_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    app = Celery("l", set_as_current=False, enable_utc=False)
    assert str(app.timezone) == "America/New_York"


def test_ids_are_stable_in_a_thread_and_differ_between_threads(app: Celery) -> None:
    other: list[str] = []
    thread = threading.Thread(target=lambda: other.append(app.thread_oid))
    thread.start()
    thread.join()
    assert app.thread_oid == app.thread_oid
    assert app.oid == app.oid
    assert len({app.thread_oid, other[0], app.oid, Celery("x", set_as_current=False).oid}) == 4
    assert app.thread_oid[14] == "3"  # a name-based id


def test_every_thread_has_a_backend_of_its_own(app: Celery) -> None:
    app.conf.result_backend_thread_safe = False
    other: list[Any] = []
    thread = threading.Thread(target=lambda: other.append(app.backend))
    thread.start()
    thread.join()
    shared = app.backend.thread_safe
    assert app.backend is app.backend
    assert (other[0] is app.backend) is shared


def test_backend_options_come_from_the_settings(app: Celery) -> None:
    app.conf.update(result_expires=60, redis_socket_timeout=3, accept_content=["json", "yaml"])
    options = app.backend_options()
    assert options.expires_s == 60
    assert options.setting("redis_socket_timeout") == 3
    assert "application/json" in options.accept
    app.conf.update(result_expires=timedelta(minutes=2), result_accept_content=["json"])
    assert app.backend_options().expires_s == 120
    assert app.backend_options().accept == frozenset({"application/json"})


def test_an_unknown_backend_is_a_configuration_error() -> None:
    app = Celery("e", set_as_current=False, backend="nosuchbackend://")
    with pytest.raises(ImproperlyConfigured, match="Unknown result backend"):
        _ = app.backend


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "amqp://localhost//"),
        (
            {"broker_host": "h", "broker_port": 1, "broker_user": "u", "broker_password": "p/w"},
            "amqp://u:p%2Fw@h:1//",
        ),
        ({"broker_host": "h", "broker_vhost": "v"}, "amqp://h/v"),
        ({"broker_url": ["redis://a", "redis://b"]}, "redis://a;redis://b"),
        ({"broker_url": "amqp://a", "broker_transport": "pyamqp"}, "pyamqp://a"),
    ],
)
def test_the_broker_url_is_put_together(settings: dict[str, Any], url: str) -> None:
    app = Celery("u", set_as_current=False, changes=settings)
    assert app.broker_url_for(app.conf.get("broker_url")) == url


def test_connections_take_their_options_from_the_settings(app: Celery) -> None:
    app.conf.update(broker_connection_timeout=7, broker_transport_options={"a": 1})
    connection = app.connection_for_read(transport_options={"b": 2})
    assert connection.transport_cls == "memory"
    assert connection.connect_timeout == 7
    assert connection.transport_options == {"a": 1, "b": 2}
    assert app.connection("redis://h/3").virtual_host == "3"
    with app.connection_or_acquire(connection) as given:
        assert given is connection
    with app.producer_or_acquire() as producer, app.connection_or_acquire() as acquired:
        assert producer.connection.as_uri() == acquired.as_uri()


def test_send_task_warns_that_it_is_never_eager(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    publish = importlib.import_module("celeriac.app.publish")
    monkeypatch.setattr(
        publish, "publish_task", lambda *args, **kwargs: sent.append((args, kwargs))
    )
    app.conf.task_always_eager = True
    with pytest.warns(AlwaysEagerIgnored, match="no effect on send_task"):
        app.send_task("some.task", (1,), countdown=3)
    assert sent == [((app, "some.task", (1,), None), {"task": None, "countdown": 3})]


def test_periodic_tasks_are_queued_until_the_app_is_configured(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task(name="tick", shared=False)
    def tick(n: int) -> None: ...

    later = Celery("beat", set_as_current=False)
    assert later.add_periodic_task(1, tick.s(4), name="named", queue="q") == "named"
    assert later.add_periodic_task(2, tick.s(4)) == "tick(4)"
    assert later.conf.beat_schedule == {
        "named": {
            "schedule": 1,
            "task": "tick",
            "args": (4,),
            "kwargs": {},
            "options": {"queue": "q"},
        },
        "tick(4)": {"schedule": 2, "task": "tick", "args": (4,), "kwargs": {}, "options": {}},
    }
    with caplog.at_level(logging.WARNING):
        later.add_periodic_task(3, tick.s(4))
    assert "shadowed a previous unnamed periodic task" in caplog.text


def test_worker_main_wants_the_word(app: Celery) -> None:
    with pytest.raises(ValueError, match="worker sub-command must be specified"):
        app.worker_main(["-l", "INFO"])


def test_start_hands_words_to_the_program_without_its_name(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    program = importlib.import_module("celeriac.cli.main")
    monkeypatch.setattr(program, "main", lambda argv, app: started.append((argv, app)))
    monkeypatch.setattr(sys, "argv", ["prog", "worker", "-c", "1"])
    app.start()
    app.worker_main()
    app.start(["worker", "--concurrency", 2])
    assert [words for words, _ in started] == [
        ["worker", "-c", "1"],
        ["worker", "-c", "1"],
        ["worker", "--concurrency", "2"],
    ]


def test_a_pickled_app_comes_back_with_its_settings_and_is_not_current(app: Celery) -> None:
    app.conf.task_serializer = "yaml"
    copy = pickle.loads(pickle.dumps(app))
    assert (copy.main, copy.conf.task_serializer, copy.conf.broker_url) == (
        "proj",
        "yaml",
        "memory://",
    )
    assert copy.set_as_current is False
    assert state.get_current_app() is app


def test_a_forked_child_starts_without_the_parents_connections(app: Celery) -> None:
    told: list[Any] = []
    app.on_after_fork.connect(lambda sender, **_: told.append(sender), weak=False)
    before = app.backend
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        fresh = app.backend is not before and told == [app]
        os.write(writer, b"fresh" if fresh else b"stale")
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reader, 5) == b"fresh"
    os.close(reader)
    os.close(writer)
    assert app.backend is before


def test_a_closed_app_is_no_longer_among_the_live_ones() -> None:
    with Celery("w", set_as_current=False) as app:
        assert app in state.get_active_apps()
    assert app not in state.get_active_apps()


def test_classes_can_be_bound_to_an_app(app: Celery) -> None:
    class Part:
        app: Any = None

        def __init__(self, value: int = 0) -> None:
            self.value = value

    bound = app.subclass_with_self(Part, name="Bound", extra=1)
    assert (bound.__name__, bound.app, bound.extra, bound(2).value) == ("Bound", app, 1, 2)
    assert issubclass(app.Task, Task)
    assert app.AsyncResult("id").app is app
    assert app.either("broker_pool_limit", None) == 10
    assert app.either("broker_pool_limit", None, 3) == 3


def test_an_own_task_class_is_the_base_of_tasks() -> None:
    class Mine(Task):
        marked = True

    app = Celery("m", task_cls=Mine, set_as_current=False)
    assert app.task(shared=False, name="t")(len).marked
    other = Celery("o", set_as_current=False)
    other.Task = Mine
    assert other.task(shared=False, name="t")(len).app is other


def test_a_bug_report_names_versions_and_masks_secrets() -> None:
    app = Celery("r", broker="redis://:secret@h", set_as_current=False)
    text = app.bugreport()
    assert "software -> celery:5.7.0 (collider) kombu:" in text
    assert "loader   -> celery.loaders.app.AppLoader" in text
    assert "settings -> transport:redis results:disabled" in text
    assert "secret" not in text


def test_signing_needs_its_settings(app: Celery) -> None:
    with pytest.raises(ImproperlyConfigured, match="task_serializer"):
        app.setup_security()
    app.conf.task_serializer = "auth"
    with pytest.raises(ImproperlyConfigured, match="security_key"):
        app.setup_security()
