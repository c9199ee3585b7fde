"""`celeriac inspect`: ask workers. Spec: app-and-cli#13.8."""

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
    "inspect",
    short_help="Ask workers what they do.",
    epilog="""\b
Examples:
  celeriac -A proj inspect ping
  celeriac -A proj inspect active -d w1@host1,w2@host2
  celeriac -A proj inspect registered rate_limit acks_late
  celeriac -A proj inspect stats -j | jq '.[].total'

\b
Exit status: 0; 2 for an unknown command; 69 when nobody answered.""",
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
    """Send a question to all workers, or to some, and print what each answers.

    ``--list`` shows the questions, also those that the application adds with `@inspect_command`. It works for our
    workers and for Celery's, over any broker that can broadcast (RabbitMQ, Redis).
    """
    context: Context = ctx.obj
    context.app.loader.import_default_modules()
    if only_list:
        click.echo(list_commands(ctx, "inspect"))
        return 0
    if name is None:
        raise click.UsageError("Missing argument 'COMMAND'.", ctx)
    info = command_named(ctx, "inspect", name)
    arguments = arguments_of(ctx, info, words)
    printer = Printer(context)
    inspector = context.app.control.inspect(
        destination=destination,
        timeout=info.default_timeout if timeout is None else timeout,
        callback=None if as_json else printer.reply,
    )
    with reaching_broker():
        replies = inspector._request(info.name, **arguments)
    if not replies:
        raise no_replies()
    if as_json:
        click.echo(json.dumps(replies))
    elif not context.quiet:
        printer.total()
    return 0
