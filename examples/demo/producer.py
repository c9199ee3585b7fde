"""The producing side, run with the real Celery: sends every kind of call and prints one JSON line for each."""

import json
import sys
import time

import celery
from celery import chain, chord, group  # noqa: F401 - named in CALLS
from celery.result import GroupResult
from shop.celery import app
from shop.tasks import add, divide, greet, order, total  # noqa: F401 - named in CALLS

TIMEOUT_S = 30

CALLS = {
    "plain call": "add.delay(2, 3)",
    "keyword arguments": "greet.delay('Ada', greeting='Hello')",
    "failing task": "divide.delay(1, 0)",
    "retried task": "order.delay('tea', busy_times=2)",
    "countdown": "add.apply_async((1, 1), countdown=1.5)",
    "chain": "chain(add.s(2, 2), add.s(4), add.s(8))()",
    "group": "group(add.s(n, n) for n in range(4))()",
    "chord": "chord(add.s(n, n) for n in range(4))(total.s())",
}


def ids_of(result):
    """Return the ids of all tasks behind a result: chain steps before it, group members, chord parts."""
    ids = []
    while result is not None:
        if isinstance(result, GroupResult):
            for child in result.results:
                ids = ids_of(child) + ids
        else:
            ids = [result.id, *ids]
        result = result.parent
    return ids


def outcome(result):
    """Wait for a result of any shape; return its state and its value as text."""
    if isinstance(result, GroupResult):
        values = result.get(timeout=TIMEOUT_S, propagate=False)
        states = {child.state for child in result.results}
        return "/".join(sorted(states)), repr(values)
    value = result.get(timeout=TIMEOUT_S, propagate=False)
    return result.state, repr(value)


def main():
    hello = {"celery": celery.__version__, "python": sys.version.split()[0]}
    print(json.dumps(hello), flush=True)
    for name, call in CALLS.items():
        if name == "chord" and app.conf.result_backend.startswith("rpc:"):
            continue
        sent = time.time()
        result = eval(call)  # the texts above: what is shown is what is run
        try:
            state, value = outcome(result)
        except Exception as exc:  # noqa: BLE001 - whatever went wrong is a row of the table
            state, value = "no result", repr(exc)
        row = {
            "name": name,
            "call": call,
            "sent": sent,
            "state": state,
            "result": value,
            "ids": ids_of(result),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
