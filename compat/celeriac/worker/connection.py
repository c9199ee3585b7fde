"""When to try the broker again, and when to give up: pure but for its log lines.

Spec: control-and-events#4.2, transports#6
"""

from __future__ import annotations

import logging
import random

__all__ = ["ConnectionGivenUpError", "Reconnector"]

logger = logging.getLogger("celery.worker.consumer")

FIRST_WAIT_S = 0.5
"""A restarted broker is usually back within seconds; Celery's own first wait is 2 s."""


class ConnectionGivenUpError(Exception):
    """The broker cannot be reached and the settings say not to go on; the worker exits with status 1."""


class Reconnector:
    """Back-off between attempts: 0.5, 1, 2, 4 … seconds up to `max_wait_s`, each with jitter.

    The cap is low on purpose: once the broker is back, tasks are served within seconds.

    Args:
        retry: Reconnect after a loss (`broker_connection_retry`).
        retry_on_startup: The same for the very first connection.
        max_retries: Attempts in a row before giving up; `None` or 0: never.
        max_wait_s: Longest pause between attempts.
        jitter: Returns a factor around 1; injected in tests.
    """

    def __init__(
        self,
        *,
        retry: bool = True,
        retry_on_startup: bool = True,
        max_retries: int | None = None,
        max_wait_s: float = 8.0,
        jitter: random.Random | None = None,
    ) -> None:
        self.retry = retry
        self.retry_on_startup = retry_on_startup
        self.max_retries = max_retries
        self.max_wait_s = max_wait_s
        self._random = jitter if jitter is not None else random.Random()
        self._ever = False
        self._tries = 0
        self._due = 0.0

    def is_due(self, monotonic: float) -> bool:
        """Tell whether to try now."""
        return monotonic >= self._due

    def due_in_s(self, monotonic: float) -> float:
        """Return the seconds until the next attempt."""
        return max(0.0, self._due - monotonic)

    def succeeded(self) -> bool:
        """Note a connection; return True for the first one of this worker."""
        first = not self._ever
        self._ever = True
        self._tries = 0
        return first

    def lost(self, monotonic: float) -> None:
        """Note a loss: the next attempt is made at once. Raises `ConnectionGivenUpError` if retrying is off."""
        if not self.retry:
            raise ConnectionGivenUpError(
                "the connection was lost and broker_connection_retry is off"
            )
        self._due = monotonic

    def failed(self, exc: Exception, url: str, monotonic: float) -> None:
        """Note a failed attempt; the next one waits longer. Raises `ConnectionGivenUpError` when it was the last."""
        if not (self.retry if self._ever else self.retry_on_startup):
            logger.critical(
                "Retrying to establish a connection to the message broker %s has been disabled "
                "(app.conf.broker_connection_retry%s=False). Shutting down...",
                "after a connection loss" if self._ever else "at startup",
                "" if self._ever else "_on_startup",
            )
            raise ConnectionGivenUpError(str(exc)) from exc
        self._tries += 1
        limit = self.max_retries or 0
        if limit and self._tries > limit:
            logger.critical(
                "consumer: Cannot connect to %s: %s. Giving up after %s attempts.", url, exc, limit
            )
            raise ConnectionGivenUpError(str(exc)) from exc
        wait = min(self.max_wait_s, FIRST_WAIT_S * 2 ** (self._tries - 1)) * self._random.uniform(
            0.8, 1.2
        )
        self._due = monotonic + wait
        logger.error(
            "consumer: Cannot connect to %s: %s.\nTrying again in %.2f seconds... (%s/%s)\n",
            url, exc, wait, self._tries, limit or "unlimited",
        )  # fmt: skip

    def refused(self, exc: Exception, url: str, monotonic: float) -> None:
        """Note a refusal (credentials, virtual host, declarations): fatal at first, retried slowly later."""
        if not self._ever:
            logger.critical("consumer: %s refuses the connection: %s", url, exc)
            raise ConnectionGivenUpError(str(exc)) from exc
        self._tries = max(self._tries, 5)
        self.failed(exc, url, monotonic)
