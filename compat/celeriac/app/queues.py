"""Queues and routes: which queues there are, and where a call goes.

The values are kombu's `Queue` and `Exchange`, which users put in their settings; nothing here talks to a broker.

Spec: transports#1.3, #1.4
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from kombu import Exchange as _Exchange  # type: ignore[attr-defined]
from kombu import Queue as _Queue  # type: ignore[attr-defined]

from celeriac.app.loader import symbol_by_name
from celeriac.exceptions import QueueNotFound

if TYPE_CHECKING:
    from celeriac.app.app import Celery

__all__ = ["MapRoute", "Queues", "Route", "Router", "prepare_routes"]

Exchange: Any = _Exchange
Queue: Any = _Queue

_LINE = ".> {name:<16} exchange={exchange}({kind}) key={key}"


class Queues(dict[str, Any]):
    """Queues by name.

    Args:
        queues: `Queue` objects, or options by name.
        default_exchange: Exchange of queues that name none.
        default_routing_key: Routing key of queues that name none.
        create_missing: Make a queue when an unknown name is asked for.
        create_missing_queue_type: ``classic`` or ``quorum``, of queues so made.
        create_missing_queue_exchange_type: Exchange type of queues so made.
        autoexchange: Makes the exchange of such a queue from its name.
        max_priority: ``x-max-priority`` of queues that set none.
    """

    def __init__(
        self,
        queues: Mapping[str, Any] | Iterable[Any] | None = None,
        default_exchange: Any = None,
        create_missing: bool = True,
        create_missing_queue_type: str | None = None,
        create_missing_queue_exchange_type: str | None = None,
        autoexchange: Callable[[str], Any] | None = None,
        max_priority: int | None = None,
        default_routing_key: str | None = None,
    ) -> None:
        super().__init__()
        self.aliases: dict[str, Any] = {}
        self.default_exchange = default_exchange
        self.default_routing_key = default_routing_key
        self.create_missing = create_missing
        self.create_missing_queue_type = create_missing_queue_type
        self.create_missing_queue_exchange_type = create_missing_queue_exchange_type
        self.autoexchange = autoexchange or Exchange
        self.max_priority = max_priority
        self._consumed: dict[str, Any] | None = None
        if isinstance(queues, Mapping):
            for name, options in queues.items():
                self.add(options if isinstance(options, Queue) else name, **_options(options))
        else:
            for queue in queues or ():
                self.add(queue)

    def __missing__(self, name: str) -> Any:
        if name in self.aliases:
            return self.aliases[name]
        if not self.create_missing:
            raise KeyError(name)
        return self.add(self.new_missing(name))

    def add(self, queue: Any, **kwargs: Any) -> Any:
        """Add a queue.

        Args:
            queue: A `Queue`, or a name.
            **kwargs: With a name: `exchange`, `exchange_type`, `routing_key` or `binding_key`, `queue_arguments` and
                the other options of `Queue`.

        Returns:
            The queue, with the defaults for what it leaves open filled in.
        """
        if not isinstance(queue, Queue):
            return self.add_compat(queue, **kwargs)
        return self._add(queue)

    def add_compat(self, name: str, **options: Any) -> Any:
        """Add a queue by name and options."""
        options.setdefault("routing_key", options.get("binding_key"))
        if options["routing_key"] is None:
            options["routing_key"] = name
        return self._add(Queue.from_dict(name, **options))

    def _add(self, queue: Any) -> Any:
        # A queue with bindings gets them here too, for publishing; a declared copy of it has its bindings only.
        if queue.exchange is None or queue.exchange.name == "":
            queue.exchange = self.default_exchange
        if not queue.routing_key:
            queue.routing_key = self.default_routing_key
        if self.max_priority is not None:
            if queue.queue_arguments is None:
                queue.queue_arguments = {}
            queue.queue_arguments.setdefault("x-max-priority", self.max_priority)
        self[queue.name] = queue
        if queue.alias:
            self.aliases[queue.alias] = queue
        return queue

    def new_missing(self, name: str) -> Any:
        """Return the queue made for a name that is not configured.

        Raises:
            ValueError: `create_missing_queue_type` is neither ``classic`` nor ``quorum``.
        """
        kind = self.create_missing_queue_type
        if kind not in (None, "classic", "quorum"):
            raise ValueError(
                f"Invalid queue type {kind!r}. Valid types are 'classic' and 'quorum'."
            )
        exchange_type = self.create_missing_queue_exchange_type
        exchange = Exchange(name, type=exchange_type) if exchange_type else self.autoexchange(name)
        arguments = {"x-queue-type": "quorum"} if kind == "quorum" else None
        return Queue(name, exchange, name, queue_arguments=arguments)

    @property
    def consume_from(self) -> dict[str, Any]:
        """The queues a worker consumes: all, unless some were selected."""
        return self if self._consumed is None else self._consumed

    def select(self, include: str | Iterable[str] | None) -> None:
        """Consume exactly these queues. Unknown ones are created, where that is allowed.

        Raises:
            KeyError: A queue is unknown and may not be created.
        """
        if include:
            self._consumed = {name: self[name] for name in _listed(include)}

    def deselect(self, exclude: str | Iterable[str] | None) -> None:
        """Stop consuming these queues."""
        excluded = set(_listed(exclude)) if exclude else set()
        if excluded:
            self._consumed = {
                name: queue for name, queue in self.consume_from.items() if name not in excluded
            }

    def select_add(self, queue: Any, **kwargs: Any) -> Any:
        """Add a queue and consume it as well."""
        added = self.add(queue, **kwargs)
        if self._consumed is not None:
            self._consumed[added.name] = added
        return added

    def format(self, indent: int = 0, indent_first: bool = True) -> str:
        """Return a line of text for every consumed queue, sorted by name."""
        lines = [
            _LINE.format(
                name=name,
                exchange=getattr(queue.exchange, "name", None) or "",
                kind=getattr(queue.exchange, "type", None) or "",
                key=queue.routing_key or "",
            )
            for name, queue in sorted(self.consume_from.items())
        ]
        margin = " " * indent
        first = margin if indent_first else ""
        return "\n".join((first if i == 0 else margin) + line for i, line in enumerate(lines))


def _options(value: Any) -> dict[str, Any]:
    return {} if value is None or isinstance(value, Queue) else dict(value)


def _listed(value: str | Iterable[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


# -- routes ------------------------------------------------------------------------------------------

Route: TypeAlias = Callable[..., Any]
"""Called as ``route(name, args, kwargs, options, task=…)``; returns a dict, a queue's name, or `None`."""


class MapRoute:
    """Routes by task name: exact names first, then globs and regular expressions in the order written.

    Args:
        table: Mapping, or pairs, from a name, a glob (a text with ``*``) or a compiled regular expression to a dict of
            options or the name of a queue.
    """

    def __init__(self, table: Mapping[Any, Any] | Iterable[tuple[Any, Any]]) -> None:
        pairs = list(dict(table).items())
        self.exact: dict[str, Any] = {}
        self.patterns: list[tuple[re.Pattern[str], Any]] = []
        for key, target in pairs:
            if isinstance(key, re.Pattern):
                self.patterns.append((key, target))
            elif "*" in key:
                self.patterns.append((re.compile(fnmatch.translate(key)), target))
            else:
                self.exact[key] = target

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> Any:
        if name in self.exact:
            return _as_route(self.exact[name])
        for pattern, target in self.patterns:
            if pattern.match(name):
                return _as_route(target)
        return None


class _NamedRoute:
    """A route given by its path; imported when it is first asked."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._route: Route | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._route is None:
            self._route = _prepare_route(symbol_by_name(self.path))
        return self._route(*args, **kwargs)


def _as_route(target: Any) -> dict[str, Any]:
    return {"queue": target} if isinstance(target, str) else dict(target)


def _prepare_route(route: Any) -> Route:
    if isinstance(route, str):
        return _NamedRoute(route)
    if isinstance(route, Mapping | list | tuple):
        return MapRoute(route)
    if isinstance(route, type):
        route = route()
    ask = getattr(route, "route_for_task", None)
    if ask is not None:
        return lambda name, args, kwargs, options, task=None: ask(name, args, kwargs)
    if not callable(route):
        raise TypeError(f"{type(route).__name__!r} object is not callable")
    found: Route = route
    return found


def prepare_routes(routes: Any) -> Sequence[Route]:
    """Return the routes of the setting `task_routes` as functions, in the order they are asked.

    Args:
        routes: `None`, a mapping, a function, an object or class with `route_for_task`, a path to one of these, or a
            list of them. Inside a list, a list or tuple is an ordered map of pairs.

    Raises:
        TypeError: Something else.
        ValueError: A pair outside of a map.
    """
    if routes is None:
        return ()
    if not isinstance(routes, list | tuple):
        routes = (routes,)
    return [_prepare_route(route) for route in routes]


class Router:
    """Decides where a call goes.

    Args:
        routes: As `prepare_routes` returns them.
        queues: The queues of the app.
        app: Its default queue takes what no route claims.
        create_missing: Kept for callers; `queues` decides.
    """

    def __init__(
        self,
        routes: Sequence[Route] | None = None,
        queues: Queues | None = None,
        create_missing: bool = False,
        app: Celery | None = None,
    ) -> None:
        self.app = app
        self.queues = Queues() if queues is None else queues
        self.routes = routes or ()
        self.create_missing = create_missing

    def route(
        self,
        options: Mapping[str, Any],
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        task: Any = None,
        task_type: Any = None,
    ) -> dict[str, Any]:
        """Return the options of a call with its destination filled in.

        A route fills in what the call leaves open: options that are there and not `None` win over it. `queue`, where
        there is one, is a `Queue` afterwards.

        Args:
            options: Of the task and of the call, the latter winning.
            name: Name of the task.
            args: Positional arguments of the call.
            kwargs: Keyword arguments of the call.
            task: The task, when it is registered here.
            task_type: Another name of `task`.

        Raises:
            QueueNotFound: A queue is not configured, and creating it is off.
        """
        wanted = self.expand_destination(options)
        if self.routes:
            found = self.lookup_route(name, args, kwargs or {}, options, task or task_type)
            if found:
                return _overlaid(self.expand_destination(found), wanted)
        if "queue" not in wanted:
            default = self.app.conf.task_default_queue if self.app else None
            if default:
                return _overlaid(self.expand_destination({"queue": default}), wanted)
        return wanted

    def expand_destination(self, route: Any) -> dict[str, Any]:
        """Return a route with the name of its queue replaced by the `Queue`; one without a queue has no such key.

        Raises:
            QueueNotFound: The queue is not configured, and creating it is off.
        """
        expanded = _as_route(route)
        queue = expanded.pop("queue", None)
        if queue:
            if not isinstance(queue, Queue):
                try:
                    queue = self.queues[queue]
                except KeyError:
                    raise QueueNotFound(f"Queue {queue!r} missing from task_queues") from None
            expanded["queue"] = queue
        return expanded

    def lookup_route(
        self,
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        task: Any = None,
    ) -> Any:
        """Return the answer of the first route that has one, or `None`. An empty dict is an answer."""
        for answer in self._answers(name, args, kwargs, options, task):
            if answer is not None:
                return answer
        return None

    def _answers(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any] | None,
        task: Any,
    ) -> Iterator[Any]:
        for route in self.routes:
            yield route(name, args, kwargs, options, task=task)


def _overlaid(route: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    return {**route, **{key: value for key, value in options.items() if value is not None}}
