"""`celeriac events`: watch the stream of events. Spec: app-and-cli#13.10."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from celeriac.cli.main import Context
from celeriac.cli.remote import reaching_broker

__all__ = ["command"]

_LAST = ("type", "hostname", "timestamp", "local_received", "utcoffset", "pid")
_WHOSE = ("name", "args", "kwargs", "uuid")


@click.command("events", short_help="Print the events of workers and tasks as they happen.")
@click.option("-d", "--dump", is_flag=True, help="One line for each event; the default here.")
@click.pass_context
def command(ctx: click.Context, *, dump: bool) -> int:
    """Print every event, until interrupted: of our workers and of Celery's.

    Workers tell of tasks when they run with -E, or after ``celeriac control enable_events``. There is no full-screen
    view; without --dump the same lines are printed.
    """
    context: Context = ctx.obj
    app = context.app
    click.echo("-> evdump: starting capture...")
    names: dict[str, str] = {}
    with reaching_broker(), app.connection_for_read() as connection:
        connection.ensure_connection(max_retries=1)
        receiver = app.events.Receiver(
            connection, handlers={"*": lambda event: click.echo(_line(event, names))}
        )
        try:
            receiver.run()
        except KeyboardInterrupt:
            return 0
    return 0


def _line(event: dict[str, Any], names: dict[str, str]) -> str:
    """Return one line; `names` remembers what a task is called, which only some of its events say."""
    kind: str = event["type"]
    stamp = event.get("timestamp")
    when = "" if stamp is None else str(datetime.fromtimestamp(stamp, UTC))
    if kind.startswith("task-"):
        what = f"task {kind.removeprefix('task-')}: {_task(event, names)}"
        left = {*event} - {*_LAST, *_WHOSE}
    else:
        what = f"{kind.removeprefix('worker-')}:"
        left = {*event} - {*_LAST}
    fields = ", ".join(f"{name}={event[name]}" for name in sorted(left))
    return f"{event['hostname']} [{when}] {what} {fields}".rstrip()


def _task(event: dict[str, Any], names: dict[str, str]) -> str:
    uuid = event.get("uuid", "")
    if event.get("name"):
        if len(names) > 10_000:
            names.clear()
        names[uuid] = event["name"]
        return f"{event['name']}({uuid}) args={event.get('args')} kwargs={event.get('kwargs')}"
    return f"{names.get(uuid, '')}({uuid})"
