"""What drivers and workers of other implementations share: requests on standard input, lines in the journal.

It needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from celeriac_conformance.drivers import typed_values

__all__ = [
    "UnsupportedError",
    "described_result",
    "note",
    "queues_of_worker",
    "raised",
    "read_standard_input",
    "refuse_rich_values",
    "refuse_settings",
    "serve",
    "take",
]


class UnsupportedError(Exception):
    """The implementation does not offer what was asked."""


def _form(fields: dict[str, Any]) -> Any:
    raise UnsupportedError(f"no signatures: {fields['kind']}")


async def serve(
    commands: Mapping[str, Callable[[dict[str, Any]], Awaitable[Any]]],
    readline: Callable[[], Awaitable[bytes]],
    build_form: Callable[[dict[str, Any]], Any] = _form,
) -> None:
    """Answer one request line after the other, until there are no more.

    Args:
        commands: What the driver can do, by the name of the command.
        readline: Returns the next line of standard input, empty at its end.
        build_form: Makes a signature of a form.
    """
    # Answers go to a private copy of standard output; whatever else prints lands in the log with standard error.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    while True:
        line = await readline()
        if not line:
            return
        out.write(json.dumps(await _answer(json.loads(line), commands, build_form)) + "\n")
        out.flush()


async def _answer(
    request: dict[str, Any],
    commands: Mapping[str, Callable[[dict[str, Any]], Awaitable[Any]]],
    build_form: Callable[[dict[str, Any]], Any],
) -> dict[str, Any]:
    reply: dict[str, Any] = {"seq": request["seq"]}
    try:
        command = commands.get(request["cmd"])
        if command is None:
            raise UnsupportedError(f"the producer has no {request['cmd']}")
        reply["ok"] = typed_values.encode(await command(typed_values.decode(request, build_form)))
    except UnsupportedError as error:
        reply["unsupported"] = str(error)
    except Exception as error:  # noqa: BLE001 - whatever an implementation raises is the answer
        reply["errored"] = {
            "message": f"{type(error).__name__}: {error}",
            "exception": typed_values.describe_exception(error),
            # Places only: file, line and function.
            "traceback": "".join(
                f"  {frame.filename}:{frame.lineno} in {frame.name}\n"
                for frame in traceback.extract_tb(error.__traceback__)
            ),
        }
    return reply


def refuse_settings() -> None:
    """Refuse to start with settings that only Celery has.

    Raises:
        UnsupportedError: The case gave some.
    """
    settings = json.loads(os.environ.get("CONFORMANCE_SETTINGS", "{}"))
    if settings:
        raise UnsupportedError(f"the producer has no settings {', '.join(settings)}")


def take(fields: dict[str, Any], offered: Sequence[str]) -> dict[str, Any]:
    """Take the options of a call, given that the producer offers only some.

    Raises:
        UnsupportedError: One is not among `offered`.
    """
    options = dict(fields.get("options") or {})
    missing = sorted(set(options) - set(offered))
    if missing:
        raise UnsupportedError(f"the producer has no option {', '.join(missing)}")
    return options


def refuse_rich_values(*values: Any) -> None:
    """Refuse what JSON itself cannot say: Celery's JSON has more types than that.

    Raises:
        UnsupportedError: One of the values holds such a type.
    """
    try:
        json.dumps(values)
    except TypeError as error:
        raise UnsupportedError(f"the producer has only the values of JSON: {error}") from error


def described_result(task_id: str) -> dict[str, Any]:
    """Describe the result object of one task, as `send` answers."""
    return {"id": task_id, "kind": "task", "members": []}


def raised(document: Any) -> dict[str, Any]:
    """Turn a stored exception into a typed value, for a producer that hands out the document."""
    fields = document if isinstance(document, dict) else {}
    args = fields.get("exc_message", [])
    return {
        "__type": "exception",
        "value": {
            "type": fields.get("exc_type", ""),
            "module": fields.get("exc_module", ""),
            "args": list(args) if isinstance(args, (list, tuple)) else [args],
            "text": str(args),
        },
    }


def queues_of_worker(arguments: Sequence[str]) -> tuple[list[str], int]:
    """Return queues and concurrency from the command line of a Celery worker; the rest does not matter here."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-Q", dest="queues", default="celery")
    parser.add_argument("-c", dest="concurrency", type=int, default=2)
    chosen, _ = parser.parse_known_args(arguments)
    return chosen.queues.split(","), chosen.concurrency


def note(
    task: str, task_id: str, request: dict[str, Any], event: str = "run", /, **extra: Any
) -> None:
    """Write down that a task got here: one line, in a single write, so that processes never mix their lines.

    Args:
        task: Its name.
        task_id: Id of the call.
        request: What the implementation tells the task of its call; nothing it does not tell.
        event: ``run`` at the start of a run.
        extra: What the task itself has to say.
    """
    entry = {
        "event": event,
        "task": task,
        "id": task_id,
        "pid": os.getpid(),
        "time": time.time(),
        "request": typed_values.encode(request),
        "extra": typed_values.encode(extra),
    }
    handle = os.open(
        os.environ["CONFORMANCE_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644
    )
    try:
        os.write(handle, (json.dumps(entry) + "\n").encode("utf-8"))
    finally:
        os.close(handle)


async def read_standard_input() -> bytes:
    """Return the next line of standard input, without holding up the event loop."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, sys.stdin.buffer.readline)
