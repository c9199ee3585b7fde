"""`celeriac control`: steer workers. Spec: app-and-cli#13.8."""

from __future__ import annotations

import json
from typing import Any

import click

from celeriac.cli.main import Context
from celeriac.cli.remote import Printer, no_replies, reaching_broker, request_words, the_request

__all__ = ["command"]


@click.command(
    "control",
    short_help="Tell workers what to do.",
    epilog="""\b
Examples:
  celeriac -A proj control rate_limit proj.tasks.send_mail 10/m
  celeriac -A proj control add_consumer reports -d w1@host1
  celeriac -A proj control terminate KILL 6f6f10ce-a185-4dab-8749-393e8fb5ad7c

\b
Exit status: 0, also when a worker refuses; 2 for an unknown command; 69 when nobody answered
(workers do not answer `shutdown`).""",
)
@request_words
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    destination: tuple[str, ...] | None,
    as_json: bool,
    **typed: Any,
) -> int:
    """Send a command to all workers, or to some, and print what each answers.

    ``--list`` shows the commands, also those that the application adds with `@control_command`. It works for our
    workers and for Celery's, over any broker that can broadcast (RabbitMQ, Redis).
    """
    context: Context = ctx.obj
    request = the_request(ctx, "control", **typed)
    if request is None:
        return 0
    printer = Printer(context)
    with reaching_broker():
        replies = context.app.control.broadcast(
            request.info.name,
            request.arguments,
            destination=destination,
            timeout=request.timeout_s,
            callback=None if as_json else printer.reply,
            reply=True,
        )
    if not replies:
        raise no_replies()
    if as_json:
        click.echo(json.dumps(replies))
    return 0
