"""What `inspect`, `control` and `status` share: options, words to arguments, replies to text.

Spec: app-and-cli#13.8, control-and-events#1.6
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click
from kombu.exceptions import OperationalError

if TYPE_CHECKING:
    from celeriac.cli.main import Context
    from celeriac.worker.remote.registry import CommandInfo

__all__ = [
    "Printer",
    "Request",
    "arguments_of",
    "command_named",
    "list_commands",
    "no_replies",
    "reaching_broker",
    "remote_options",
    "request_words",
    "split_names",
    "the_request",
]

UNAVAILABLE = 69
"""Exit status (EX_UNAVAILABLE): nobody answered, or there is no broker."""
_TRUE = frozenset({"true", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "no", "n", "off", "0"})
_NO_BROKER = (
    "Could not connect to the message broker. Please make sure your broker (e.g., RabbitMQ or Redis) "
    "is running and the connection settings are correct. Reason: {}"
)

_F = TypeVar("_F", bound=Callable[..., Any])


class _UnavailableError(click.ClickException):
    exit_code = UNAVAILABLE


def no_replies() -> click.ClickException:
    """Return the error that ends the program when nobody answered."""
    return _UnavailableError("No nodes replied within time constraint")


@contextmanager
def reaching_broker() -> Iterator[None]:
    """Turn a broker out of reach into a line of text and its exit status."""
    try:
        yield
    except (OperationalError, OSError) as exc:
        raise _UnavailableError(_NO_BROKER.format(exc)) from exc


def split_names(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """Read a comma-separated list; `None` when nothing was given."""
    names = tuple(name.strip() for name in (value or "").split(",") if name.strip())
    return names or None


def remote_options(function: _F) -> _F:
    """Add ``-t``, ``-d`` and ``-j``."""
    for option in (
        click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON."),
        click.option(
            "-d", "--destination", callback=split_names, metavar="NODE,NODE",
            help="Only these nodes, by their full names.",
        ),
        click.option(
            "-t", "--timeout", type=float, metavar="S",
            help="Seconds to wait for another reply.  [default: 1]",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


def request_words(function: _F) -> _F:
    """Add the command, its arguments, ``--list``, and `remote_options`."""
    for parameter in (
        remote_options,
        click.option("--list", "only_list", is_flag=True, help="List the commands and exit."),
        click.argument("words", metavar="[ARGUMENTS]", nargs=-1),
        click.argument("name", metavar="COMMAND", required=False),
    ):
        function = parameter(function)
    return function


class Request(NamedTuple):
    """What somebody typed, understood."""

    info: CommandInfo
    arguments: dict[str, object]
    timeout_s: float


def the_request(
    ctx: click.Context,
    kind: str,
    *,
    name: str | None,
    words: Sequence[str],
    only_list: bool,
    timeout: float | None,
) -> Request | None:
    """Make a request of what was typed; None after ``--list``, which is printed here.

    Args:
        ctx: Of the command.
        kind: ``inspect`` or ``control``.
        name: The command.
        words: Its arguments.
        only_list: Whether the commands are to be listed.
        timeout: Seconds, or None for what the command takes by default.

    Raises:
        click.UsageError: There is no such command, or it does not take such arguments.
    """
    ctx.obj.app.loader.import_default_modules()
    if only_list:
        click.echo(list_commands(ctx, kind))
        return None
    if name is None:
        raise click.UsageError("Missing argument 'COMMAND'.", ctx)
    info = command_named(ctx, kind, name)
    arguments = arguments_of(ctx, info, words)
    return Request(info, arguments, info.default_timeout if timeout is None else timeout)


def list_commands(ctx: click.Context, kind: str) -> str:
    """Return the table of ``--list``."""
    formatter = ctx.make_formatter()
    rows = [
        (" ".join(filter(None, (info.name, info.signature))), info.help or "")
        for info in _commands(kind).values()
    ]
    with formatter.section(f"{kind.capitalize()} Commands"):
        formatter.write_dl(rows)
    return formatter.getvalue().rstrip("\n")


def _commands(kind: str) -> dict[str, CommandInfo]:
    from celeriac.worker.remote import Panel

    return {
        name: info
        for name, info in sorted(Panel.meta.items())
        if info.kind == kind and info.visible
    }


def command_named(ctx: click.Context, kind: str, name: str) -> CommandInfo:
    """Find a command, also one that the application registers.

    Raises:
        click.UsageError: There is none.
    """
    known = _commands(kind)
    if name not in known:
        raise click.UsageError(
            f"Command {name} not recognized. Available {kind} commands: {', '.join(known)}", ctx
        )
    return known[name]


def arguments_of(ctx: click.Context, info: CommandInfo, words: Sequence[str]) -> dict[str, object]:
    """Make a command's arguments of the words that follow it.

    Raises:
        click.UsageError: A word is not of the argument's type, or there are too many.
    """
    left = list(words)
    arguments: dict[str, object] = {}
    for name, kind in info.args or ():
        if name == info.variadic:
            break
        if not left:
            return arguments
        word = left.pop(0)
        try:
            arguments[name] = _as_flag(word) if kind is bool else kind(word) if kind else word
        except (ValueError, TypeError) as exc:
            raise click.UsageError(f"{info.name}: {name}: {exc}", ctx) from exc
    if info.variadic:
        arguments[info.variadic] = left
    elif left:
        raise click.UsageError(f"{info.name}: unexpected: {' '.join(left)}", ctx)
    return arguments


def _as_flag(word: str) -> bool:
    if word.lower() in _TRUE:
        return True
    if word.lower() in _FALSE:
        return False
    raise ValueError(f"expected true or false, got {word!r}")


class Printer:
    """Prints replies.

    Args:
        context: The global options.
        show_body: Print what was answered, not only by whom.
    """

    def __init__(self, context: Context, *, show_body: bool = True) -> None:
        self._show_body = show_body
        self._arrow = "" if context.quiet else "->"
        self._color = False if context.no_color else None
        self.count = 0
        """Replies printed."""

    def reply(self, replies: Mapping[str, Any]) -> None:
        """Print one reply: whose it is, and what it says."""
        for node, value in replies.items():
            self.count += 1
            status, text, indent = _read(value)
            colored = click.style(status, fg="green" if status == "OK" else "red")
            arrow = f"{self._arrow} " if self._arrow else ""
            click.echo(f"{arrow} {node}: {colored}", color=self._color)
            if self._show_body and text is not None:
                click.echo(_indented(text, indent))

    def total(self) -> None:
        """Print how many nodes replied."""
        nodes = "node" if self.count == 1 else "nodes"
        click.echo(f"\n{self.count} {nodes} online.")


def _read(value: Any) -> tuple[str, str, int]:
    """Return status, text and its indentation."""
    if isinstance(value, Mapping):
        if "error" in value:
            return "ERROR", str(value["error"]), 8
        if "ok" in value:
            return "OK", _pretty(value["ok"]), 8
    return "OK", _pretty(value), 4


def _pretty(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "\n".join(f"* {_line(item)}" for item in value) if value else "- empty -"
    if isinstance(value, Mapping):
        return json.dumps(value, sort_keys=True, indent=4, default=repr) + "\n"
    return str(value)


def _line(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _indented(text: str, width: int) -> str:
    pad = " " * width
    return "\n".join(pad + line for line in text.split("\n"))
