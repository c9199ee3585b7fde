"""`app.control.inspect()`: questions to workers. Spec: control-and-events#1.7."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from celeriac.control.replies import flatten_reply
from celeriac.result.current import app_or_current

__all__ = ["Inspect"]


class Inspect:
    """Asks workers, and returns what each of them answered, by node name; `None` when nobody did.

    Args:
        destination: Node names to ask; by default all.
        timeout: Seconds to wait for another reply.
        callback: Called with each reply as it arrives.
        connection: A `kombu.Connection`; by default one of the app's pool.
        app: Default: the current app.
        limit: Wait for so many replies only.
        pattern: Ask the nodes whose name matches.
        matcher: How: ``glob`` or ``pcre``.
    """

    app: Any = None

    def __init__(
        self,
        destination: Sequence[str] | None = None,
        timeout: float = 1.0,
        callback: Callable[[Any], Any] | None = None,
        connection: Any = None,
        app: Any = None,
        limit: int | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> None:
        self.app = app or self.app or app_or_current()
        self.destination = destination
        self.timeout = timeout
        self.callback = callback
        self.connection = connection
        self.limit = limit
        self.pattern = pattern
        self.matcher = matcher

    def _prepare(self, reply: list[dict[str, Any]] | None) -> Any:
        if not reply:
            return None
        return flatten_reply(reply)

    def _request(self, command: str, **kwargs: Any) -> Any:
        """Ask one question; an application's own inspect commands go this way, too."""
        return self._prepare(
            self.app.control.broadcast(
                command,
                arguments=kwargs,
                destination=self.destination,
                callback=self.callback,
                connection=self.connection,
                limit=self.limit,
                timeout=self.timeout,
                reply=True,
                pattern=self.pattern,
                matcher=self.matcher,
            )
        )

    def report(self) -> Any:
        """Text for a bug report, as ``{"ok": text}``."""
        return self._request("report")

    def clock(self) -> Any:
        """The logical clock: ``{"clock": n}``."""
        return self._request("clock")

    def active(self, safe: bool | None = None) -> Any:
        """Tasks that run now.

        Args:
            safe: Arguments as text only.
        """
        return self._request("active", safe=safe)

    def scheduled(self, safe: bool | None = None) -> Any:
        """Tasks that wait for their time. `safe` is accepted for symmetry; it is not sent."""
        return self._request("scheduled")

    def reserved(self, safe: bool | None = None) -> Any:
        """Tasks taken from the broker, not started. `safe` is accepted for symmetry; it is not sent."""
        return self._request("reserved")

    def stats(self) -> Any:
        """Counts, pool, broker, resource usage."""
        return self._request("stats")

    def revoked(self) -> Any:
        """Ids of revoked tasks."""
        return self._request("revoked")

    def registered(self, *taskinfoitems: str) -> Any:
        """Names of the tasks, with these attributes of theirs."""
        return self._request("registered", taskinfoitems=taskinfoitems)

    registered_tasks = registered

    def ping(self, destination: Sequence[str] | None = None) -> Any:
        """``{"ok": "pong"}``. A `destination` stays for the calls that follow."""
        if destination:
            self.destination = destination
        return self._request("ping")

    def active_queues(self) -> Any:
        """Queues consumed."""
        return self._request("active_queues")

    def query_task(self, *ids: Any) -> Any:
        """State and request of tasks that the worker has.

        Args:
            *ids: Ids, or one list of them.
        """
        if len(ids) == 1 and isinstance(ids[0], list | tuple):
            ids = tuple(ids[0])
        return self._request("query_task", ids=ids)

    def conf(self, with_defaults: bool = False) -> Any:
        """Settings, secrets masked."""
        return self._request("conf", with_defaults=with_defaults)

    def hello(self, from_node: str, revoked: Any = None) -> Any:
        """Exchange clock and revoked ids, as a worker does."""
        return self._request("hello", from_node=from_node, revoked=revoked)

    def memsample(self) -> Any:
        """Take a sample of the memory used; needs psutil there."""
        return self._request("memsample")

    def memdump(self, samples: int = 10) -> Any:
        """Samples taken so far, as text."""
        return self._request("memdump", samples=samples)

    def objgraph(self, type: str = "Request", n: int = 200, max_depth: int = 10) -> Any:
        """Draw objects of a type and what refers to them, into a file on the worker's host; needs objgraph there."""
        return self._request("objgraph", num=n, max_depth=max_depth, type=type)
