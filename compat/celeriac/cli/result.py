"""`celeriac result`: print what a task returned. Spec: app-and-cli#13.9."""

from __future__ import annotations

import click

from celeriac.cli.main import Context

__all__ = ["command"]


@click.command("result", short_help="Wait for a task and print its result.")
@click.argument("task_id")
@click.option("-t", "--task", metavar="NAME", help="Name of the task, if it has a backend of its own.")  # fmt: skip
@click.option("--traceback", "show_traceback", is_flag=True, help="Print the traceback instead.")
@click.pass_context
def command(ctx: click.Context, *, task_id: str, task: str | None, show_traceback: bool) -> int:
    """Wait until a task is done and print its value; the exception of one that failed ends this program with 1."""
    context: Context = ctx.obj
    app = context.app
    result = (app.tasks[task] if task else app).AsyncResult(task_id)
    value = result.traceback if show_traceback else result.get()
    click.echo("" if value is None and show_traceback else value)
    return 0
