"""`celeriac purge`: delete messages. Spec: app-and-cli#13.9."""

from __future__ import annotations

import click
from kombu.exceptions import OperationalError

from celeriac.cli.main import Context
from celeriac.cli.remote import reaching_broker, split_names

__all__ = ["command"]

_WARNING = (
    "{warning}:This will remove all tasks from {queues}: {names}.\n"
    "         There is no undo for this operation!\n\n"
    "(to skip this prompt use the -f option)"
)


@click.command("purge", short_help="Delete all messages in the app's queues.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option(
    "-Q", "--queues", callback=split_names, metavar="A,B", help="These queues, not the app's."
)
@click.option(
    "-X", "--exclude-queues", callback=split_names, metavar="A,B", help="Spare these queues."
)
@click.pass_context
def command(
    ctx: click.Context,
    *,
    force: bool,
    queues: tuple[str, ...] | None,
    exclude_queues: tuple[str, ...] | None,
) -> int:
    """Delete every message that waits in a queue. There is no undo.

    Messages that a worker has taken already are not touched. Exit status: 0; 1 when the question is not answered
    with yes; 69 when the broker cannot be reached.
    """
    context: Context = ctx.obj
    app = context.app
    names = sorted(set(queues or app.amqp.queues) - set(exclude_queues or ()))
    if not names:
        return 0
    word = "queue" if len(names) == 1 else "queues"
    if not force:
        warning = click.style("WARNING", fg="red")
        click.echo(_WARNING.format(warning=warning, queues=word, names=", ".join(names)))
        click.confirm("Are you sure you want to delete all tasks?", abort=True)
    purged = 0
    with reaching_broker(), app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1)
        for name in names:
            try:
                purged += connection.default_channel.queue_purge(name) or 0
            except connection.channel_errors as exc:
                if isinstance(exc, OperationalError):
                    raise
                # No such queue, so no messages; the broker has closed the channel.
                connection.default_channel.close()
                connection._default_channel = None
    if purged:
        messages = "message" if purged == 1 else "messages"
        click.echo(f"Purged {purged} {messages} from {len(names)} known task {word}.")
    else:
        click.echo(f"No messages purged from {len(names)} {word}.")
    return 0
