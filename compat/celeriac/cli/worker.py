"""`celeriac worker`: start a worker node. Spec: app-and-cli#13.4."""

from __future__ import annotations

import os
from typing import Any

import click

from celeriac.cli.main import Context
from celeriac.exceptions import ImproperlyConfigured

__all__ = ["command"]

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL")
_POOLS = ("prefork", "processes", "threads", "solo")


def _names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (value or "").split(",") if name.strip())


def _concurrency(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    if value is None or value == "":
        return None
    if value == "auto":
        return os.cpu_count() or 1
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is not a positive number, nor 'auto'.")
    return int(value)


def _autoscale(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    if value is None:
        return None
    words = [word.strip() for word in value.split(",")]
    if len(words) > 2 or not all(word.isdecimal() for word in words):
        raise click.BadParameter(f"{value!r}: expected MAX,MIN")
    numbers = sorted((int(word) for word in (*words, "0")[:2]), reverse=True)
    if numbers[0] < 1:
        raise click.BadParameter(f"{value!r}: the pool must be able to grow")
    return numbers[0], numbers[1]


@click.command(
    "worker",
    short_help="Start a worker node.",
    epilog="""\b
Examples:
  celeriac -A proj worker -l INFO
  celeriac -A proj worker -l INFO -Q hipri,lopri -c 4 -n w1@%h
  celeriac -A proj -b redis://localhost worker -P threads -c 16""",
)
@click.option(
    "-n",
    "--hostname",
    metavar="NODE",
    help="Node name, `name@host`; %h host, %n short name, %d domain.",
)
@click.option(
    "-l", "--loglevel", type=click.Choice(_LEVELS, case_sensitive=False), default="WARNING", show_default=True,
    help="How much to log.",
)  # fmt: skip
@click.option(
    "-f",
    "--logfile",
    type=click.Path(dir_okay=False),
    help="Log to this file instead of standard error.",
)
@click.option(
    "-c",
    "--concurrency",
    callback=_concurrency,
    metavar="N",
    help="Tasks run at once; `auto`: one per CPU.",
)
@click.option(
    "-P", "--pool", type=click.Choice(_POOLS, case_sensitive=False), default=None,
    help="Where tasks run: child processes, threads, or the worker's own thread.  [default: prefork]",
)  # fmt: skip
@click.option(
    "-Q",
    "--queues",
    callback=_names,
    metavar="A,B",
    help="Consume these queues instead of the configured ones.",
)
@click.option(
    "-X", "--exclude-queues", callback=_names, metavar="A,B", help="Do not consume these queues."
)
@click.option("-I", "--include", callback=_names, metavar="A,B", help="Import these modules too.")
@click.option(
    "--prefetch-multiplier",
    type=click.IntRange(min=0),
    metavar="N",
    help="Messages fetched ahead per slot.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0),
    metavar="S",
    help="Hard limit of every task, in seconds.",
)
@click.option(
    "--soft-time-limit", type=click.FloatRange(min=0), metavar="S", help="Soft limit, in seconds."
)
@click.option(
    "--max-tasks-per-child",
    type=click.IntRange(min=1),
    metavar="N",
    help="Replace a child after N tasks.",
)
@click.option(
    "--max-memory-per-child",
    type=click.IntRange(min=1),
    metavar="KIB",
    help="Replace a child that grew larger.",
)
@click.option(
    "-O",
    "--optimization",
    type=click.Choice(("default", "fair")),
    default="default",
    help="Both are fair.",
)
@click.option("--purge", "--discard", is_flag=True, help="Empty the queues before starting.")
@click.option(
    "-E",
    "--task-events",
    "--events",
    is_flag=True,
    help="Send task events from the start.",
)
@click.option(
    "-S",
    "--statedb",
    metavar="FILE",
    help="Keep revoked ids and the clock in this file; %n, %h, %p are expanded.",
)
@click.option(
    "--autoscale",
    callback=_autoscale,
    metavar="MAX,MIN",
    help="Let the pool grow and shrink by load.",
)
@click.option("--without-gossip", is_flag=True, help="Do not listen to other workers' events.")
@click.option("--without-mingle", is_flag=True, help="Do not ask other workers at start.")
@click.option("--without-heartbeat", is_flag=True, help="Send no heartbeat events.")
@click.option(
    "--heartbeat-interval",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Seconds between heartbeat events.  [default: 2]",
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    optimization: str,
    **options: Any,
) -> int:
    """Consume queues and run the tasks found there.

    The first TERM or INT stops warmly: running tasks end, everything else goes back to its queue. A second signal, or
    QUIT, stops at once. Exit status: 0; 1 after INT or when the broker refuses for good.
    """
    from celeriac.worker.worker import Worker, WorkerOptions

    context: Context = ctx.obj
    if options["pool"] == "processes":
        options["pool"] = "prefork"
    worker = Worker(
        context.app,
        WorkerOptions(quiet=context.quiet, no_color=context.no_color, **options),
        owns_process=True,
    )
    try:
        return worker.run()
    except ImproperlyConfigured as exc:
        raise click.ClickException(str(exc)) from exc
