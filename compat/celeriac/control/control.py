"""`app.control`: commands to workers. Spec: control-and-events#1.2, control-and-events#1.8."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from celeriac.brokers.mailbox import ControlMailbox
from celeriac.control.inspect import Inspect
from celeriac.control.replies import flatten_reply
from celeriac.exceptions import ImproperlyConfigured
from celeriac.local import Proxy
from celeriac.result.current import app_or_current

__all__ = ["Control", "flatten_reply"]

Destination = Sequence[str] | None

_SIGNAL = "SIGTERM"


class Control:
    """Sends commands to workers. Nobody is waited for, unless `reply` is true: then the answers are returned.

    Every method takes the options of `broadcast` besides its own: `destination`, `pattern` and `matcher`, `reply`,
    `timeout`, `limit`, `callback`, `connection`.

    Args:
        app: Default: the current app.

    Raises:
        ImproperlyConfigured: Control queues cannot be both durable and exclusive.
    """

    Mailbox = ControlMailbox

    def __init__(self, app: Any = None) -> None:
        self.app = app or app_or_current()
        conf = self.app.conf
        if conf.control_queue_durable and conf.control_queue_exclusive:
            raise ImproperlyConfigured(
                "control_queue_durable and control_queue_exclusive cannot both be True: "
                "an exclusive queue goes with its connection."
            )
        self.mailbox = self.Mailbox(
            conf.control_exchange,
            type="fanout",
            accept=conf.accept_content,
            serializer=conf.task_serializer,
            # Asked for at each use: after a fork the pool is another one.
            producer_pool=Proxy(lambda: self.app.producer_pool),
            queue_ttl=conf.control_queue_ttl,
            queue_expires=conf.control_queue_expires,
            queue_durable=conf.control_queue_durable,
            queue_exclusive=conf.control_queue_exclusive,
            reply_queue_ttl=conf.control_queue_ttl,
            reply_queue_expires=conf.control_queue_expires,
        )

    @cached_property
    def inspect(self) -> Any:
        """`Inspect` of this app: call it with whom to ask."""
        return self.app.subclass_with_self(Inspect, reverse="control.inspect")

    def broadcast(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        destination: Destination = None,
        connection: Any = None,
        reply: bool = False,
        timeout: float | None = 1.0,
        limit: int | None = None,
        callback: Callable[[Any], Any] | None = None,
        channel: Any = None,
        pattern: str | None = None,
        matcher: str | None = None,
        **extra_kwargs: Any,
    ) -> list[dict[str, Any]] | None:
        """Send a command to all workers, or to some.

        Args:
            command: Its name.
            arguments: Its arguments.
            destination: Node names.
            connection: A `kombu.Connection`; by default one of the app's pool.
            reply: Wait for answers.
            timeout: Seconds without an answer after which waiting ends.
            limit: Answers to wait for; with `destination` its length.
            callback: Called with each answer.
            channel: Channel of the connection to use.
            pattern: Send to nodes whose name matches this.
            matcher: How: ``glob`` or ``pcre``.
            **extra_kwargs: More arguments.

        Returns:
            With `reply` one mapping of node name to answer for each answer, else `None`.

        Raises:
            ValueError: `destination` is no list.
            kombu.exceptions.OperationalError: The broker cannot be reached.

        Spec: control-and-events#1.2
        """
        with self.app.connection_or_acquire(connection) as conn:
            found: list[dict[str, Any]] | None = self.mailbox(conn)._broadcast(
                command,
                {**(arguments or {}), **extra_kwargs},
                destination,
                reply,
                timeout,
                limit,
                callback,
                channel=channel,
                pattern=pattern,
                matcher=matcher,
            )
        return found

    # -- tasks -------------------------------------------------------------------------------------

    def revoke(
        self,
        task_id: str | Sequence[str],
        destination: Destination = None,
        terminate: bool = False,
        signal: str | int | None = _SIGNAL,
        **kwargs: Any,
    ) -> Any:
        """Tell workers not to run tasks.

        Args:
            task_id: Id or ids.
            destination: Node names.
            terminate: Also stop those that run.
            signal: How to stop them: a name such as ``KILL``, or a number.
            **kwargs: As `broadcast`.
        """
        arguments = {"task_id": task_id, "terminate": terminate, "signal": signal}
        return self.broadcast("revoke", arguments, destination, **kwargs)

    def terminate(
        self,
        task_id: str | Sequence[str],
        destination: Destination = None,
        signal: str | int = _SIGNAL,
        **kwargs: Any,
    ) -> Any:
        """Stop running tasks: `revoke` with `terminate`."""
        return self.revoke(
            task_id, destination=destination, terminate=True, signal=signal, **kwargs
        )

    def revoke_by_stamped_headers(
        self,
        headers: Mapping[str, Any] | Sequence[str],
        destination: Destination = None,
        terminate: bool = False,
        signal: str | int | None = _SIGNAL,
        **kwargs: Any,
    ) -> Any:
        """Tell workers not to run tasks that carry these stamps.

        Args:
            headers: Stamp → value or values; or texts ``stamp=value``.
            destination: Node names.
            terminate: Also stop those that run.
            signal: How to stop them.
            **kwargs: As `broadcast`.
        """
        arguments = {"headers": headers, "terminate": terminate, "signal": signal}
        return self.broadcast("revoke_by_stamped_headers", arguments, destination, **kwargs)

    def rate_limit(
        self, task_name: str, rate_limit: Any, destination: Destination = None, **kwargs: Any
    ) -> Any:
        """Change the rate limit of a task type: a number per second, ``10/m``, ``None`` for no limit."""
        arguments = {"task_name": task_name, "rate_limit": rate_limit}
        return self.broadcast("rate_limit", arguments, destination, **kwargs)

    def time_limit(
        self,
        task_name: str,
        soft: float | None = None,
        hard: float | None = None,
        destination: Destination = None,
        **kwargs: Any,
    ) -> Any:
        """Change both time limits of a task type, in seconds; `None` takes one away."""
        arguments = {"task_name": task_name, "hard": hard, "soft": soft}
        return self.broadcast("time_limit", arguments, destination, **kwargs)

    # -- queues ------------------------------------------------------------------------------------

    def add_consumer(
        self,
        queue: str,
        exchange: str | None = None,
        exchange_type: str = "direct",
        routing_key: str | None = None,
        options: Mapping[str, Any] | None = None,
        destination: Destination = None,
        **kwargs: Any,
    ) -> Any:
        """Let workers consume one more queue; the exchange and the key default to its name.

        Args:
            queue: Its name.
            exchange: Name of the exchange.
            exchange_type: Type of the exchange.
            routing_key: Routing key.
            options: More options of a `kombu.Queue`.
            destination: Node names.
            **kwargs: As `broadcast`.
        """
        arguments = {
            "queue": queue,
            "exchange": exchange,
            "exchange_type": exchange_type,
            "routing_key": routing_key,
            **(options or {}),
        }
        return self.broadcast("add_consumer", arguments, destination, **kwargs)

    def cancel_consumer(self, queue: str, destination: Destination = None, **kwargs: Any) -> Any:
        """Let workers consume a queue no longer."""
        return self.broadcast("cancel_consumer", {"queue": queue}, destination, **kwargs)

    def purge(self, connection: Any = None) -> int:
        """Delete all messages in all queues of the app, and return how many there were."""
        with self.app.connection_or_acquire(connection) as conn:
            return self.app.amqp.TaskConsumer(conn).purge() or 0

    discard_all = purge

    # -- workers -----------------------------------------------------------------------------------

    def ping(self, destination: Destination = None, timeout: float = 1.0, **kwargs: Any) -> Any:
        """Return who is there: a list with ``{node: {"ok": "pong"}}`` for each."""
        return self.broadcast("ping", {}, destination, timeout=timeout, reply=True, **kwargs)

    def enable_events(self, destination: Destination = None, **kwargs: Any) -> Any:
        """Let workers send task events."""
        return self.broadcast("enable_events", {}, destination, **kwargs)

    def disable_events(self, destination: Destination = None, **kwargs: Any) -> Any:
        """Let workers stop sending task events."""
        return self.broadcast("disable_events", {}, destination, **kwargs)

    def heartbeat(self, destination: Destination = None, **kwargs: Any) -> Any:
        """Let workers send a heartbeat event now."""
        return self.broadcast("heartbeat", {}, destination, **kwargs)

    def pool_grow(self, n: int = 1, destination: Destination = None, **kwargs: Any) -> Any:
        """Add `n` slots to the pools."""
        return self.broadcast("pool_grow", {"n": n}, destination, **kwargs)

    def pool_shrink(self, n: int = 1, destination: Destination = None, **kwargs: Any) -> Any:
        """Take `n` slots from the pools."""
        return self.broadcast("pool_shrink", {"n": n}, destination, **kwargs)

    def pool_restart(
        self,
        modules: Sequence[str] | None = None,
        reload: bool = False,
        reloader: Any = None,
        destination: Destination = None,
        **kwargs: Any,
    ) -> Any:
        """Replace the pools' processes; workers must allow it by `worker_pool_restarts`.

        Args:
            modules: To import first.
            reload: Import them again where they are loaded already.
            reloader: Function that does so; it must be one the serializer can carry.
            destination: Node names.
            **kwargs: As `broadcast`.
        """
        arguments = {"modules": modules, "reload": reload, "reloader": reloader}
        return self.broadcast("pool_restart", arguments, destination, **kwargs)

    def autoscale(
        self, max: int | None, min: int | None, destination: Destination = None, **kwargs: Any
    ) -> Any:
        """Change the bounds of autoscaling."""
        return self.broadcast("autoscale", {"max": max, "min": min}, destination, **kwargs)

    def shutdown(self, destination: Destination = None, **kwargs: Any) -> Any:
        """Stop workers warmly; they do not answer."""
        return self.broadcast("shutdown", {}, destination, **kwargs)

    def election(self, id: str, topic: str, action: Any = None, connection: Any = None) -> Any:
        """Let workers elect the one that runs an action; needs gossip. A single Celery worker does not survive it."""
        arguments = {"id": id, "topic": topic, "action": action}
        return self.broadcast("election", arguments, connection=connection)
