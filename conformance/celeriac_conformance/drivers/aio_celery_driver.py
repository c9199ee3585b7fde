"""aio-celery as a producer, driven over JSON lines: written from its README and public signatures.

It offers plain calls over RabbitMQ with results in Redis, and chains of them. No links, groups, chords, events or
remote control; a result shows its state and value, and nothing else.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import platform
import time
from typing import Any

from aio_celery import Celery, chain, signature  # type: ignore[import-not-found]

from celeriac_conformance.drivers import foreign

app: Any = Celery()
app.conf.update(
    broker_url=os.environ["CONFORMANCE_BROKER_URL"],
    result_backend=os.environ["CONFORMANCE_RESULT_BACKEND"],
)
_OPTIONS = {"countdown", "task_id", "priority", "queue", "expires"}
_POLL_S = 0.05


def build_form(fields: dict[str, Any]) -> Any:
    """Make a signature or a chain."""
    if fields.get("link") or fields.get("link_error") or fields.get("stamps"):
        raise foreign.UnsupportedError("the producer has no links and stamps")
    if fields["kind"] == "chain":
        return chain(*fields["tasks"])
    if fields["kind"] != "call" or fields.get("immutable"):
        raise foreign.UnsupportedError("the producer has only calls and chains")
    made = signature(fields["task"], tuple(fields.get("args") or ()), dict(fields["kwargs"]))
    return made.set(**_options(fields))


def _options(fields: dict[str, Any]) -> dict[str, Any]:
    options = foreign.take(fields, sorted(_OPTIONS))
    if "expires" in options:
        options["expiration"] = options.pop("expires")
    return options


async def start(fields: dict[str, Any]) -> dict[str, Any]:
    """Say what runs."""
    foreign.refuse_settings()
    versions = {
        name: importlib.metadata.version(name) for name in ("aio-celery", "aio-pika", "redis")
    }
    return {"pid": os.getpid(), "versions": {**versions, "python": platform.python_version()}}


async def send(fields: dict[str, Any]) -> dict[str, Any]:
    """Send one task or a chain."""
    options = _options(fields)
    foreign.refuse_rich_values(fields.get("args"), fields.get("kwargs"))
    if fields.get("form") is not None:
        result = await fields["form"].apply_async(**options)
    else:
        result = await app.send_task(
            fields["task"],
            args=tuple(fields.get("args") or ()),
            kwargs=dict(fields.get("kwargs") or {}),
            **options,
        )
    return foreign.described_result(result.id)


async def wait(fields: dict[str, Any]) -> dict[str, Any]:
    """Wait for a result until it is there, or for as long as the case says."""
    answer: dict[str, Any] = {"id": fields["id"], "timed_out": False, "value": None, "raised": None}
    deadline = time.monotonic() + fields["timeout"]
    # A result object keeps the first state it sees: each look takes a new one.
    while (state := await app.AsyncResult(fields["id"]).state) not in (
        "SUCCESS",
        "FAILURE",
        "REVOKED",
    ):
        if time.monotonic() > deadline:
            answer["timed_out"] = True
            break
        await asyncio.sleep(_POLL_S)
    if state == "SUCCESS":
        answer["value"] = await app.AsyncResult(fields["id"]).get(timeout=fields["timeout"])
    elif not answer["timed_out"]:
        answer["raised"] = foreign.raised(await app.AsyncResult(fields["id"]).result)
    answer["document"] = {"state": state, "result": answer["value"]}
    return answer


async def main() -> None:
    """Serve requests until standard input ends."""
    async with app.setup():
        await foreign.serve(
            {"start": start, "send": send, "wait": wait}, foreign.read_standard_input, build_form
        )


if __name__ == "__main__":
    asyncio.run(main())
