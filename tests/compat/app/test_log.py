"""Logging: handlers, formats, colours, and what is printed."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import io
import logging
import multiprocessing
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import signals
from celeriac.app.app import Celery
from celeriac.app.log import (
    ColorFormatter,
    Logging,
    LoggingProxy,
    TaskFormatter,
    get_logger,
    get_task_logger,
    mlevel,
)

LOGGERS = ("", "celery", "celery.task", "celery.redirected")


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """An app in a process whose logging nobody set up; everything is put back afterwards."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    environment = dict(os.environ)
    process = multiprocessing.current_process()
    name = process.name
    monkeypatch.setattr(Logging, "already_setup", False)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    yield Celery("logs", broker="memory://", set_as_current=False)
    process.name = name
    vars(process).pop("index", None)
    os.environ.clear()
    os.environ.update(environment)
    for logger, handlers, level, propagate in before:
        for handler in logger.handlers:
            if handler not in handlers:
                handler.close()
        logger.handlers, logger.level, logger.propagate = handlers, level, propagate
        logger.manager._clear_cache()  # type: ignore[attr-defined]


def record(level: int = logging.INFO, message: str = "hello") -> logging.LogRecord:
    return logging.LogRecord("n", level, "p", 1, message, None, None)


def test_lines_go_to_the_stream_in_the_formats_of_the_settings(app: Celery) -> None:
    stream = io.StringIO()
    assert app.log.setup(loglevel="INFO", logfile=stream) == []
    logging.getLogger("some.module").warning("from outside")
    get_task_logger("logs.tasks").info("from a task module")
    first, second = stream.getvalue().splitlines()
    assert first.endswith(": WARNING/MainProcess] from outside")
    assert second.endswith(": INFO/MainProcess] ???[???]: from a task module")


def test_a_task_s_lines_name_the_task(app: Celery) -> None:
    stream = io.StringIO()
    app.log.setup(loglevel="INFO", logfile=stream)

    @app.task(name="logs.job", bind=True)
    def job(self: Any) -> None:
        self.push_request(id="the-id")
        get_task_logger("logs.tasks").info("working")
        self.pop_request()

    job()
    assert stream.getvalue().splitlines()[0].endswith("logs.job[the-id]: working")


def test_it_is_done_once_per_process(app: Celery) -> None:
    assert app.log.setup(loglevel="INFO", logfile=io.StringIO()) == []
    handlers = logging.getLogger().handlers[:]
    assert app.log.setup(loglevel="DEBUG", logfile=io.StringIO()) is None
    assert logging.getLogger().handlers == handlers


def test_other_handlers_of_the_root_logger_go_unless_the_setting_spares_them(app: Celery) -> None:
    mine = logging.NullHandler()
    own = logging.StreamHandler(io.StringIO())
    logging.getLogger().handlers = [mine, own]
    app.conf.worker_hijack_root_logger = False
    app.log.setup(loglevel="INFO", logfile=io.StringIO())
    assert logging.getLogger().handlers == [mine, own]
    Logging.already_setup = False
    app.conf.worker_hijack_root_logger = True
    app.log.setup(loglevel="INFO", logfile=io.StringIO())
    assert own not in logging.getLogger().handlers


def test_a_receiver_of_setup_logging_takes_over(app: Celery) -> None:
    seen: dict[str, Any] = {}

    def receiver(**kwargs: Any) -> None:
        seen.update(kwargs)

    signals.setup_logging.connect(receiver)
    handlers = logging.getLogger().handlers[:]
    try:
        app.log.setup(loglevel="INFO", redirect_stdouts=True)
    finally:
        signals.setup_logging.disconnect(receiver)
    assert logging.getLogger().handlers == handlers
    assert not isinstance(sys.stdout, LoggingProxy)
    assert (seen["loglevel"], seen["logfile"]) == (logging.INFO, None)


def test_an_error_of_such_a_receiver_is_raised(app: Celery) -> None:
    def receiver(**_: Any) -> None:
        raise ValueError("no logging")

    signals.setup_logging.connect(receiver)
    try:
        with pytest.raises(ValueError, match="no logging"):
            app.log.setup(loglevel="INFO")
    finally:
        signals.setup_logging.disconnect(receiver)


def test_both_loggers_are_announced(app: Celery) -> None:
    names: list[str] = []

    def receiver(logger: logging.Logger, **_: Any) -> None:
        names.append(logger.name)

    signals.after_setup_logger.connect(receiver)
    signals.after_setup_task_logger.connect(receiver)
    app.log.setup(loglevel="INFO", logfile=io.StringIO())
    assert names == ["root", "celery.task"]


def test_what_is_printed_is_logged_a_record_per_write(app: Celery) -> None:
    stream = io.StringIO()
    app.log.setup(loglevel="INFO", logfile=stream, redirect_stdouts=True, redirect_level="ERROR")
    sys.stdout.write("printed\n")
    sys.stderr.write("complained\n")
    sys.stderr.write("\n")
    assert [line.partition("] ")[2] for line in stream.getvalue().splitlines()] == [
        "printed",
        "complained",
    ]
    assert "ERROR/MainProcess" in stream.getvalue()
    assert not sys.stdout.isatty()


def test_a_handler_that_prints_does_not_recurse(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", shown)
    logger = get_logger("celery.redirected")
    proxy = LoggingProxy(logger, "WARNING")

    class Printing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            proxy.write("trouble")

    logger.handlers = [Printing()]
    assert proxy.write("text\n") == 5
    assert shown.getvalue() == "trouble"


def test_a_log_file_is_named_after_node_and_process(app: Celery, tmp_path: Path) -> None:
    app.log.setup(loglevel="INFO", logfile=str(tmp_path / "%n%I.log"), hostname="w1@host.example")
    logging.getLogger("x").warning("parent")
    app.log.setup_child(1)
    logging.getLogger("x").warning("child")
    assert "WARNING/MainProcess] parent" in (tmp_path / "w1.log").read_text(encoding="utf-8")
    assert "WARNING/ForkPoolWorker-2] child" in (tmp_path / "w1-2.log").read_text(encoding="utf-8")


def test_a_spawned_child_is_called_so(app: Celery) -> None:
    app.log.setup_child(0, "spawn")
    assert multiprocessing.current_process().name == "SpawnPoolWorker-1"


def test_children_find_the_set_up_in_the_environment(app: Celery) -> None:
    app.log.setup(loglevel="INFO", logfile=None, redirect_stdouts=True)
    assert os.environ["CELERY_LOG_LEVEL"] == os.environ["_MP_FORK_LOGLEVEL_"] == "20"
    assert (os.environ["CELERY_LOG_REDIRECT"], os.environ["CELERY_LOG_REDIRECT_LEVEL"]) == (
        "1",
        "WARNING",
    )


@pytest.mark.parametrize(
    ("level", "line"),
    [
        (logging.DEBUG, "\x1b[1;34mDEBUG hello\x1b[0m"),
        (logging.INFO, "INFO hello"),
        (logging.WARNING, "\x1b[1;33mWARNING hello\x1b[0m"),
        (logging.ERROR, "\x1b[1;31mERROR hello\x1b[0m"),
        (logging.CRITICAL, "\x1b[1;35mCRITICAL hello\x1b[0m"),
    ],
)
def test_levels_have_colours(level: int, line: str) -> None:
    assert ColorFormatter("%(levelname)s %(message)s").format(record(level)) == line
    plain = ColorFormatter("%(message)s", use_color=False)
    assert plain.format(record(level)) == "hello"


def test_colours_are_for_terminals_unless_the_setting_says_otherwise(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "__stderr__", Terminal())
    assert app.log.supports_color()
    assert not app.log.supports_color(logfile="file")
    assert not app.log.supports_color(False)
    app.log.colorize = False
    assert not app.log.supports_color()


def test_outside_of_a_task_the_name_is_unknown() -> None:
    formatter = TaskFormatter("%(task_name)s[%(task_id)s]", use_color=False)
    assert formatter.format(record()) == "???[???]"


def test_task_loggers_hang_below_celery_task_and_reserved_names_are_refused() -> None:
    assert get_task_logger("some.where").parent is logging.getLogger("celery.task")
    for name in ("celery", "celery.task"):
        with pytest.raises(RuntimeError, match="is reserved"):
            get_task_logger(name)


@pytest.mark.parametrize(("level", "number"), [("info", 20), ("FATAL", 50), (10, 10), (None, None)])
def test_levels_are_names_or_numbers(level: Any, number: int | None) -> None:
    assert mlevel(level) == number
    with pytest.raises(KeyError):
        mlevel("nope")
