"""The one task module of the conformance suite: real Celery and Celeriac both load this file, on both sides.

Everything that varies comes from the environment:

* ``CONFORMANCE_LIBRARY``: ``celery`` (default) or ``celeriac``, the package to import the app from;
* ``CONFORMANCE_BROKER_URL``, ``CONFORMANCE_RESULT_BACKEND``: where to connect;
* ``CONFORMANCE_SETTINGS``: JSON object laid over the settings below; ``conformance_broadcast`` in it makes queues, and
  ``security_key`` has messages signed;
* ``CONFORMANCE_JOURNAL``: file that every run appends one JSON line to.

Cases vary data, not tasks. Runs on Python 3.7 with nothing but the library under test and kombu, which both bring.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators

import importlib
import json
import os
import signal
import sys
import time

from kombu.common import Broadcast
from kombu.entity import Queue

from celeriac_conformance.drivers import typed_values

library = importlib.import_module(os.environ.get("CONFORMANCE_LIBRARY", "celery"))
exceptions = importlib.import_module(library.__name__ + ".exceptions")

app = library.Celery(
    "conformance",
    broker=os.environ.get("CONFORMANCE_BROKER_URL"),
    backend=os.environ.get("CONFORMANCE_RESULT_BACKEND"),
)
app.conf.update(
    accept_content=["json", "pickle", "yaml", "msgpack"],
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=True,
)
_SETTINGS = json.loads(os.environ.get("CONFORMANCE_SETTINGS", "{}"))
_BROADCAST = _SETTINGS.pop("conformance_broadcast", None)
app.conf.update(_SETTINGS)
if _BROADCAST:
    # The one kind of queue that no plain setting describes.
    app.conf.task_queues = [
        Queue("celery"),
        Queue(_BROADCAST["queue"], routing_key=_BROADCAST["queue"]),
        Broadcast(_BROADCAST["name"]),
    ]
if _SETTINGS.get("security_key"):
    app.setup_security(allowed_serializers=["json"])

_JOURNAL = os.environ.get("CONFORMANCE_JOURNAL")
_REQUEST_FIELDS = (
    "id",
    "root_id",
    "parent_id",
    "group",
    "group_index",
    "retries",
    "eta",
    "expires",
    "timelimit",
    "correlation_id",
    "reply_to",
    "hostname",
    "delivery_info",
    "headers",
    "shadow",
    "ignore_result",
    "lang",
    "origin",
    "argsrepr",
    "kwargsrepr",
    "args",
    "kwargs",
    "utc",
    "is_eager",
    "called_directly",
    "callbacks",
    "errbacks",
    "chain",
    "chord",
    "replaced_task_nesting",
    "stamped_headers",
    "stamps",
    "task",
)


class BrokenError(Exception):
    """A plain exception of this module."""


class Outer:
    """Holds a nested exception class."""

    class InnerError(BrokenError):
        """Its qualified name has a dot."""


class PickyError(Exception):
    """Cannot be rebuilt from its own `args`."""

    def __init__(self, first, second):
        super().__init__("{0}/{1}".format(first, second))


_RAISABLE = {cls.__qualname__: cls for cls in (BrokenError, Outer.InnerError, PickyError)}


def append(entry):
    """Append one line to the journal: a single write, so that processes never mix their lines."""
    if _JOURNAL is None:
        return
    line = (json.dumps(entry) + "\n").encode("utf-8")
    handle = os.open(_JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, line)
    finally:
        os.close(handle)


def dump_request(request):
    """Take the fields of a request that a case may look at."""
    return {name: typed_values.encode(getattr(request, name, None)) for name in _REQUEST_FIELDS}


def note(event="run", **extra):
    """Write down that the running task got here."""
    task = library.current_task
    entry = {"event": event, "task": task.name, "pid": os.getpid(), "time": time.time()}
    entry["request"] = dump_request(task.request)
    entry["id"] = task.request.id
    entry["extra"] = typed_values.encode(extra)
    append(entry)


def pause(seconds):
    """Sleep in short steps, so that time limits and signals get a chance on every platform."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.02)


# Plain calls


@app.task(name="add")
def add(x, y):
    note()
    return x + y


@app.task(name="mul")
def mul(x, y):
    note()
    return x * y


@app.task(name="xsum")
def xsum(numbers):
    note(numbers=numbers)
    return sum(numbers)


@app.task(name="noop", ignore_result=True)
def noop():
    pass


@app.task(name="echo")
def echo(value):
    note()
    return value


@app.task(name="echo_all")
def echo_all(*args, **kwargs):
    note()
    return {"args": list(args), "kwargs": kwargs}


@app.task(name="describe")
def describe(value):
    """Return the value as this worker understood it, as a typed value."""
    note()
    return typed_values.encode(value)


@app.task(name="keyword_only")
def keyword_only(*, a, b=2):
    note()
    return [a, b]


@app.task(name="measure")
def measure(value):
    note()
    return len(value)


@app.task(name="make_text")
def make_text(length):
    note()
    return "x" * length


@app.task(name="request_dump", bind=True)
def request_dump(self):
    note()
    return dump_request(self.request)


@app.task(name="collect")
def collect(*args, **kwargs):
    """Target of links: what it was given is in the journal and in its result."""
    note(args=list(args), kwargs=kwargs)
    return list(args)


@app.task(name="add_later_value")
def add_later_value(value, extra=0, **kwargs):
    note()
    return value + extra


# Settings of the task itself


@app.task(name="ignored", ignore_result=True)
def ignored(value):
    note()
    return value


@app.task(name="tracked", track_started=True)
def tracked(value):
    note()
    return value


@app.task(name="progress", bind=True)
def progress(self, steps):
    note()
    for step in range(steps):
        self.update_state(state="PROGRESS", meta={"step": step})
    return steps


@app.task(name="announce", bind=True)
def announce(self, path):
    """Report a state of its own, then run until the file `path` exists."""
    self.update_state(state="HALFWAY", meta={"percent": 50})
    return wait_at_gate(path)


# Time and acknowledgement


@app.task(name="sleep")
def sleep(seconds):
    note()
    pause(seconds)
    return seconds


def wait_at_gate(path):
    note()
    end = time.monotonic() + 60
    while not os.path.exists(path):
        if time.monotonic() > end:
            raise RuntimeError("nobody opened " + path)
        time.sleep(0.02)
    note("end")
    return "through"


@app.task(name="gate")
def gate(path):
    """Run until the file `path` exists."""
    return wait_at_gate(path)


@app.task(name="gate_late", acks_late=True)
def gate_late(path):
    """The same, acknowledged after the run."""
    return wait_at_gate(path)


@app.task(name="fail_late", acks_late=True)
def fail_late(text):
    note()
    raise BrokenError(text)


@app.task(name="reject", bind=True, acks_late=True)
def reject(self, reason):
    note()
    raise exceptions.Reject(reason, requeue=False)


@app.task(name="requeue_once", bind=True, acks_late=True)
def requeue_once(self, marker):
    """Ask for another delivery once; `marker` tells whether that was, since not every old broker library does."""
    note()
    if not os.path.exists(marker):
        with open(marker, "w"):
            pass
        raise exceptions.Reject("once more", requeue=True)
    return "second delivery"


@app.task(name="ignore")
def ignore():
    note()
    raise exceptions.Ignore()


@app.task(name="killed")
def killed(number=int(signal.SIGKILL)):
    """Take the process down with it."""
    note()
    os.kill(os.getpid(), number)
    pause(10)


@app.task(name="killed_once", bind=True, acks_late=True, reject_on_worker_lost=True)
def killed_once(self, marker):
    """Die on the first delivery, return on the second; `marker` tells which it is."""
    note()
    if not os.path.exists(marker):
        with open(marker, "w"):
            pass
        os.kill(os.getpid(), signal.SIGKILL)
        pause(10)
    return "survived"


@app.task(name="leave")
def leave(status):
    note()
    sys.exit(status)


# Limits


@app.task(name="late_sleep", acks_late=True)
def late_sleep(seconds):
    note()
    pause(seconds)
    note("end")
    return seconds


@app.task(name="soft_caught")
def soft_caught(seconds):
    """Return in time what the soft limit interrupted."""
    note()
    try:
        pause(seconds)
    except exceptions.SoftTimeLimitExceeded:
        note("warned")
        return "cleaned up"
    return "not interrupted"


@app.task(name="stubborn")
def stubborn(seconds):
    """Hear the soft limit and go on all the same."""
    note()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            pause(end - time.monotonic())
        except exceptions.SoftTimeLimitExceeded:
            note("warned")
    return "not stopped"


@app.task(name="limited_by_itself", time_limit=1)
def limited_by_itself(seconds):
    note()
    pause(seconds)
    return seconds


# Failures


@app.task(name="fail")
def fail(kind, *args):
    """Raise an exception of this module or of builtins."""
    note()
    cls = _RAISABLE.get(kind) or getattr(importlib.import_module("builtins"), kind)
    raise cls(*args)


@app.task(name="fail_with_object")
def fail_with_object():
    """Raise with an argument no serializer can carry."""
    note()
    raise BrokenError("text", object)


@app.task(name="return_object")
def return_object():
    """Return what no serializer can carry."""
    note()
    return object()


@app.task(name="fail_expected", throws=(BrokenError,))
def fail_expected(text):
    note()
    raise BrokenError(text)


# Retries


@app.task(name="retry_n", bind=True)
def retry_n(self, times, countdown=0.3):
    """Retry some times; with a pause, or Celery stores the last attempt's result before this one's RETRY."""
    note()
    if self.request.retries < times:
        raise self.retry(countdown=countdown, max_retries=times)
    return self.request.retries


@app.task(name="retry_because", bind=True)
def retry_because(self, times, text, countdown=0):
    note()
    try:
        raise BrokenError(text)
    except BrokenError as error:
        if self.request.retries < times:
            raise self.retry(exc=error, countdown=countdown) from error
    return self.request.retries


@app.task(name="retry_exhausted", bind=True)
def retry_exhausted(self, max_retries, text=None):
    note()
    raise self.retry(
        exc=None if text is None else BrokenError(text), countdown=0, max_retries=max_retries
    )


@app.task(name="retry_with", bind=True)
def retry_with(self, value):
    """Retry once with other arguments."""
    note()
    if self.request.retries == 0:
        raise self.retry(args=(value * 2,), countdown=0)
    return value


@app.task(
    name="autoretry",
    bind=True,
    autoretry_for=(ConnectionError,),
    retry_kwargs={"max_retries": 2, "countdown": 0},
)
def autoretry(self, succeed_at):
    note()
    if self.request.retries < succeed_at:
        raise ConnectionError("attempt {0}".format(self.request.retries))
    return self.request.retries


# Links


@app.task(name="errback_old")
def errback_old(task_id):
    note(task_id=task_id)


@app.task(name="errback_bound", bind=True)
def errback_bound(self, task_id):
    note(task_id=task_id)


@app.task(name="errback_new")
def errback_new(request, error, trace):
    """Called in place, so outside any task run of its own."""
    append(
        {
            "event": "errback",
            "task": "errback_new",
            "pid": os.getpid(),
            "time": time.time(),
            "id": request.id,
            "request": dump_request(request),
            "extra": typed_values.encode(
                {"error": error, "trace": trace if trace is None else str(trace)}
            ),
        }
    )


# Calls from inside a task


@app.task(name="spawn", bind=True)
def spawn(self, count):
    note()
    return [add.delay(number, 0).id for number in range(count)]


@app.task(name="spawn_group", bind=True)
def spawn_group(self, count):
    note()
    return library.group([add.s(number, 0) for number in range(count)]).apply_async().id


@app.task(name="replace_with_add", bind=True)
def replace_with_add(self, x, y):
    note()
    raise self.replace(add.s(x, y))


@app.task(name="replace_with_chain", bind=True)
def replace_with_chain(self, x, y, z):
    note()
    raise self.replace(library.chain(add.s(x, y), add.s(z)))


@app.task(name="replace_with_group", bind=True)
def replace_with_group(self, numbers):
    note()
    raise self.replace(library.group([add.s(number, 0) for number in numbers]))


@app.task(name="replace_with_chord", bind=True)
def replace_with_chord(self, numbers):
    note()
    raise self.replace(library.chord([add.s(number, 0) for number in numbers], xsum.s()))


@app.task(name="replace_twice", bind=True)
def replace_twice(self, x, y):
    """Be replaced by a task that is replaced itself."""
    note()
    raise self.replace(replace_with_add.s(x, y))


@app.task(name="replace_with_fail", bind=True)
def replace_with_fail(self, text):
    note()
    raise self.replace(fail.s("ValueError", text))


@app.task(name="enlarge_chord", bind=True)
def enlarge_chord(self, x, y):
    """Add one more part to the chord this task is a part of."""
    note()
    self.add_to_chord(add.s(x, y))
    return 0


# Remote-control commands of the application's own


def add_commands():
    """Register two: one that looks, one that fails."""
    homes = {"celeriac": "celeriac.worker.remote"}
    home = homes.get(library.__name__, library.__name__ + ".worker.control")
    commands = importlib.import_module(home)

    @commands.inspect_command(name="conformance_look", args=[("n", int)], signature="[n=1]")
    def look(state, n=1, **kwargs):
        """Return what the worker is."""
        return {"main": state.app.main, "hostname": state.hostname, "n": n}

    @commands.control_command(name="conformance_fail")
    def fail_command(state, **kwargs):
        """Raise."""
        raise ValueError("on purpose")


if os.environ.get("CONFORMANCE_COMMANDS"):
    add_commands()
