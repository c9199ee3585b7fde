"""Real Celery as a producer, driven over JSON lines.

Each line on standard input is one request ``{"seq": n, "cmd": name, ...}``; each gets one line back that echoes `seq`
and holds exactly one of ``ok`` (a result), ``errored`` (message and traceback) or ``unsupported`` (a reason).
End of input ends the program. Runs on Python 3.7 with the standard library and Celery.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators

import json
import os
import platform
import subprocess
import sys
import threading
import traceback
from typing import Any

from celeriac_conformance.drivers import tasks, typed_values

library = tasks.library
app = tasks.app


class UnsupportedError(Exception):
    """This implementation or backend does not offer what was asked."""


# Forms: signatures and canvases as data


def _name(fields):
    return app.tasks[fields["task"]]


def _call(fields):
    options = dict(fields.get("options") or {})
    build = app.signature if fields.get("by_name") else _name(fields).signature
    args = tuple(fields.get("args") or ())
    kwargs = dict(fields.get("kwargs") or {})
    immutable = bool(fields.get("immutable"))
    if fields.get("by_name"):
        return build(fields["task"], args=args, kwargs=kwargs, options=options, immutable=immutable)
    signature = build(args, kwargs, immutable=immutable)
    return signature.set(**options) if options else signature


def _pipe(fields):
    parts = list(fields["tasks"])
    result = parts[0]
    for part in parts[1:]:
        result = result | part
    return result


_BUILDERS = {
    "call": _call,
    "chain": lambda fields: library.chain(*fields["tasks"]),
    "group": lambda fields: library.group(fields["tasks"]),
    "chord": lambda fields: library.chord(fields["header"], fields["body"]),
    "pipe": _pipe,
    "map": lambda fields: _name(fields).map(fields["it"]),
    "starmap": lambda fields: _name(fields).starmap(fields["it"]),
    "chunks": lambda fields: _name(fields).chunks(fields["it"], fields["n"]),
}


def build_form(fields):
    """Make the signature or canvas a form describes."""
    result = _BUILDERS[fields["kind"]](fields)
    for callback in fields.get("link") or ():
        result.link(callback)
    for errback in fields.get("link_error") or ():
        result.link_error(errback)
    if fields.get("stamps"):
        if not hasattr(result, "stamp"):
            raise UnsupportedError("stamps came with Celery 5.3")
        result.stamp(**fields["stamps"])
    return result


# Results


_results: "dict[str, Any]" = {}
_PUSHES = os.environ.get("CONFORMANCE_RESULT_BACKEND", "").startswith(("redis", "rpc"))
"""Whether clients are told of results; where they have to look, they refuse `on_message`."""


def _remember(result):
    node = result
    while node is not None:
        _results.setdefault(node.id, node)
        for member in getattr(node, "results", None) or ():
            _remember(member)
        node = getattr(node, "parent", None)


def _parents(result):
    ids = []
    node = getattr(result, "parent", None)
    while node is not None:
        ids.append(node.id)
        node = getattr(node, "parent", None)
    return ids


def _describe(result):
    return {
        "id": result.id,
        "kind": "group" if hasattr(result, "results") else "task",
        "members": [_describe(member) for member in getattr(result, "results", None) or ()],
        "parents": _parents(result),
    }


def _find(identifier):
    return _results.get(identifier) or app.AsyncResult(identifier)


def _document(result):
    """Read one result the way an application does: through the public attributes of its result object."""
    names = (
        "state",
        "result",
        "traceback",
        "date_done",
        "name",
        "args",
        "kwargs",
        "worker",
        "retries",
        "queue",
    )
    document = {name: getattr(result, name, None) for name in names}
    document["children"] = [_describe(child) for child in result.children or ()]
    return document


# Commands


def start(fields):
    versions = {"library": library.__version__, "python": platform.python_version()}
    for name in ("kombu", "amqp", "redis", "billiard"):
        try:
            versions[name] = __import__(name).__version__
        except ImportError:
            continue
    return {"pid": os.getpid(), "versions": versions}


def send(fields):
    """Send one task or canvas. Options are those of `apply_async`."""
    options = dict(fields.get("options") or {})
    for name in ("link", "link_error"):
        if name in options and isinstance(options[name], list) and len(options[name]) == 1:
            options[name] = options[name][0]
    if fields.get("form") is not None:
        result = fields["form"].apply_async(**options)
    elif fields.get("by_name"):
        result = app.send_task(fields["task"], fields.get("args"), fields.get("kwargs"), **options)
    else:
        result = _name(fields).apply_async(fields.get("args"), fields.get("kwargs"), **options)
    if result is None:
        return None  # an empty chain
    _remember(result)
    return _describe(result)


def send_many(fields):
    """Send one task many times and return nothing but the count."""
    task = _name(fields)
    for _ in range(fields["count"]):
        task.apply_async(fields.get("args"), **(fields.get("options") or {}))
    return fields["count"]


def wait(fields):
    """Wait for a result; how it ended is data, also when that was an exception."""
    result = _find(fields["id"])
    messages: "list[Any]" = []
    answer = {"id": result.id, "timed_out": False, "value": None, "raised": None}
    options = {"timeout": fields.get("timeout", 30), "propagate": bool(fields.get("propagate"))}
    if _PUSHES and not hasattr(result, "results"):
        options["on_message"] = messages.append
    try:
        answer["value"] = result.get(**options)
    except tasks.exceptions.TimeoutError:
        answer["timed_out"] = True
    except Exception as error:
        answer["raised"] = error
    # The hook also gets documents of other calls that arrive meanwhile.
    answer["messages"] = [dict(message) for message in messages if message["task_id"] == result.id]
    if hasattr(result, "results"):
        answer["documents"] = [_document(member) for member in result.results]
    else:
        answer["document"] = _document(result)
    return answer


def meta(fields):
    """Read one result without waiting."""
    return _document(_find(fields["id"]))


def forget(fields):
    _find(fields["id"]).forget()
    return


def _control():
    try:
        return app.control
    except ImportError as error:
        raise UnsupportedError("no remote-control client: {0}".format(error)) from error


def control(fields):
    """Broadcast a control command; return what each node answered."""
    replies = _control().broadcast(
        fields["method"],
        arguments=fields.get("arguments") or {},
        destination=fields.get("destination"),
        reply=True,
        timeout=fields.get("timeout", 1.0),
        **(fields.get("options") or {}),
    )
    return {node: value for reply in replies or () for node, value in reply.items()}


def inspect(fields):
    """Call a method of `app.control.inspect()`."""
    inspector = _control().inspect(
        destination=fields.get("destination"), timeout=fields.get("timeout", 1.0)
    )
    return getattr(inspector, fields["method"])(*(fields.get("args") or ())) or {}


_monitor = None


class _Monitor:
    """Collects every event, and what `State` makes of them, in a thread of its own."""

    def __init__(self):
        self.events = []
        self.state = app.events.State()
        self.ready = threading.Event()
        thread = threading.Thread(target=self._run)
        thread.daemon = True
        thread.start()

    def _run(self):
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": self._take})
            for _ in receiver.itercapture(limit=None, timeout=None, wakeup=True):
                self.ready.set()  # it yields once when the queue is consumed

    def _take(self, event):
        self.events.append(dict(event))
        # Celery's own `State` raises over elections: their `id` is a property of its `Worker`.
        if not event["type"].startswith("worker-elect"):
            self.state.event(event)


def events(fields):
    """Start listening to events on the first call; return all that came so far and the states they add up to."""
    global _monitor
    if _monitor is None:
        try:
            _monitor = _Monitor()
        except ImportError as error:
            raise UnsupportedError("no event receiver: {0}".format(error)) from error
        _monitor.ready.wait(10)
    state = _monitor.state
    return {
        "events": list(_monitor.events),
        "tasks": {uuid: task.state for uuid, task in list(state.tasks.items())},
        "alive": [name for name, worker in list(state.workers.items()) if worker.alive],
    }


def program(fields):
    """Run the library's own command-line program; return how it ended and what it printed.

    With `seconds` it may run for so long and is then stopped: that is how a program that never ends by itself ends.
    """
    command = [sys.executable, "-m", library.__name__, "-A", tasks.__name__]
    process = subprocess.Popen(
        command + list(fields["words"]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    try:
        output, errors = process.communicate(timeout=fields.get("seconds") or 60)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        if not fields.get("seconds"):
            raise
    return {"status": process.returncode, "output": output, "errors": errors}


COMMANDS = {
    "program": program,
    "start": start,
    "send": send,
    "send_many": send_many,
    "wait": wait,
    "meta": meta,
    "forget": forget,
    "control": control,
    "inspect": inspect,
    "events": events,
}


def _where(error):
    """Return the stack of an error as places only: file, line and function."""
    frames = traceback.extract_tb(error.__traceback__)
    return "".join(
        "  {0}:{1} in {2}\n".format(frame.filename, frame.lineno, frame.name) for frame in frames
    )


def answer(line):
    """Perform one request line and return the answer to write."""
    request = json.loads(line)
    reply = {"seq": request.get("seq")}
    try:
        command = COMMANDS.get(request.get("cmd"))
        if command is None:
            raise UnsupportedError("no command {0!r}".format(request.get("cmd")))
        reply["ok"] = typed_values.encode(command(typed_values.decode(request, build_form)))
    except UnsupportedError as error:
        reply["unsupported"] = str(error)
    except NotImplementedError as error:
        reply["unsupported"] = "{0}: {1}".format(type(error).__name__, error)
    except Exception as error:
        reply["errored"] = {
            "message": "{0}: {1}".format(type(error).__name__, error),
            "exception": typed_values.describe_exception(error),
            "traceback": _where(error),
        }
    return reply


def main():
    """Serve requests until standard input ends."""
    # Answers go to a private copy of standard output; whatever else prints lands in the log with standard error.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        out.write(json.dumps(answer(line)) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
