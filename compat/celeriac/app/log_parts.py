"""Loggers by name, formatters, and the stand-in for standard output. Spec: app-and-cli#10.1."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from celeriac.app.state import get_current_task
from celeriac.helpers.term import colored

__all__ = [
    "LOG_LEVELS",
    "ColorFormatter",
    "LoggingProxy",
    "TaskFormatter",
    "base_logger",
    "get_logger",
    "get_task_logger",
    "in_sighandler",
    "mlevel",
    "set_in_sighandler",
    "task_logger",
    "worker_logger",
]

LOG_LEVELS: dict[Any, Any] = {
    **logging.getLevelNamesMapping(),
    **{number: name for name, number in logging.getLevelNamesMapping().items()},
    "FATAL": logging.FATAL,
    logging.FATAL: "FATAL",
}
"""Level number by name and name by number."""

base_logger = logging.getLogger("celery")
task_logger = logging.getLogger("celery.task")
worker_logger = logging.getLogger("celery.worker")
for _logger in (base_logger, task_logger, worker_logger):
    _logger.addHandler(logging.NullHandler())

_RESERVED = {base_logger.name, task_logger.name}


def mlevel(level: int | str | None) -> int | None:
    """Return the number of a level given by name, in any case, or by number.

    Raises:
        KeyError: There is no level of that name.
    """
    if level and not isinstance(level, int):
        number: int = LOG_LEVELS[level.upper()]
        return number
    return level  # type: ignore[return-value]  # text that is not empty was answered above


def get_logger(name: str) -> logging.Logger:
    """Return a logger that is silent as long as nobody sets up logging."""
    logger = logging.getLogger(name)
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return logger


def get_task_logger(name: str) -> logging.Logger:
    """Return a logger for a module with tasks: its lines show the name and id of the running task.

    Raises:
        RuntimeError: The name is that of one of the library's loggers.
    """
    if name in _RESERVED:
        raise RuntimeError(f"Logger name {name!r} is reserved!")
    logger = get_logger(name)
    if not _descends_from(logger, task_logger):
        logger.parent = task_logger
    return logger


def _descends_from(logger: logging.Logger, ancestor: logging.Logger) -> bool:
    current: logging.Logger | None = logger
    while current is not None:
        if current is ancestor:
            return True
        current = current.parent
    return False


class ColorFormatter(logging.Formatter):
    """Formats a record, coloured by its level.

    Args:
        fmt: Format of the line.
        use_color: Colour at all.
        datefmt: Format of the time.
    """

    COLORS = colored().names
    colors = {  # noqa: RUF012 - read by name, like the class attribute it replaces
        "DEBUG": COLORS["blue"],
        "WARNING": COLORS["yellow"],
        "ERROR": COLORS["red"],
        "CRITICAL": COLORS["magenta"],
    }

    def __init__(
        self, fmt: str | None = None, use_color: bool = True, datefmt: str | None = None
    ) -> None:
        super().__init__(fmt, datefmt)
        self.use_color = use_color

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        text = super().format(record)
        color = self.colors.get(record.levelname)
        return str(color(text)) if color is not None and self.use_color else text


class TaskFormatter(ColorFormatter):
    """Adds `task_name` and `task_id` of the running task; ``???`` when there is none."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        task = get_current_task()
        if task is not None and task.request:
            record.__dict__.update(task_id=task.request.id, task_name=task.name)
        else:
            record.__dict__.setdefault("task_name", "???")
            record.__dict__.setdefault("task_id", "???")
        return super().format(record)


class LoggingProxy:
    """A file that logs what is written to it, one record per write.

    Args:
        logger: Where to.
        loglevel: At which level; by default the logger's.
    """

    mode = "w"
    name: str | None = None
    encoding = "utf-8"
    errors = "replace"
    closed = False

    def __init__(self, logger: logging.Logger, loglevel: int | str | None = None) -> None:
        self.logger = logger
        self.loglevel = mlevel(loglevel or logger.level) or logging.WARNING
        self._thread = threading.local()

    def write(self, data: Any) -> int:
        """Log `data` without the newline at its end; nothing when that leaves nothing."""
        if self.closed or getattr(self._thread, "is_writing", False):
            # A handler that fails while it logs prints its trouble: that must not be logged in turn.
            if sys.__stderr__ is not None and getattr(self._thread, "is_writing", False):
                sys.__stderr__.write(str(data))
            return 0
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data)
        line = text.strip("\n")
        if not line:
            return 0
        self._thread.is_writing = True
        try:
            self.logger.log(self.loglevel, "%s", line)
        except Exception:
            if sys.__stderr__ is None:
                raise
            traceback.print_exc(file=sys.__stderr__)
        finally:
            self._thread.is_writing = False
        return len(text)

    def writelines(self, sequence: Iterable[Any]) -> None:
        """Log every part."""
        for part in sequence:
            self.write(part)

    def flush(self) -> None:
        """Do nothing: nothing is kept back."""

    def close(self) -> None:
        """Stop logging what is written."""
        self.closed = True

    def isatty(self) -> bool:
        """Tell that this is no terminal."""
        return False

    def writable(self) -> bool:
        """Tell that this can be written to."""
        return True


_sighandler = False


def set_in_sighandler(value: bool) -> None:
    """Note whether a signal handler runs: logging from one can deadlock."""
    global _sighandler
    _sighandler = value


@contextmanager
def in_sighandler() -> Iterator[None]:
    """Note that a signal handler runs, inside a ``with`` block."""
    set_in_sighandler(True)
    try:
        yield
    finally:
        set_in_sighandler(False)
