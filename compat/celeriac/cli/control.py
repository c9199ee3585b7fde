"""`celeriac control`: steer workers. Spec: app-and-cli#13.8."""

from __future__ import annotations

import json

import click

from celeriac.cli.main import Context
from celeriac.cli.remote import (
    Printer,
    arguments_of,
    command_named,
    list_commands,
    no_replies,
    reaching_broker,
    remote_options,
)

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
@click.argument("name", metavar="COMMAND", required=False)
@click.argument("words", metavar="[ARGUMENTS]", nargs=-1)
@click.option("--list", "only_list", is_flag=True, help="List the commands and exit.")
@remote_options
@click.pass_context
def command(
    ctx: click.Context,
    *,
    name: str | None,
    words: tuple[str, ...],
    only_list: bool,
    timeout: float | None,
    destination: tuple[str, ...] | None,
    as_json: bool,
) -> int:
    """Send a command to all workers, or to some, and print what each answers.

    ``--list`` shows the commands, also those that the application adds with `@control_command`. It works for our
    workers and for Celery's, over any broker that can broadcast (RabbitMQ, Redis).
    """
    context: Context = ctx.obj
    context.app.loader.import_default_modules()
    if only_list:
        click.echo(list_commands(ctx, "control"))
        return 0
    if name is None:
        raise click.UsageError("Missing argument 'COMMAND'.", ctx)
    info = command_named(ctx, "control", name)
    arguments = arguments_of(ctx, info, words)
    printer = Printer(context)
    with reaching_broker():
        replies = context.app.control.broadcast(
            info.name,
            arguments,
            destination=destination,
            timeout=info.default_timeout if timeout is None else timeout,
            callback=None if as_json else printer.reply,
            reply=True,
        )
    if not replies:
        raise no_replies()
    if as_json:
        click.echo(json.dumps(replies))
    return 0
