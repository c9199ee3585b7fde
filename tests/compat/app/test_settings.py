"""Settings: layers, names old and new, namespaces, the environment, and what is masked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from celeriac.app.settings import Settings
from celeriac.app.settings_table import NEW_NAMES, SETTINGS, defaults
from celeriac.exceptions import ImproperlyConfigured


def settings(
    source: Any = None, *, namespace: str | None = None, presets: dict[str, Any] | None = None
) -> Settings:
    made = Settings(presets, load=lambda: made.set_source(source, namespace))
    return made


def test_every_row_of_the_table_can_be_read() -> None:
    conf = settings()
    assert len(SETTINGS) == 231
    assert all(conf[row.name] == conf.get(row.name) == row.default for row in SETTINGS)
    assert all(row.doc.endswith(".") for row in SETTINGS)


def test_defaults_are_copies() -> None:
    conf = settings()
    conf.beat_schedule["x"] = 1
    assert "x" not in settings().beat_schedule
    assert defaults()["beat_schedule"] == {}


def test_old_names_are_unique_and_upper_case() -> None:
    assert all(old.isupper() for old in NEW_NAMES)
    assert len(NEW_NAMES) == len({row.name for row in SETTINGS if row.old_name})


@pytest.mark.parametrize("layer", range(4))
def test_the_uppermost_layer_wins(layer: int) -> None:
    conf = settings({"task_serializer": "source"} if layer < 3 else {})
    if layer < 2:
        conf.add_defaults({"task_serializer": "added first"})
        conf.add_defaults(lambda: {"task_serializer": "added last"})
    if layer < 1:
        conf.task_serializer = "set"
    assert conf.task_serializer == ["set", "added last", "source", "json"][layer]


def test_nothing_is_loaded_before_the_first_read() -> None:
    loads: list[int] = []
    conf = Settings(load=lambda: loads.append(1))
    conf.update(task_serializer="yaml")
    conf["timezone"] = "Europe/Paris"
    assert loads == []
    assert conf.task_serializer == "yaml"
    assert conf.timezone == "Europe/Paris"
    assert loads == [1]


def test_a_load_that_fails_is_tried_again() -> None:
    answers = iter([ImportError("no"), None])

    def load() -> None:
        if (answer := next(answers)) is not None:
            raise answer

    conf = Settings(load=load)
    with pytest.raises(ImportError):
        _ = conf.task_serializer
    assert conf.task_serializer == "json"


def test_unknown_names_are_errors_and_custom_ones_are_kept() -> None:
    conf = settings({"mine": 5})
    assert (conf.mine, conf["mine"], "mine" in conf) == (5, 5, True)
    with pytest.raises(KeyError):
        conf["nosuch"]
    with pytest.raises(AttributeError, match="'Settings' object has no attribute 'nosuch'"):
        _ = conf.nosuch


def test_old_names_are_read_under_both_spellings() -> None:
    conf = settings({"CELERY_TASK_SERIALIZER": "pickle", "CELERYD_CONCURRENCY": 3})
    assert (conf.task_serializer, conf["CELERY_TASK_SERIALIZER"]) == ("pickle", "pickle")
    assert conf.worker_concurrency == 3
    assert conf.deprecated_settings == {"CELERY_TASK_SERIALIZER", "CELERYD_CONCURRENCY"}


def test_the_latest_value_counts_whatever_its_spelling() -> None:
    conf = settings({"CELERY_TASK_SERIALIZER": "pickle"})
    conf.task_serializer = "yaml"
    conf.CELERY_TASK_SERIALIZER = "json"
    assert conf.task_serializer == "json"


def test_old_and_new_names_do_not_mix_and_the_majority_decides() -> None:
    conf = settings({"CELERY_TASK_SERIALIZER": "p", "BROKER_URL": "x", "accept_content": ["json"]})
    with pytest.raises(ImproperlyConfigured) as caught:
        _ = conf.broker_url
    assert "accept_content                       -> CELERY_ACCEPT_CONTENT" in str(caught.value)
    conf = settings({"BROKER_URL": "x", "accept_content": ["json"]})
    with pytest.raises(ImproperlyConfigured) as caught:
        _ = conf.broker_url
    assert "BROKER_URL                           -> broker_url" in str(caught.value)


def test_a_setting_given_in_both_styles_is_allowed() -> None:
    conf = settings(
        {"CELERY_TASK_SERIALIZER": "old", "task_serializer": "new", "broker_url": "m://"}
    )
    assert (conf.task_serializer, conf.CELERY_TASK_SERIALIZER) == ("new", "old")


def test_constructor_arguments_do_not_decide_the_style() -> None:
    conf = settings(
        {"CELERYD_CONCURRENCY": 3, "BROKER_URL": "x"}, presets={"broker_url": "memory://"}
    )
    assert (conf.broker_url, conf.worker_concurrency) == ("memory://", 3)


def test_what_the_program_set_takes_part_in_the_decision() -> None:
    conf = settings({})
    conf.update(CELERY_TASK_SERIALIZER="pickle", task_routes={"a": "b"})
    with pytest.raises(ImproperlyConfigured):
        _ = conf.task_serializer


@pytest.mark.parametrize("namespace", ["CELERY", "CELERY_"])
def test_a_namespace_is_looked_up_first_and_plain_names_are_a_fallback(namespace: str) -> None:
    source = {
        "CELERY_TASK_ALWAYS_EAGER": True,
        "BROKER_URL": "fallback://",
        "CELERY_RESULT_BACKEND": "cache+memory://",
        "TIME_ZONE": "Europe/Paris",
    }
    conf = settings(source, namespace=namespace)
    assert conf.task_always_eager is True
    assert conf["task_always_eager"] is True
    assert conf.broker_url == "fallback://"
    assert conf.result_backend == "cache+memory://"
    assert conf.timezone == "Europe/Paris"
    conf.task_always_eager = False
    assert conf.task_always_eager is False


def test_a_lower_case_namespace_does_not_match_upper_case_keys() -> None:
    conf = settings({"CELERY_TASK_ALWAYS_EAGER": True}, namespace="celery")
    assert conf.task_always_eager is False


def test_the_source_may_be_any_object() -> None:
    class Config(SimpleNamespace):
        task_serializer = "yaml"
        own = 1
        _hidden = 2

        def method(self) -> None: ...

    conf = settings(Config)
    assert (conf.task_serializer, conf.own, conf._hidden) == ("yaml", 1, 2)
    assert {"own", "task_serializer"} <= set(conf.table())
    assert not {"_hidden", "method"} & set(conf.table())


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("CELERY_BROKER_URL", "broker_url"),
        ("CELERY_BROKER_READ_URL", "broker_read_url"),
        ("CELERY_BROKER_WRITE_URL", "broker_write_url"),
        ("CELERY_RESULT_BACKEND", "result_backend"),
    ],
)
def test_the_environment_wins_on_attribute_access_only(
    variable: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = settings({name: "file://"})
    monkeypatch.setenv(variable, "env://")
    assert getattr(conf, name) == "env://"
    assert conf[name] == conf.get(name) == "file://"


def test_read_and_write_urls_fall_back_to_the_broker_url() -> None:
    conf = settings({"broker_url": "a://", "broker_write_url": "b://"})
    assert (conf.broker_read_url, conf.broker_write_url) == ("a://", "b://")


def test_default_exchange_and_routing_key_are_the_default_queue() -> None:
    conf = settings({"task_default_queue": "q"})
    assert (conf.task_default_exchange, conf.task_default_routing_key) == ("q", "q")


def test_it_is_a_mapping_whose_changes_are_on_top() -> None:
    conf = settings({"task_serializer": "yaml"})
    conf["mine"] = 1
    assert conf.changes == {"mine": 1}
    assert conf.pop("mine") == 1
    with pytest.raises(KeyError, match="Key not found in first mapping"):
        del conf["task_serializer"]
    assert conf.setdefault("task_serializer", "x") == "yaml"
    assert len(conf) == len(list(conf)) == len(set(conf))
    assert dict(conf)["task_serializer"] == "yaml"
    other = settings()
    other.update(conf)
    assert other.task_serializer == "yaml"


def test_iteration_names_a_setting_once_however_it_is_spelled() -> None:
    names = list(settings({"CELERY_TASK_SERIALIZER": "pickle"}))
    assert "CELERY_TASK_SERIALIZER" in names
    assert "task_serializer" not in names


def test_a_bound_function_hears_of_updates() -> None:
    heard: list[dict[str, Any]] = []
    conf = settings()
    conf.bind_to(lambda **changed: heard.append(changed))
    conf.update(task_serializer="yaml")
    assert heard == [{"task_serializer": "yaml"}]


def test_a_copy_changes_alone() -> None:
    conf = settings({"task_serializer": "yaml"})
    twin = conf.copy()
    twin.task_serializer = "json"
    assert (conf.task_serializer, twin.task_serializer) == ("yaml", "json")


def test_value_set_for_looks_above_the_defaults() -> None:
    conf = settings({"CELERY_TASK_SERIALIZER": "yaml"})
    assert conf.value_set_for("task_serializer")
    assert not conf.value_set_for("task_routes")


def test_options_are_found_by_the_end_of_their_name() -> None:
    conf = settings({"result_extended": True})
    assert conf.find_option("concurrency")[:2] == ("worker", "concurrency")
    assert conf.find_option("url", "broker")[:2] == ("broker", "url")
    assert conf.find_value_for_key("extended", "result") is True
    assert conf.get_by_parts("task", "always_eager") is False
    assert conf.first("nosuch", "task_serializer") == "json"
    with pytest.raises(KeyError):
        conf.find_option("nosuch")


def test_secrets_are_masked() -> None:
    conf = settings(
        {
            "BROKER_URL": "redis://:pw@h/1;amqp://u:p@x//",
            "CELERY_RESULT_BACKEND": "db+postgresql://u:se@cret@h/d",
            "MY_TOKEN": "t",
            "NEST": {"password": "x", "inner": {"secret": 1}, "open": 2, 3: 4},
            "PLAIN": "redis",
        }
    )
    assert conf.table() == {
        "BROKER_URL": "redis://:********@h/1;amqp://u:********@x//",
        "CELERY_RESULT_BACKEND": "db+postgresql://u:********@h/d",
        "MY_TOKEN": "********",
        "NEST": {"password": "********", "inner": {"secret": "********"}, "open": 2, 3: 4},
        "PLAIN": "redis",
    }
    assert conf.table(censored=False)["MY_TOKEN"] == "t"
    lines = conf.humanize().splitlines()
    assert "MY_TOKEN: '********'" in lines
    assert "PLAIN: 'redis'" in lines
    assert "pw" not in conf.humanize()


def test_a_table_with_defaults_has_them_all() -> None:
    assert len(settings({"x": 1}).table(with_defaults=True)) == len(SETTINGS) + 1


def test_resetting_forgets_changes_but_not_the_constructor_arguments() -> None:
    conf = settings({"task_serializer": "yaml"}, presets={"broker_url": "m://"})
    conf.task_default_queue = "q"
    assert conf.task_serializer == "yaml"
    conf.reset(lambda: conf.set_source({"task_serializer": "pickle"}))
    assert conf.task_serializer == "pickle"
    assert (conf.task_default_queue, conf.broker_url) == ("celery", "m://")
