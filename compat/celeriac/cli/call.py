"""`celeriac call`: send a task. Spec: app-and-cli#13.9."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click

from celeriac.cli.main import Context
from celeriac.cli.remote import reaching_broker
from celeriac_protocol.times import parse_iso8601

__all__ = ["command"]


_ParamType: Any = click.ParamType


class _Json(_ParamType):  # type: ignore[misc]
    def __init__(self, kind: type, article: str) -> None:
        self.name = f"json {article.split()[1]}"
        self._kind = kind
        self._article = article

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, self._kind):
            return value
        try:
            found = json.loads(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)
        if not isinstance(found, self._kind):
            self.fail(f"{value} was not {self._article}", param, ctx)
        return found


class _Time(_ParamType):  # type: ignore[misc]
    name = "iso 8601"

    def __init__(self, *, or_seconds: bool = False) -> None:
        self._or_seconds = or_seconds

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, datetime | float):
            return value
        if self._or_seconds:
            try:
                return float(value)
            except ValueError:
                # Not a number of seconds, so it has to be a time.
                return self._time(value, param, ctx)
        return self._time(value, param, ctx)

    def _time(self, value: str, param: Any, ctx: Any) -> Any:
        try:
            return parse_iso8601(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


@click.command(
    "call",
    short_help="Send a task by name and print its id.",
    epilog="""\b
Examples:
  celeriac -A proj call proj.tasks.add -a '[2, 3]'
  celeriac -A proj call proj.tasks.report -k '{"day": "monday"}' --countdown 60 --queue slow""",
)
@click.argument("name")
@click.option("-a", "--args", type=_Json(list, "an array"), default="[]", help="Arguments.")
@click.option("-k", "--kwargs", type=_Json(dict, "an object"), default="{}", help="By keyword.")
@click.option("--eta", type=_Time(), help="Not before this time (ISO 8601).")
@click.option("--countdown", type=float, metavar="S", help="Not before so many seconds from now.")
@click.option(
    "--expires",
    type=_Time(or_seconds=True),
    help="Not after this time, or so many seconds from now.",
)
@click.option("--serializer", metavar="NAME", help="How to write the arguments.")
@click.option("--queue", metavar="NAME", help="Send to this queue.")
@click.option("--exchange", metavar="NAME", help="Send to this exchange.")
@click.option("--routing-key", metavar="KEY", help="With this routing key.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    name: str,
    args: list[Any],
    kwargs: dict[str, Any],
    **options: Any,
) -> int:
    """Send a task by name. Nobody checks that there is such a task, or that it takes these arguments."""
    context: Context = ctx.obj
    given = {key: value for key, value in options.items() if value is not None}
    with reaching_broker():
        result = context.app.send_task(name, args=args, kwargs=kwargs, **given)
    click.echo(result.id)
    return 0
