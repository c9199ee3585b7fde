"""`celeriac inspect`: ask workers. Spec: app-and-cli#13.8."""

from __future__ import annotations

import json
from typing import Any

import click

from celeriac.cli.main import Context
from celeriac.cli.remote import Printer, no_replies, reaching_broker, request_words, the_request

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
    """Send a question to all workers, or to some, and print what each answers.

    ``--list`` shows the questions, also those that the application adds with `@inspect_command`. It works for our
    workers and for Celery's, over any broker that can broadcast (RabbitMQ, Redis).
    """
    context: Context = ctx.obj
    request = the_request(ctx, "inspect", **typed)
    if request is None:
        return 0
    printer = Printer(context)
    inspector = context.app.control.inspect(
        destination=destination,
        timeout=request.timeout_s,
        callback=None if as_json else printer.reply,
    )
    with reaching_broker():
        replies = inspector._request(request.info.name, **request.arguments)
    if not replies:
        raise no_replies()
    if as_json:
        click.echo(json.dumps(replies))
    elif not context.quiet:
        printer.total()
    return 0
