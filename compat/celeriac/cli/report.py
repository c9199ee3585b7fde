"""`celeriac report`: what a report of a problem should tell. Spec: app-and-cli#13.12."""

from __future__ import annotations

import click

from celeriac.cli.main import Context

__all__ = ["command"]


@click.command("report", short_help="Print versions and settings for a bug report.")
@click.pass_context
def command(ctx: click.Context) -> int:
    """Print versions, platform, loader, transport and the settings that were changed; secrets are masked."""
    context: Context = ctx.obj
    context.app.loader.import_default_modules()
    click.echo(context.app.bugreport())
    return 0
