"""Words become arguments and replies become text as in Celery's programs."""

from __future__ import annotations

from typing import Any

import click
import pytest

from celeriac.cli.main import Context
from celeriac.cli.remote import Printer, arguments_of, command_named

ARGUMENTS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("inspect", "conf", "yes", {"with_defaults": True}),
    ("inspect", "query_task", "a b", {"ids": ["a", "b"]}),
    ("inspect", "registered", "", {"taskinfoitems": []}),
    ("control", "time_limit", "t 1 2.5", {"task_name": "t", "soft": 1.0, "hard": 2.5}),
    ("control", "pool_grow", "", {}),
    ("control", "autoscale", "3 1", {"max": 3, "min": 1}),
    ("control", "terminate", "KILL a b", {"signal": "KILL", "task_id": ["a", "b"]}),
]
REPLIES: list[tuple[Any, str]] = [
    ({"ok": "pong"}, "->  n: OK\n        pong\n"),
    ({"error": "unknown task"}, "->  n: ERROR\n        unknown task\n"),
    ([], "->  n: OK\n    - empty -\n"),
    (["a", "b"], "->  n: OK\n    * a\n    * b\n"),
    ({"clock": 3}, '->  n: OK\n    {\n        "clock": 3\n    }\n    \n'),
    (None, "->  n: OK\n    None\n"),
]
"""As Celery 5.7 was seen to print them."""


@pytest.fixture
def ctx() -> click.Context:
    return click.Context(click.Command("inspect"))


@pytest.mark.parametrize(("kind", "name", "words", "expected"), ARGUMENTS)
def test_words_become_arguments_of_the_right_type(
    ctx: click.Context, kind: str, name: str, words: str, expected: dict[str, Any]
) -> None:
    assert arguments_of(ctx, command_named(ctx, kind, name), words.split()) == expected


@pytest.mark.parametrize(("name", "words"), [("pool_grow", "many"), ("pool_grow", "1 2")])
def test_a_word_that_does_not_fit_is_a_usage_error(
    ctx: click.Context, name: str, words: str
) -> None:
    with pytest.raises(click.UsageError):
        arguments_of(ctx, command_named(ctx, "control", name), words.split())


def test_hidden_and_unknown_commands_are_refused(ctx: click.Context) -> None:
    for name in ("hello", "no_such", "dump_active"):
        with pytest.raises(click.UsageError, match="not recognized"):
            command_named(ctx, "inspect", name)


@pytest.mark.parametrize(("value", "text"), REPLIES)
def test_a_reply_is_printed_under_the_name_of_its_node(
    capsys: pytest.CaptureFixture[str], value: Any, text: str
) -> None:
    printer = Printer(Context(None, quiet=False, no_color=True))  # type: ignore[arg-type]
    printer.reply({"n": value})
    assert capsys.readouterr().out == text
    printer.total()
    assert capsys.readouterr().out == "\n1 node online.\n"
