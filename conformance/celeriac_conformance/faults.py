"""Toy workers with one deliberate fault each: they show that the suite notices.

``python -m celeriac_conformance.faults --fault NAME -A … worker -Q …`` serves a handful of tasks from Redis, and does
one thing wrong. Without a fault it is right as far as it goes: protocol 2, JSON, no eta, no retries, no canvas.
"""

from __future__ import annotations

import argparse
import base64
import datetime
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import redis

__all__ = ["FAULTS", "ToyWorker", "main"]

FAULTS = {
    "none": "nothing is wrong",
    "wrong-value": "stores another value than the function returned",
    "drops-root-id": "tells tasks nothing of the root of their call",
    "runs-twice": "runs every call twice",
    "stores-ignored": "stores results nobody wants",
    "stores-for-ever": "stores results without an end of life",
    "dies-of-unicode": "ends when a text is not ASCII",
    "swallows-failures": "reports a failure as a success",
}

_TASKS: dict[str, Callable[..., Any]] = {
    "add": lambda x, y: x + y,
    "ignored": lambda value: value,
    "echo_all": lambda *args, **kwargs: {"args": list(args), "kwargs": kwargs},
}
_EXCEPTIONS: dict[str, type[Exception]] = {"ValueError": ValueError, "KeyError": KeyError}


class ToyWorker:
    """Serves queues in one thread.

    Args:
        fault: Name of what it does wrong.
        queues: Redis lists to serve, the first one first.
    """

    def __init__(self, fault: str, queues: Sequence[str]) -> None:
        self.fault = fault
        self.queues = list(queues)
        self.broker: Any = redis.Redis.from_url(os.environ["CONFORMANCE_BROKER_URL"])
        self.results: Any = redis.Redis.from_url(os.environ["CONFORMANCE_RESULT_BACKEND"])

    def serve(self) -> None:
        """Take one message after the other, for ever."""
        while True:
            found = self.broker.brpop(self.queues, timeout=1)
            if found is not None:
                self.handle(json.loads(found[1]))

    def handle(self, envelope: dict[str, Any]) -> None:
        """Run one call and store how it ended."""
        headers = envelope["headers"]
        args, kwargs, _ = json.loads(base64.b64decode(envelope["body"]))
        request = {**headers, "correlation_id": headers["id"], "args": args, "kwargs": kwargs}
        if (
            self.fault == "dies-of-unicode"
            and not json.dumps([args, kwargs], ensure_ascii=False).isascii()
        ):
            sys.exit(1)
        if self.fault == "drops-root-id":
            request["root_id"] = None
        for _ in range(2 if self.fault == "runs-twice" else 1):
            self.run(headers, request)

    def run(self, headers: dict[str, Any], request: dict[str, Any]) -> None:
        """Run a call once."""
        self.note(headers, request)
        status, result, trace = self.call(headers["task"], request)
        wanted = not headers["ignore_result"]
        if wanted or self.fault == "stores-ignored":
            self.store(headers["id"], status, result, trace)

    def call(self, task: str, request: dict[str, Any]) -> tuple[str, Any, str | None]:
        """Return state, result and traceback of one run."""
        if task == "request_dump":
            return "SUCCESS", {**request, "is_eager": False, "called_directly": False}, None
        if task == "fail":
            kind, *args = request["args"]
            assert kind in _EXCEPTIONS
            if self.fault == "swallows-failures":
                return "SUCCESS", None, None
            trace = f'Traceback (most recent call last):\n  File "toy", line 1, in fail\n{kind}: {tuple(args)}\n'
            return (
                "FAILURE",
                {"exc_type": kind, "exc_message": args, "exc_module": "builtins"},
                trace,
            )
        value = _TASKS[task](*request["args"], **request["kwargs"])
        return "SUCCESS", [value] if self.fault == "wrong-value" else value, None

    def note(self, headers: dict[str, Any], request: dict[str, Any]) -> None:
        """Write the journal line of a run."""
        entry = {
            "event": "run",
            "task": headers["task"],
            "pid": os.getpid(),
            "time": time.time(),
            "id": headers["id"],
            "request": request,
            "extra": {},
        }
        with open(os.environ["CONFORMANCE_JOURNAL"], "a", encoding="utf-8") as journal:  # noqa: PTH123
            journal.write(json.dumps(entry) + "\n")

    def store(self, task_id: str, status: str, result: Any, trace: str | None) -> None:
        """Store and announce a result document."""
        document = json.dumps(
            {
                "status": status,
                "result": result,
                "traceback": trace,
                "children": [],
                "date_done": datetime.datetime.now(datetime.UTC).isoformat(),
                "task_id": task_id,
            }
        )
        key = f"celery-task-meta-{task_id}"
        self.results.set(key, document, ex=None if self.fault == "stores-for-ever" else 86400)
        self.results.publish(key, document)


def main(arguments: Sequence[str] | None = None) -> int:
    """Start a toy worker from the command line of a real one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fault", choices=sorted(FAULTS), default="none")
    parser.add_argument("-Q", "--queues", default="celery")
    chosen, _ = parser.parse_known_args(arguments)
    ToyWorker(chosen.fault, chosen.queues.split(",")).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
