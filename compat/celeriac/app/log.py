"""Logging of worker and beat: handlers, formats, colours, and what tasks print.

Logging is set up once per process, and not at all when the signal `setup_logging` has a receiver. A pool process
inherits the set-up and calls `Logging.setup_child` to get its own name and, if the file name asks for it, its own file.

Spec: app-and-cli#10.1, control-and-events#6.2
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from collections.abc import Mapping
from logging.handlers import WatchedFileHandler
from typing import TYPE_CHECKING, Any

from celeriac import signals
from celeriac.app.log_parts import (
    LOG_LEVELS,
    ColorFormatter,
    LoggingProxy,
    TaskFormatter,
    base_logger,
    get_logger,
    get_task_logger,
    in_sighandler,
    mlevel,
    set_in_sighandler,
    task_logger,
    worker_logger,
)
from celeriac.exceptions import reraise
from celeriac.helpers.nodenames import node_format
from celeriac.helpers.term import colored

if TYPE_CHECKING:
    from celeriac.app.app import Celery

__all__ = [
    "LOG_LEVELS",
    "ColorFormatter",
    "Logging",
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


class Logging:
    """Sets up the logging of one app.

    Args:
        app: Whose settings count.
    """

    already_setup = False
    """Set once per process, whichever app did it."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.loglevel = mlevel(logging.WARNING)
        conf = app.conf
        self.format: str = conf.worker_log_format
        self.task_format: str = conf.worker_task_log_format
        self.datefmt: str | None = conf.worker_log_datefmt
        self.task_datefmt: str | None = conf.worker_task_log_datefmt
        self.colorize: bool | None = conf.worker_log_color
        self._last: dict[str, Any] = {}

    def setup(
        self,
        loglevel: int | str | None = None,
        logfile: Any = None,
        redirect_stdouts: bool = False,
        redirect_level: int | str = "WARNING",
        colorize: bool | None = None,
        hostname: str | None = None,
    ) -> list[Any] | None:
        """Set up logging for a program.

        Args:
            loglevel: Level of the root logger.
            logfile: Path, with ``%`` expansions, or a stream; `None` for standard error.
            redirect_stdouts: Log what is printed, to the logger ``celery.redirected``.
            redirect_level: At which level.
            colorize: Colours; `None`: on a terminal.
            hostname: Node name, for the expansions.

        Returns:
            What the receivers of `setup_logging` answered (empty when there are none), `None` when logging was set up
            before.
        """
        level = mlevel(loglevel)
        self._last = {
            "loglevel": loglevel,
            "logfile": logfile,
            "redirect_stdouts": redirect_stdouts,
            "redirect_level": redirect_level,
            "colorize": colorize,
            "hostname": hostname,
        }
        handled = self.setup_logging_subsystem(level, logfile, colorize=colorize, hostname=hostname)
        if not handled and redirect_stdouts:
            self.redirect_stdouts(redirect_level)
        os.environ.update(
            CELERY_LOG_LEVEL=str(level) if level else "",
            CELERY_LOG_FILE=str(logfile) if logfile else "",
            CELERY_LOG_REDIRECT="1" if redirect_stdouts else "",
            CELERY_LOG_REDIRECT_LEVEL=str(redirect_level),
        )
        return handled

    def setup_logging_subsystem(
        self,
        loglevel: int | str | None = None,
        logfile: Any = None,
        format: str | None = None,
        colorize: bool | None = None,
        hostname: str | None = None,
        datefmt: str | None = None,
        **kwargs: Any,
    ) -> list[Any] | None:
        """Install handlers on the root and the task logger; see `setup`."""
        if Logging.already_setup:
            return None
        if logfile and hostname and isinstance(logfile, str):
            index = _process_index()
            logfile = node_format(logfile, hostname, i=index, I=f"-{index}" if index else "")
        Logging.already_setup = True
        level = mlevel(loglevel or self.loglevel)
        format = format or self.format
        colorize = self.supports_color(colorize, logfile)
        receivers = signals.setup_logging.send(
            sender=None, loglevel=level, logfile=logfile, format=format, colorize=colorize
        )
        for _, response in receivers:
            if isinstance(response, Exception):
                reraise(type(response), response, response.__traceback__)
        if not receivers:
            self._install(
                level, logfile, format, colorize=colorize, datefmt=datefmt or self.datefmt, **kwargs
            )
        os.environ.update(
            _MP_FORK_LOGLEVEL_=str(level),
            _MP_FORK_LOGFILE_=str(logfile or ""),
            _MP_FORK_LOGFORMAT_=format,
        )
        return receivers

    def _install(
        self,
        level: int | None,
        logfile: Any,
        format: str,
        *,
        colorize: bool,
        datefmt: str | None,
        **kwargs: Any,
    ) -> None:
        root = logging.getLogger()
        if self.app.conf.worker_hijack_root_logger:
            for logger in (root, base_logger, task_logger):
                logger.handlers = []
        self.setup_handlers(root, logfile, format, colorize, datefmt=datefmt, **kwargs)
        if level:
            root.setLevel(level)
        signals.after_setup_logger.send(
            sender=None,
            logger=root,
            loglevel=level,
            logfile=logfile,
            format=format,
            colorize=colorize,
        )
        self.setup_task_loggers(level, logfile, colorize=colorize, **kwargs)

    def setup_task_loggers(
        self,
        loglevel: int | str | None = None,
        logfile: Any = None,
        format: str | None = None,
        colorize: bool | None = None,
        propagate: bool = False,
        datefmt: str | None = None,
        **kwargs: Any,
    ) -> logging.Logger:
        """Give the loggers of tasks a handler that shows the task's name and id."""
        level = mlevel(loglevel or self.loglevel)
        format = format or self.task_format
        colorize = self.supports_color(colorize, logfile)
        self.setup_handlers(
            task_logger,
            logfile,
            format,
            colorize,
            formatter=TaskFormatter,
            datefmt=datefmt or self.task_datefmt,
            **kwargs,
        )
        if level:
            task_logger.setLevel(level)
        task_logger.propagate = propagate
        signals.after_setup_task_logger.send(
            sender=None,
            logger=task_logger,
            loglevel=level,
            logfile=logfile,
            format=format,
            colorize=colorize,
        )
        return task_logger

    def setup_handlers(
        self,
        logger: logging.Logger,
        logfile: Any,
        format: str,
        colorize: bool,
        formatter: type[ColorFormatter] = ColorFormatter,
        datefmt: str | None = None,
        **kwargs: Any,
    ) -> logging.Logger:
        """Give a logger a handler, unless it has one."""
        if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            return logger
        handler = self._handler(logfile)
        handler.setFormatter(formatter(format, use_color=colorize, datefmt=datefmt))
        logger.addHandler(handler)
        return logger

    def _handler(self, logfile: Any) -> logging.Handler:
        if logfile is None or logfile == "":
            return logging.StreamHandler(sys.__stderr__)
        if hasattr(logfile, "write"):
            return logging.StreamHandler(logfile)
        return WatchedFileHandler(logfile, encoding="utf-8")

    def setup_child(self, index: int, start_method: str = "fork") -> None:
        """Adapt the logging a pool process inherited.

        Args:
            index: Number of the process in its pool, from 0.
            start_method: ``fork`` or ``spawn``; part of the process name in log lines.
        """
        process = multiprocessing.current_process()
        prefix = f"{start_method.title()}PoolWorker-"
        if not process.name.startswith(prefix):  # a pool that counts its processes has named it
            process.name = f"{prefix}{index + 1}"
        process.index = index + 1  # type: ignore[attr-defined]  # read back by _process_index
        logfile = self._last.get("logfile")
        if isinstance(logfile, str) and ("%i" in logfile or "%I" in logfile):
            self._close_files()
            Logging.already_setup = False
            self.setup(**self._last)

    def _close_files(self) -> None:
        """Let go of the parent's log file; its own descriptor of it is not touched."""
        for logger in (logging.getLogger(), task_logger):
            for handler in logger.handlers[:]:
                if isinstance(handler, WatchedFileHandler):
                    logger.removeHandler(handler)
                    handler.close()

    def redirect_stdouts(
        self, loglevel: int | str | None = None, name: str = "celery.redirected"
    ) -> None:
        """Log what is printed from now on."""
        self.redirect_stdouts_to_logger(get_logger(name), loglevel=loglevel)
        os.environ.update(
            CELERY_LOG_REDIRECT="1", CELERY_LOG_REDIRECT_LEVEL=str(loglevel or "WARNING")
        )

    def redirect_stdouts_to_logger(
        self,
        logger: logging.Logger,
        loglevel: int | str | None = None,
        stdout: bool = True,
        stderr: bool = True,
    ) -> LoggingProxy:
        """Put a proxy that logs in the place of standard output and error."""
        proxy = LoggingProxy(logger, loglevel)
        if stdout:
            sys.stdout = proxy
        if stderr:
            sys.stderr = proxy
        return proxy

    def supports_color(self, colorize: bool | None = None, logfile: Any = None) -> bool:
        """Tell whether to colour: as asked, else as the settings say, else on a terminal without log file."""
        wanted = self.colorize if colorize is None else colorize
        if self.app.IS_WINDOWS:
            return False
        if wanted is not None:
            return wanted
        return not logfile and sys.__stderr__ is not None and sys.__stderr__.isatty()

    def colored(self, logfile: Any = None, enabled: bool | None = None) -> colored:
        """Return a painter of text for this output."""
        return colored(enabled=self.supports_color(enabled, logfile))

    def get_default_logger(
        self, name: str = "celery", **kwargs: Mapping[str, Any]
    ) -> logging.Logger:
        """Return a logger of the library."""
        return get_logger(name)


def _process_index() -> int:
    return int(getattr(multiprocessing.current_process(), "index", 0))
