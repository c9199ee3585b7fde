"""faststream-celery as a producer, driven over JSON lines: written from its README and public signatures.

It offers plain calls with countdown, eta, expiry, links and errbacks. A result comes as the answer to a request, so
every call is one. It can send chains, but gets no handle of their end. No groups, chords, events or remote control.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import platform
import uuid
from typing import Any

from faststream_celery import CeleryBroker, CeleryTask, signature  # type: ignore[import-not-found]

from celeriac_conformance.drivers import foreign

broker: Any = CeleryBroker(
    os.environ["CONFORMANCE_BROKER_URL"], result_backend=os.environ["CONFORMANCE_RESULT_BACKEND"]
)
_LIMIT_S = 120.0
_OPTIONS = ("countdown", "eta", "expires", "link", "link_error", "task_id", "queue", "headers")
_waiting: dict[str, asyncio.Task[Any]] = {}


def build_form(fields: dict[str, Any]) -> Any:
    """Make a signature."""
    if fields.get("link") or fields.get("link_error") or fields.get("stamps"):
        raise foreign.UnsupportedError("the producer's signatures have no links and stamps")
    if fields["kind"] == "chain":
        raise foreign.UnsupportedError("the producer cannot wait for the last step of a chain")
    if fields["kind"] != "call":
        raise foreign.UnsupportedError("the producer has only calls and chains")
    return signature(
        fields["task"],
        args=tuple(fields.get("args") or ()),
        kwargs=dict(fields.get("kwargs") or {}),
        options=foreign.take(fields, ("queue",)),
        immutable=bool(fields.get("immutable")),
    )


async def start(fields: dict[str, Any]) -> dict[str, Any]:
    """Say what runs."""
    foreign.refuse_settings()
    names = ("faststream-celery", "faststream", "kombu", "redis")
    versions = {name: importlib.metadata.version(name) for name in names}
    return {"pid": os.getpid(), "versions": {**versions, "python": platform.python_version()}}


async def send(fields: dict[str, Any]) -> dict[str, Any]:
    """Send one task."""
    options = foreign.take(fields, _OPTIONS)
    task_id = options.pop("task_id", None) or str(uuid.uuid4())
    queue, headers = options.pop("queue", "celery"), options.pop("headers", None)
    form = fields.get("form")
    foreign.refuse_rich_values(fields.get("args"), fields.get("kwargs"))
    if form is not None:
        task = CeleryTask(form["task"], args=form["args"], kwargs=form["kwargs"], **options)
    else:
        args, kwargs = fields.get("args") or (), fields.get("kwargs") or {}
        task = CeleryTask(fields["task"], args=list(args), kwargs=dict(kwargs), **options)
    asking = broker.request(
        task, queue=queue, correlation_id=task_id, headers=headers, timeout=_LIMIT_S
    )
    _waiting[task_id] = asyncio.ensure_future(asking)
    # Two turns of the loop: a call that cannot be sent has failed by then.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if _waiting[task_id].done():
        _waiting[task_id].result()
    return foreign.described_result(task_id)


async def wait(fields: dict[str, Any]) -> dict[str, Any]:
    """Wait for the answer to a request."""
    if fields["id"] not in _waiting:
        raise foreign.UnsupportedError("the producer cannot wait for a call that it did not send")
    answer: dict[str, Any] = {"id": fields["id"], "timed_out": False, "value": None, "raised": None}
    done, _ = await asyncio.wait([_waiting[fields["id"]]], timeout=fields["timeout"])
    if not done:
        return {**answer, "timed_out": True, "document": {"state": None}}
    found = await _waiting[fields["id"]].result().decode()
    if found["status"] not in ("SUCCESS", "FAILURE", "REVOKED"):
        # Whether a request meets such a state first is a matter of timing: no verdict can stand on it.
        raise foreign.UnsupportedError(
            f"the producer's request takes any first state for its answer, here {found['status']}"
        )
    if found["status"] == "SUCCESS":
        answer["value"] = found["result"]
    else:
        answer["raised"] = foreign.raised(found["result"])
    answer["document"] = {
        "state": found["status"],
        **{name: found.get(name) for name in ("result", "traceback")},
    }
    return answer


async def main() -> None:
    """Serve requests until standard input ends."""
    await broker.start()
    try:
        await foreign.serve(
            {"start": start, "send": send, "wait": wait}, foreign.read_standard_input, build_form
        )
    finally:
        for asking in _waiting.values():
            asking.cancel()
        await broker.stop()


if __name__ == "__main__":
    asyncio.run(main())
