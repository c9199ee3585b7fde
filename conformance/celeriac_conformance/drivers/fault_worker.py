"""Our worker with exactly one thing wrong: it shows that the suite notices.

``python -m celeriac_conformance.drivers.fault_worker FAULT -A … worker …`` starts the real worker with one behaviour
replaced. Everything else is right, so a case that fails in such a cell names the fault; toy workers, which do little,
are in `celeriac_conformance.faults`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from celeriac.__main__ import main as run_worker
from celeriac.app import trace
from celeriac.backends import redis as redis_backend
from celeriac.backends import redis_chords
from celeriac.canvas import Signature
from celeriac.worker import delivery, execute, heart, intake, loop
from celeriac.worker.remote import Panel
from celeriac_protocol import task as wire

__all__ = ["FAULTS", "Fault", "main"]

Make = Callable[[Any], Any]


@dataclass(frozen=True)
class Fault:
    """One thing a worker does wrong."""

    summary: str
    install: Callable[[], None]
    """Replaces the right behaviour in this process; its children inherit that."""


FAULTS: dict[str, Fault] = {"none": Fault("nothing is wrong", lambda: None)}


def _add(name: str, summary: str, owner: Any, attribute: str, make: Make) -> None:
    """List a fault: what `make` returns for the right function takes its place."""

    def install() -> None:
        setattr(owner, attribute, make(getattr(owner, attribute)))

    FAULTS[name] = Fault(summary, install)


def _add_request(name: str, summary: str, **wrong: Callable[[Any], Any]) -> None:
    """List a fault of what a task is told of its message: field → makes the wrong value of the right one."""

    def make(right: Callable[..., Any]) -> Callable[..., Any]:
        def context(*args: Any, **kwargs: Any) -> Any:
            made = right(*args, **kwargs)
            made.update({field: change(made.get(field)) for field, change in wrong.items()})
            return made

        return context

    _add(name, summary, execute.Executor, "context", make)


def _add_headers(name: str, summary: str, **wrong: Any) -> None:
    """List a fault of what the parent process reads of a message."""

    def make(right: Callable[..., Any]) -> Callable[..., Any]:
        def read_headers(*args: Any, **kwargs: Any) -> Any:
            read = right(*args, **kwargs)
            return read if read is None else dataclasses.replace(read, **wrong)

        return read_headers

    _add(name, summary, wire, "read_headers", make)


def _nothing(right: object) -> None:
    return None


def _do_nothing(right: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: None


# What a task is told


_add_request("drops-parent-id", "tells tasks nothing of their parent", parent_id=_nothing)
_add_request("drops-root-id", "tells tasks nothing of their root", root_id=_nothing)
_add_request("loses-group-id", "forgets of which group a task is a member", group=_nothing)
_add_request("loses-group-index", "forgets the place in the group", group_index=_nothing)
_add_request("miscounts-retries", "counts retries from one", retries=lambda right: right + 1)
_add_request("drops-headers", "tells tasks nothing of the caller's headers", headers=_nothing)
_add_request("drops-stamps", "loses stamps", stamps=_nothing, stamped_headers=_nothing)
_add_request("stores-ignored", "stores results nobody wants", ignore_result=lambda right: False)

# What follows a task


_add_request("ignores-link", "never calls callbacks", callbacks=_nothing)
_add_request("ignores-link-error", "never calls errbacks", errbacks=_nothing)
_add_request("drops-rest-of-chain", "ends chains after one step", chain=_nothing)
_add(
    "never-completes-chords",
    "counts parts of chords, but sends no body",
    redis_chords.RedisChords,
    "add_part",
    _do_nothing,
)
_add(
    "ignores-immutable",
    "gives immutable signatures the result before",
    Signature,
    "immutable",
    lambda right: property(lambda self: False),
)

# When a task runs, and when its message is settled


_add_headers("ignores-eta", "runs calls for later at once", eta_at=None)
_add_headers("loses-expires", "runs calls that have expired", expires_at=None)


def _acks_early(right: Callable[..., Any]) -> Callable[..., Any]:
    return lambda task: dataclasses.replace(right(task), acks_late=False)


def _swapped(right: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self: tuple(reversed(right(self)))


def _no_requeue(right: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, request, action: right(
        self, request, dataclasses.replace(action, requeue=False)
    )


_add("acks-early", "acknowledges late tasks early", delivery, "policy_of", _acks_early)
_add("swaps-limits", "takes hard limits for soft ones", delivery.Request, "limits", _swapped)
_add("never-acks", "acknowledges nothing", loop.Loop, "_ack", _do_nothing)
_add("discards-requeued", "throws away what is to come again", loop.Loop, "_reject", _no_requeue)


def _twice(right: Callable[..., Any]) -> Callable[..., Any]:
    def build_tracer(*args: Any, **kwargs: Any) -> Callable[..., Any]:
        tracer: Callable[..., Any] = right(*args, **kwargs)

        def run(*call: Any) -> Any:
            tracer(*call)
            return tracer(*call)

        return run

    return build_tracer


_add("runs-twice", "runs every call twice", trace, "build_tracer", _twice)


def _dies_of_unicode(right: Callable[..., Any]) -> Callable[..., Any]:
    def read_delivery(given: Any, *args: Any) -> Any:
        if not str(given.message.headers.get("argsrepr")).isascii():
            os._exit(1)
        return right(given, *args)

    return read_delivery


_add("dies-of-unicode", "ends when a text is not ASCII", loop, "read_delivery", _dies_of_unicode)

# How a task ended


def _wrapped_value(right: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, retval, started: right(self, [retval], started)


def _success_instead(right: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, exc, runtime: self.succeeded(None, 0.0)


def _forget_publish() -> None:
    script = redis_backend._STORE.replace("redis.call('PUBLISH', KEYS[1], ARGV[1])", "")
    redis_backend._STORE = script
    # Servers run what they know by this name.
    redis_backend._STORE_SHA = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _without_traceback(right: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, status, result, traceback=None: right(self, status, result)


_add(
    "wrong-value", "stores another value than was returned", trace._Run, "succeeded", _wrapped_value
)
_add("swallows-failures", "reports failures as successes", trace._Run, "failed", _success_instead)
_add(
    "stores-for-ever",
    "stores results without an end of life",
    redis_backend.RedisBackend,
    "ttl_s",
    _do_nothing,
)
FAULTS["forgets-publish"] = Fault("stores results and announces none", _forget_publish)

# Monitoring and control


def _ping(right: dict[str, Any]) -> dict[str, Any]:
    return {**right, "ping": lambda state, **arguments: "pong"}


def _unrevoked(right: Callable[..., Any]) -> Callable[..., Any]:
    return lambda headers, **given: right(headers, **{**given, "revoked": ()})


_add("misshapes-ping", "answers a ping with a bare text", Panel, "data", _ping)
_add("no-heartbeats", "sends no heartbeat events", heart.Heart, "beat_when_due", _do_nothing)
_add("ignores-revokes", "says that it revokes, and runs the task", intake, "decide", _unrevoked)


def main(arguments: Sequence[str] | None = None) -> None:
    """Start the worker with the fault named first."""
    name, *rest = sys.argv[1:] if arguments is None else arguments
    FAULTS[name].install()
    run_worker(rest)


if __name__ == "__main__":
    main()
