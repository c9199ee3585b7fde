"""The `celeriac` program: global options, one file per subcommand. Spec: app-and-cli#13.1."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import click

import celeriac.cli
from celeriac_protocol import __version__

if TYPE_CHECKING:
    from celeriac.app.app import Celery

__all__ = ["Context", "cli", "main"]

_NOT_COMMANDS = frozenset({"main", "remote"})


class Context:
    """What the global options say, handed to every subcommand as `ctx.obj`."""

    def __init__(self, app: Celery, *, quiet: bool, no_color: bool | None) -> None:
        self.app = app
        self.quiet = quiet
        self.no_color = no_color


class _Commands(click.Group):
    """Finds subcommands as modules of `celeriac.cli`: one file each, attribute `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(
            module.name
            for module in iter_modules(celeriac.cli.__path__)
            if module.name not in _NOT_COMMANDS
        )

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(f"celeriac.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as exc:
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.list_commands(ctx), n=3, cutoff=0.5)
            if near:
                hint = "\n\nDid you mean one of these?\n    " + "\n    ".join(near)
                raise click.UsageError(f"{exc.message}{hint}", ctx=ctx) from exc
            raise


@click.group(
    cls=_Commands,
    context_settings={"auto_envvar_prefix": "CELERY", "help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
)
@click.option(
    "-A", "--app", "app_name", envvar=["CELERY_APP", "APP"], metavar="NAME",
    help="The app to use: a module, a package with a `celery` module, or module:attribute.",
)  # fmt: skip
@click.option("-b", "--broker", metavar="URL", help="Broker URL; beats the app's own setting.")
@click.option(
    "--result-backend", metavar="URL", help="Result backend URL; beats the app's own setting."
)
@click.option("--loader", metavar="PATH", help="Loader class.")
@click.option("--config", metavar="MODULE", help="Configuration module of apps that name none.")
@click.option("--workdir", type=click.Path(file_okay=False), help="Change to this directory first.")
@click.option("-C", "--no-color", is_flag=True, default=None, help="Never write colours.")
@click.option("-q", "--quiet", is_flag=True, help="Print less.")
@click.option(
    "--skip-checks",
    is_flag=True,
    envvar=["CELERY_SKIP_CHECKS", "SKIP_CHECKS"],
    help="Skip Django's checks.",
)
@click.version_option(f"{__version__} (celeriac)", message="%(version)s")
@click.pass_context
def cli(
    ctx: click.Context,
    app_name: str | None,
    broker: str | None,
    result_backend: str | None,
    loader: str | None,
    config: str | None,
    workdir: str | None,
    no_color: bool | None,
    quiet: bool,
    skip_checks: bool,
) -> None:
    """Run Celery projects with Celeriac: same queues, same messages, same results."""
    if workdir:
        os.chdir(workdir)
    for variable, value in (
        ("CELERY_BROKER_URL", broker),
        ("CELERY_RESULT_BACKEND", result_backend),
        ("CELERY_LOADER", loader),
        ("CELERY_CONFIG_MODULE", config),
        ("CELERY_SKIP_CHECKS", "true" if skip_checks else None),
    ):
        if value:
            os.environ[variable] = value
    if ctx.resilient_parsing:
        return
    ctx.obj = Context(_load(ctx, app_name), quiet=quiet, no_color=no_color)


def _load(ctx: click.Context, name: str | None) -> Any:
    from celeriac.app.find import load_app
    from celeriac.app.state import get_current_app

    preset = ctx.obj
    if preset is not None and name is None:
        return preset
    if name is None:
        return get_current_app()
    try:
        return load_app(name)
    except ValueError as exc:
        raise click.UsageError(str(exc), ctx=ctx) from exc


def main(argv: Sequence[str], app: Celery | None = None) -> int:
    """Run the program; return its exit status.

    Args:
        argv: Arguments without the program's name.
        app: Used when `-A` names none (`app.start()`, `app.worker_main()`).
    """
    try:
        result = cli.main(args=list(argv), prog_name="celeriac", standalone_mode=False, obj=app)
    except click.exceptions.Abort:
        sys.stderr.write("Aborted!\n")
        return 1
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    return result if isinstance(result, int) else 0
