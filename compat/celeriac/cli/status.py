"""`celeriac status`: who is there. Spec: app-and-cli#13.8."""

from __future__ import annotations

import json

import click

from celeriac.cli.main import Context
from celeriac.cli.remote import Printer, no_replies, reaching_broker, remote_options

__all__ = ["command"]


@click.command("status", short_help="List the workers that are online.")
@remote_options
@click.pass_context
def command(
    ctx: click.Context,
    *,
    timeout: float | None,
    destination: tuple[str, ...] | None,
    as_json: bool,
) -> int:
    """Ping all workers, or some, and list those that answer: ours and Celery's.

    Exit status: 0; 69 when nobody answered.
    """
    context: Context = ctx.obj
    printer = Printer(context, show_body=False)
    inspector = context.app.control.inspect(
        destination=destination,
        timeout=1.0 if timeout is None else timeout,
        callback=None if as_json else printer.reply,
    )
    with reaching_broker():
        replies = inspector.ping()
    if not replies:
        raise no_replies()
    if as_json:
        click.echo(json.dumps(replies))
        printer.count = len(replies)
    printer.total()
    return 0
