"""The exceptions carry the names and module paths that results name on the wire."""

from __future__ import annotations

import pickle
from datetime import datetime
from pathlib import Path

import pytest

from celeriac import exceptions
from tests.compat.programs import run_with_shim

POOL = {"SoftTimeLimitExceeded", "TimeLimitExceeded", "WorkerLostError", "Terminated"}
FOREIGN = {"OperationalError", "reraise"}


@pytest.mark.parametrize("name", sorted(set(exceptions.__all__) - FOREIGN))
def test_each_class_says_where_celery_has_it(name: str) -> None:
    expected = "billiard.exceptions" if name in POOL else "celery.exceptions"
    assert getattr(exceptions, name).__module__ == expected


@pytest.mark.parametrize(
    ("child", "parents"),
    [
        ("NotRegistered", ("KeyError", "TaskError", "CeleryError")),
        ("QueueNotFound", ("KeyError", "TaskError", "CeleryError")),
        ("Reject", ("TaskPredicate", "CeleryError")),
        ("Retry", ("TaskPredicate", "CeleryError")),
        ("BackendStoreError", ("BackendError", "Exception")),
        ("AlwaysEagerIgnored", ("CeleryWarning", "UserWarning")),
        ("WorkerShutdown", ("SystemExit",)),
        ("CDeprecationWarning", ("DeprecationWarning",)),
    ],
)
def test_the_hierarchy_is_the_documented_one(child: str, parents: tuple[str, ...]) -> None:
    names = {base.__name__ for base in getattr(exceptions, child).__mro__}
    assert set(parents) <= names


def test_backend_errors_are_no_celery_errors() -> None:
    assert not issubclass(exceptions.BackendError, exceptions.CeleryError)


@pytest.mark.parametrize(
    ("retry", "text"),
    [
        (exceptions.Retry("again please"), "again please"),
        (exceptions.Retry(exc=ValueError("q"), when=60), "Retry in 60s: ValueError('q')"),
        (exceptions.Retry(exc="ValueError()", when=3.5), "Retry in 3.5s: ValueError()"),
        (exceptions.Retry(when=datetime(2020, 1, 1)), "Retry at 2020-01-01 00:00:00"),  # noqa: DTZ001
    ],
)
def test_a_retry_tells_when_and_why(retry: exceptions.Retry, text: str) -> None:
    assert str(retry) == text


@pytest.mark.parametrize(
    ("exc", "text", "shown"),
    [
        (
            exceptions.SoftTimeLimitExceeded(5),
            "SoftTimeLimitExceeded(5,)",
            "SoftTimeLimitExceeded(5)",
        ),
        (exceptions.TimeLimitExceeded(3), "TimeLimitExceeded(3,)", "TimeLimitExceeded(3)"),
        (exceptions.Reject("r", True), "('r', True)", "reject requeue=True: r"),
        (
            exceptions.NotRegistered("t.x"),
            "'t.x'",
            "Task of kind 't.x' never registered, please make sure it's imported.",
        ),
        (
            exceptions.BackendStoreError("m", state="S", task_id="1"),
            "m",
            "BackendStoreError('m') state:S task_id:1",
        ),
        (
            exceptions.BackendGetMetaError("m", task_id="1"),
            "m",
            "BackendGetMetaError('m') task_id:1",
        ),
    ],
)
def test_texts_are_those_of_celery(exc: Exception, text: str, shown: str) -> None:
    assert (str(exc), repr(exc)) == (text, shown)


def test_a_command_failure_has_an_exit_status() -> None:
    failure = exceptions.CeleryCommandException("boom", 69)
    assert (failure.message, failure.exit_code) == ("boom", 69)


def test_reraise_keeps_the_traceback() -> None:
    try:
        raise ValueError("first")
    except ValueError as exc:
        original = exc
    with pytest.raises(ValueError, match="first") as caught:
        exceptions.reraise(ValueError, original, original.__traceback__)
    assert caught.value is original


def test_they_survive_pickling_where_the_shim_serves_their_modules(tmp_path: Path) -> None:
    program = """
        import pickle
        from celery import exceptions as x
        for exc in (
            x.Retry("m", ValueError(2), 60), x.Reject("r", True), x.SoftTimeLimitExceeded(1),
            x.MaxRetriesExceededError("m", task_args=[1], task_kwargs={"a": 1}),
            x.BackendStoreError("m", state="S", task_id="1"), x.NotRegistered("t"),
        ):
            copy = pickle.loads(pickle.dumps(exc))
            assert type(copy) is type(exc), exc
            assert str(copy) == str(exc), exc
            assert vars(copy).keys() == vars(exc).keys(), exc
        print("ok")
    """
    assert run_with_shim(program, tmp_path) == "ok\n"


def test_a_class_defined_here_pickles_only_by_its_public_path() -> None:
    with pytest.raises(Exception, match="celery"):
        pickle.dumps(exceptions.Ignore("x"))
