"""`celeriac list bindings`: which queue hangs on which exchange. Spec: app-and-cli#13.12."""

from __future__ import annotations

import click

from celeriac.cli.main import Context
from celeriac.cli.remote import reaching_broker

__all__ = ["bindings", "command"]

_ROW = "{:<28} {:<28} {}"


@click.group("list", short_help="Look at the broker.")
def command() -> None:
    """Look at what the broker has."""


@command.command("bindings")
@click.pass_context
def bindings(ctx: click.Context) -> int:
    """List queues with exchange and routing key.

    The broker must be able to tell: Redis can; RabbitMQ cannot over AMQP (use ``rabbitmqctl list_bindings``).
    """
    context: Context = ctx.obj
    app = context.app
    with reaching_broker(), app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1)
        app.amqp.TaskConsumer(connection).declare()
        try:
            found = list(connection.manager.get_bindings())
        except (NotImplementedError, AttributeError, ImportError) as exc:
            raise click.UsageError("Your transport cannot list bindings.", ctx) from exc
    click.echo(_ROW.format("Queue", "Exchange", "Routing Key"))
    click.echo(_ROW.format("-" * 16, "-" * 16, "-" * 16))
    for binding in found:
        names = ("destination", "source", "routing_key")
        click.echo(_ROW.format(*(binding[name] for name in names)))
    return 0
