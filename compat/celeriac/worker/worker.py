"""Build a worker from an app and options, start it, stop it, in order. Spec: control-and-events#4.1, #5."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kombu.utils.url import maybe_sanitize_url

from celeriac import signals
from celeriac.brokers.base import Broker, SideChannel
from celeriac.brokers.kombu import KombuBroker
from celeriac.clock import Clock, SystemClock
from celeriac.exceptions import ImproperlyConfigured
from celeriac.helpers.nodenames import worker_direct
from celeriac.pools import pool_class
from celeriac.result import set_join_will_block
from celeriac.worker.actions import Settlement
from celeriac.worker.autoscale import Autoscaler
from celeriac.worker.banner import banner, task_list
from celeriac.worker.connection import ConnectionGivenUpError, Reconnector
from celeriac.worker.delivery import Hooks, Request
from celeriac.worker.execute import Executor
from celeriac.worker.loop import Loop
from celeriac.worker.nodename import expand, node_name
from celeriac.worker.payload import SettlePayload
from celeriac.worker.rates import parse_rate
from celeriac.worker.request import Phase
from celeriac.worker.revoked import RevokedIds
from celeriac.worker.shutdown import ShutdownSignals, Stop
from celeriac.worker.side_parts import make_side_channel, make_side_service
from celeriac.worker.soft_stop import SoftStop
from celeriac.worker.statefile import StateFile, StateFileError
from celeriac.worker.waiter import Waiter
from celeriac_protocol import __version__
from celeriac_protocol.serializers import accept_set

if TYPE_CHECKING:
    from celeriac.app.app import Celery
    from celeriac.pools.base import Pool

__all__ = ["Worker", "WorkerOptions"]

logger = logging.getLogger("celery.worker")


@dataclass(kw_only=True)
class WorkerOptions:
    """What the command line (or a caller) asks for; `None` means: as the settings say."""

    hostname: str | None = None
    loglevel: int | str | None = None
    logfile: str | None = None
    concurrency: int | None = None
    pool: str | None = None
    queues: Sequence[str] = ()
    exclude_queues: Sequence[str] = ()
    include: Sequence[str] = ()
    prefetch_multiplier: int | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    purge: bool = False
    task_events: bool | None = None
    without_heartbeat: bool = False
    without_gossip: bool = False
    without_mingle: bool = False
    heartbeat_interval: float | None = None
    statedb: str | None = None
    autoscale: tuple[int, int] | None = None
    """The most and the fewest slots of the pool."""
    quiet: bool = False
    no_color: bool | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    """Anything else, handed to `celeryd_init` receivers."""


class Worker:
    """One worker node.

    Args:
        app: The app whose tasks it runs.
        options: See `WorkerOptions`.
        clock: Wall and monotonic time.
        out: Where the banner goes.
        owns_process: The process ends when `run` returns, so signals may end it once the loop is over.
    """

    def __init__(
        self,
        app: Celery,
        options: WorkerOptions | None = None,
        *,
        clock: Clock | None = None,
        out: Callable[[str], None] | None = None,
        owns_process: bool = False,
    ) -> None:
        self.app = app
        self.options = options if options is not None else WorkerOptions()
        self.clock = clock if clock is not None else SystemClock()
        self.hostname = node_name(self.options.hostname)
        self.exitcode = 0
        self._out = out if out is not None else _print
        self.pool: Pool | None = None
        self.loop: Loop | None = None
        self.autoscaler: Autoscaler | None = None
        self._soft_stop: SoftStop | None = None
        self.revoked = RevokedIds()
        self._started_at = self.clock.monotonic()
        self.shutdown = ShutdownSignals(
            on_stop=self._announce_stop, leave=os._exit if owns_process else None
        )

    # -- life -----------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Start, serve until told to stop, stop; return the exit status.

        Raises:
            ImproperlyConfigured: Settings or options that cannot work.
        """
        app, options = self.app, self.options
        app.set_current()
        app.set_default()
        self._configure()
        app.loader.import_default_modules()
        app.finalize()
        signals.celeryd_init.send(
            sender=self.hostname, instance=self, conf=app.conf, options=vars(options)
        )
        queues = self.select_queues()
        signals.worker_init.send(sender=self)
        accept = accept_set(app.conf.accept_content)
        self._warn_about_root(accept)
        self._set_up_logging()
        signals.celeryd_after_setup.send(sender=self.hostname, instance=self, conf=app.conf)
        if options.purge:
            self._purge(queues)
        executor = Executor(app, self.hostname, accept=accept)
        broker = self._make_broker()
        if not options.quiet:
            self._print_banner(queues, broker)
        waiter = Waiter()
        side = make_side_channel(self)
        pool = self.pool = self._make_pool(executor, waiter, (broker, side))
        try:
            pool.start()
        except OSError as exc:
            logger.critical("The pool cannot start: %r", exc)
            return 1
        self.loop = Loop(
            broker=broker,
            pool=pool,
            queues=queues,
            tasks=app.tasks,
            prefetch=self.prefetch_count,
            clock=self.clock,
            reconnector=self._make_reconnector(),
            hooks=_Signals(self),
            accept=accept,
            revoked=self.revoked,
            waiter=waiter,
        )
        self._limit_rates(self.loop)
        self._restore_state(self.loop)
        self._scale(self.loop)
        self._allow_soft_stop(self.loop)
        self.loop.services.append(make_side_service(self, self.loop, side, accept))
        self.shutdown.install()
        waiter.watch_signals()
        try:
            return self._serve(executor)
        finally:
            self.shutdown.loop_is_over()
            for service in self.loop.services:
                service.close()
            broker.disconnect()
            app.close_connections()
            signals.worker_shutdown.send(sender=self)
            waiter.close()
            self.shutdown.restore()

    def _serve(self, executor: Executor) -> int:
        assert self.loop is not None
        assert self.pool is not None
        try:
            self.loop.run(self._should_stop)
        except _ColdStop:
            self._abandon_runs(executor, self.loop)
        except ConnectionGivenUpError as exc:
            logger.critical("Unrecoverable error: %s", exc)
            self._abandon_runs(executor, self.loop)
            return 1
        else:
            self.shutdown.loop_is_over()
            self.pool.stop()
        return self.shutdown.exitcode

    def _should_stop(self) -> bool:
        if self.shutdown.stop is not Stop.COLD:
            return self.shutdown.stop is Stop.WARM
        if self._soft_stop is None or not self._soft_stop.waits(self.shutdown.colds):
            raise _ColdStop
        return True

    def _abandon_runs(self, executor: Executor, loop: Loop) -> None:
        """End what runs; tell the callers of early-acked runs: no broker will deliver them again."""
        assert self.pool is not None
        self.pool.kill()
        gone = loop.abandon()
        self.shutdown.loop_is_over()
        for request in gone:
            if request.accepted_at is None:
                continue
            detail = (-signal.SIGTERM, request.number)
            executor.settle(SettlePayload(Settlement.LOST, request.payload(), detail))

    def _announce_stop(self, name: str, how: str, exitcode: int) -> None:
        signals.worker_shutting_down.send(
            sender=self.hostname, sig=name, how=how, exitcode=exitcode
        )

    def _allow_soft_stop(self, loop: Loop) -> None:
        conf = self.app.conf
        if conf.worker_soft_shutdown_timeout:
            self._soft_stop = SoftStop(
                conf.worker_soft_shutdown_timeout,
                self.clock,
                lambda: any(r.state.phase is Phase.RUNNING for r in loop.requests.values()),
                waits_when_idle=conf.worker_enable_soft_shutdown_on_idle,
            )
            loop.services.append(self._soft_stop)

    def _scale(self, loop: Loop) -> None:
        asked = self.options.autoscale
        if asked is None:
            return
        if self.pool_name == "solo":
            raise ImproperlyConfigured("The solo pool has one slot: it cannot be scaled")
        self.autoscaler = Autoscaler(loop, *asked, multiplier=self.prefetch_multiplier)
        loop.services.append(self.autoscaler)

    def _restore_state(self, loop: Loop) -> None:
        path = self.options.statedb or self.app.conf.worker_state_db
        if not path:
            return
        name, _, host = self.hostname.partition("@")
        words = {"p": self.hostname, "h": host, "n": name, "d": host.partition(".")[2]}
        state_file = StateFile(
            expand(path, {**words, "i": "0", "I": ""}), self.revoked, self.app.clock
        )
        try:
            state_file.load()
        except StateFileError as exc:
            raise ImproperlyConfigured(f"The state file cannot be used: {exc}") from exc
        loop.services.append(state_file)

    def _limit_rates(self, loop: Loop) -> None:
        if self.app.conf.worker_disable_rate_limits:
            return
        for name, task in self.app.tasks.items():
            if task.rate_limit:
                try:
                    loop.limit_rate(name, parse_rate(task.rate_limit))
                except (KeyError, TypeError, ValueError) as exc:
                    raise ImproperlyConfigured(
                        f"Task {name}: {task.rate_limit!r} is no rate limit, use a number, or N/s, N/m or N/h: {exc!r}"
                    ) from exc

    # -- parts ----------------------------------------------------------------------------------------------------

    @property
    def concurrency(self) -> int:
        """Number of tasks run at once."""
        return int(
            self.options.concurrency or self.app.conf.worker_concurrency or os.cpu_count() or 1
        )

    @property
    def pool_name(self) -> str:
        """Which pool; the setting beats an explicit `-P prefork`. Spec: app-and-cli#13.4."""
        asked = self.options.pool
        if asked in (None, "prefork"):
            return str(self.app.conf.worker_pool or asked or "prefork")
        return str(asked)

    @property
    def prefetch_count(self) -> int:
        """Deliveries held at most beside those waiting for an eta; 0: no limit."""
        slots = self._slots() if self.options.autoscale is None else self.options.autoscale[0]
        return slots * self.prefetch_multiplier

    @property
    def prefetch_multiplier(self) -> int:
        """Deliveries held per slot; 0: no limit."""
        return int(self.options.prefetch_multiplier or self.app.conf.worker_prefetch_multiplier)

    @property
    def sends_task_events(self) -> bool:
        """Whether task events are on from the start."""
        asked = self.options.task_events
        return bool(asked or self.app.conf.worker_send_task_events)

    @property
    def uptime_s(self) -> float:
        """Seconds since this worker was made."""
        return self.clock.monotonic() - self._started_at

    def _slots(self) -> int:
        if self.options.autoscale is not None and self.pool_name != "solo":
            return max(1, self.options.autoscale[1])
        return 1 if self.pool_name == "solo" else self.concurrency

    def _configure(self) -> None:
        conf, options = self.app.conf, self.options
        if options.include:
            conf.include = tuple(dict.fromkeys((*(conf.include or ()), *options.include)))
        for name, value in (
            ("task_time_limit", options.time_limit),
            ("task_soft_time_limit", options.soft_time_limit),
            ("worker_max_tasks_per_child", options.max_tasks_per_child),
            ("worker_max_memory_per_child", options.max_memory_per_child),
        ):
            if value is not None:
                conf[name] = value

    def select_queues(self) -> list[Any]:
        """Return the queues to consume, as options and settings choose them.

        Raises:
            ImproperlyConfigured: One is unknown, and none may be made.
        """
        queues = self.app.amqp.queues
        if self.options.queues:
            try:
                queues.select(self.options.queues)
            except KeyError as exc:
                raise ImproperlyConfigured(
                    f"Trying to select queue subset of {list(self.options.queues)!r}, but queue {exc} isn't\n"
                    "defined in the `task_queues` setting.\n\n"
                    "If you want to automatically declare unknown queues you can\n"
                    "enable the `task_create_missing_queues` setting."
                ) from exc
        if self.options.exclude_queues:
            queues.deselect(self.options.exclude_queues)
        if self.app.conf.worker_direct:
            queues.select_add(worker_direct(self.hostname))
        return list(queues.consume_from.values())

    def _set_up_logging(self) -> None:
        options = self.options
        loglevel = options.loglevel if options.loglevel is not None else "WARNING"
        level = logging.getLevelName(loglevel.upper()) if isinstance(loglevel, str) else loglevel
        self._loglevel = int(level)
        self.app.log.setup(
            self._loglevel,
            options.logfile,
            redirect_stdouts=self.app.conf.worker_redirect_stdouts,
            redirect_level=self.app.conf.worker_redirect_stdouts_level,
            colorize=False if options.no_color else None,
            hostname=self.hostname,
        )

    def _make_broker(self) -> Broker:
        conf = self.app.conf
        return KombuBroker(
            self.app.broker_url_for(conf.broker_read_url),
            transport_options=conf.broker_transport_options,
            connect_timeout_s=conf.broker_connection_timeout,
            heartbeat_s=conf.broker_heartbeat,
            ssl=conf.broker_use_ssl,
            login_method=conf.broker_login_method,
        )

    def _make_pool(
        self, executor: Executor, waiter: Waiter, inherited: Sequence[Broker | SideChannel]
    ) -> Pool:
        conf = self.app.conf
        try:
            cls = pool_class(self.pool_name)
        except KeyError as exc:
            raise ImproperlyConfigured(
                f"Unknown pool {self.pool_name!r}: use prefork, threads or solo"
            ) from exc

        def initialize(index: int) -> None:
            # A task that waited for another one could wait for its own slot.
            set_join_will_block(True)
            if cls.name == "prefork":
                self.app.log.setup_child(index)
            signals.worker_process_init.send(sender=self.hostname)

        def forget_parent() -> None:
            self.shutdown.forget()
            self.app.after_fork()
            for connection in inherited:
                connection.after_fork_in_child()
            for fd in waiter.filenos():
                os.close(fd)

        def finalize(exitcode: int) -> None:
            signals.worker_process_shutdown.send(
                sender=self.hostname, pid=os.getpid(), exitcode=exitcode
            )
            self.app.close_connections()

        more: dict[str, Any] = {}
        if cls.name == "prefork":
            more = {
                "after_fork_in_child": [forget_parent],
                "proc_alive_timeout_s": conf.worker_proc_alive_timeout,
                "node_name": self.hostname,
            }
        return cls(
            self._slots(),
            executor,
            initialize=initialize,
            finalize=finalize,
            max_tasks_per_child=conf.worker_max_tasks_per_child,
            max_memory_per_child_kib=conf.worker_max_memory_per_child,
            **more,
        )

    def _make_reconnector(self) -> Reconnector:
        conf = self.app.conf
        on_startup = conf.broker_connection_retry_on_startup
        # Celery gives up after 100 tries by default; a worker that is up when its broker comes back is worth more.
        explicit = conf.value_set_for("broker_connection_max_retries")
        return Reconnector(
            retry=conf.broker_connection_retry,
            retry_on_startup=conf.broker_connection_retry if on_startup is None else on_startup,
            max_retries=conf.broker_connection_max_retries if explicit else None,
        )

    def _purge(self, queues: Sequence[Any]) -> None:
        with self.app.connection_for_write() as connection:
            channel = connection.default_channel
            erased = sum(int(queue.bind(channel).purge() or 0) for queue in queues)
        if erased:
            self._out(
                f"purge: Erased {erased} {'message' if erased == 1 else 'messages'} from the queue.\n"
            )

    # -- words ----------------------------------------------------------------------------------------------------

    def _print_banner(self, queues: Sequence[Any], broker: Broker) -> None:
        app = self.app
        text = banner(
            node=self.hostname,
            version=f"{__version__} (celeriac)",
            app=f"{app.main or '__main__'}:{id(app):#x}",
            broker=broker.display_url,
            results=maybe_sanitize_url(app.conf.result_backend or "disabled://"),
            concurrency=f"{self._concurrency_text()} ({self.pool_name})",
            task_events=self.sends_task_events,
            queues=queues,
            now=datetime.now().astimezone(),
        )
        self._out(text)
        if self._loglevel <= logging.INFO:
            self._out(task_list(app.tasks, builtins=self._loglevel <= logging.DEBUG))

    def _concurrency_text(self) -> str:
        if self.options.autoscale is None:
            return str(self._slots())
        largest, smallest = self.options.autoscale
        return f"{{min={smallest}, max={largest}}}"

    def _warn_about_root(self, accept: frozenset[str]) -> None:
        if not hasattr(os, "getuid") or os.getuid() != 0:
            return
        if "application/x-python-serialize" in accept and not os.environ.get("C_FORCE_ROOT"):
            raise ImproperlyConfigured(
                "Running a worker with superuser privileges when the\n"
                "worker accepts messages serialized with pickle is a very bad idea!\n\n"
                "If you really want to continue then you have to set the C_FORCE_ROOT\n"
                "environment variable (but please think about this before you do)."
            )
        sys.stderr.write(
            "SecurityWarning: You're running the worker with superuser privileges: this is\n"
            "absolutely not recommended!\n"
        )

    def ready(self, *, first: bool) -> None:
        """Say that tasks are being consumed."""
        logger.info("%s ready.", self.hostname)
        if first:
            signals.worker_ready.send(sender=self)


class _ColdStop(Exception):  # noqa: N818 - control flow inside this module
    """Leave the loop at once."""


class _Signals(Hooks):
    """Sends the signals of the main process."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def connected(self, *, first: bool) -> None:
        self.worker.ready(first=first)

    def received(self, request: Request) -> None:
        if signals.task_received.receivers:
            signals.task_received.send(sender=self.worker, request=request)

    def revoked(self, request: Request, *, expired: bool) -> None:
        signals.task_revoked.send(
            sender=request.task, request=request, terminated=False, signum=None, expired=expired
        )

    def terminated(self, request: Request, signum: int) -> None:
        signals.task_revoked.send(
            sender=request.task, request=request, terminated=True, signum=signum, expired=False
        )

    def unknown(self, request: Request) -> None:
        signals.task_unknown.send(
            sender=self.worker, message=request.message, exc=KeyError(request.task_name),
            name=request.task_name, id=request.id,
        )  # fmt: skip

    def rejected(self, message: Any, error: Any) -> None:
        signals.task_rejected.send(sender=self.worker, message=message, exc=error)


def _print(text: str) -> None:
    stream = sys.__stdout__ or sys.stdout
    stream.write(f"{text}\n")
    stream.flush()
