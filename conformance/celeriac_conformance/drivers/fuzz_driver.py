"""A real Celery worker that is handed one message at a time, and tells what it made of it.

The worker runs in this process's main thread, with the solo pool, on a kombu transport whose only queue is standard
input: whenever the worker asks its broker for the next message, the message before it has been dealt with, and the
answer to its request can be written. Nothing is polled and nothing waits, so a round trip costs what the worker costs.

Each line on standard input is one request ``{"seq": n, "cmd": name, ...}``; each gets one line back, as with
`celery_driver`. `deliver` takes a message (`headers`, `properties`, `body`, `content_type`, `content_encoding`) and
returns what could be seen of it from outside:

========== ============================================================================================
`received` display name, id, eta and expiry, as the signal `task_received` has them; absent for a refused message
`ran`      what the task saw in `self.request`, and its arguments; absent when it did not run
`unknown`  name of the task that is not registered
`revoked`  `expired`
`refused`  text of the error in the signal `task_rejected`
`settled`  `ack`, `reject`, `requeue`, or absent while the worker keeps the message
`crashed`  the error that ended the worker; the next message meets a new one
========== ============================================================================================

Only what Celery documents is used: signals, `Task.request`, `app.Worker`, kombu's interface for transports.
"""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code=assignment

import json
import logging
import os
import platform
import sys
import warnings
from queue import Empty
from typing import Any

import celery
import kombu
from celery import signals
from celery.worker import state
from kombu.transport import TRANSPORT_ALIASES, virtual

from celeriac_conformance.drivers import typed_values

QUEUE = "fuzz"
NAMES = ("fuzz.probe", "fuzz.other")

FIELDS = (
    "task",
    "id",
    "args",
    "kwargs",
    "lang",
    "shadow",
    "eta",
    "expires",
    "group",
    "group_index",
    "retries",
    "timelimit",
    "root_id",
    "parent_id",
    "argsrepr",
    "kwargsrepr",
    "origin",
    "ignore_result",
    "replaced_task_nesting",
    "stamped_headers",
    "stamps",
    "headers",
    "callbacks",
    "errbacks",
    "chain",
    "chord",
    "utc",
    "reply_to",
    "correlation_id",
)
"""Attributes of `Task.request` that are told."""


class Feed:
    """Standard input as a queue, standard output as the record of what became of each message."""

    def __init__(self):
        # Answers go to a private copy of standard output; whatever else prints lands in the log.
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._seq = None
        self.ended = False
        self.seen: dict[str, Any] = {}

    def next(self):
        """Answer for the message before, serve requests until one brings a message, and return it."""
        self.answer_delivery()
        for line in sys.stdin:
            request = json.loads(line)
            command = request["cmd"]
            if command == "deliver":
                self._seq, self.seen = request["seq"], {}
                # An id that expired once counts as revoked from then on; each message shall be judged by itself.
                state.revoked.clear()
                return typed_values.decode(request["message"])
            self._write(request["seq"], COMMANDS[command](typed_values.decode(request)))
        self.ended = True
        raise SystemExit(0)

    def answer_delivery(self):
        if self._seq is not None:
            sequence, self._seq = self._seq, None
            self._write(sequence, self.seen)

    def crashed(self, error):
        """Note what ended the worker, unless it was the end of the input."""
        if not self.ended:
            self.seen["crashed"] = f"{type(error).__name__}: {error}"
            self.answer_delivery()

    def _write(self, sequence, value):
        line = json.dumps({"seq": sequence, "ok": typed_values.encode(value)})
        self._out.write(line + "\n")
        self._out.flush()


class Channel(virtual.Channel):
    """Gives the worker what the feed has, and notes how it is settled."""

    do_restore = False

    def _get(self, queue, timeout=None):
        if queue != QUEUE:
            raise Empty
        message = feed.next()
        properties = dict(message["properties"])
        properties.setdefault("delivery_info", {"exchange": "", "routing_key": QUEUE})
        properties["delivery_tag"] = self._next_delivery_tag()
        self._current = properties["delivery_tag"]
        return {
            "body": message["body"],
            "headers": message["headers"],
            "content-type": message["content_type"],
            "content-encoding": message["content_encoding"],
            "properties": properties,
        }

    def _settle(self, delivery_tag, how):
        if delivery_tag == self._current:
            feed.seen["settled"] = how

    def basic_ack(self, delivery_tag, multiple=False):
        self._settle(delivery_tag, "ack")
        super().basic_ack(delivery_tag, multiple)

    def basic_reject(self, delivery_tag, requeue=False):
        self._settle(delivery_tag, "requeue" if requeue else "reject")
        super().basic_reject(delivery_tag, requeue=requeue)

    def _put(self, queue, message, **kwargs):
        """Forget: what tasks send, and what a dying worker gives back, is of no interest."""

    def _size(self, queue):
        return 0

    def _purge(self, queue):
        return 0


class Transport(virtual.Transport):
    """Standard input as a broker."""

    Channel = Channel
    driver_type = driver_name = "feed"
    # No error is a lost connection: what a message raises is to be seen, not retried.
    connection_errors = channel_errors = ()


TRANSPORT_ALIASES["feed"] = f"{__name__}:Transport"
app = celery.Celery("fuzz", broker="feed://", backend="cache+memory://", set_as_current=True)
app.conf.update(
    accept_content=["json"],
    broker_connection_retry_on_startup=False,
    task_default_queue=QUEUE,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=0,
    worker_redirect_stdouts=False,
    # A worker that ends waits for its timer to look up, by default once a second.
    worker_timer_precision=0.005,
)


class Probe(app.Task):  # type: ignore[name-defined,misc]  # known where Celery is
    """Tells what it sees."""

    typing = False

    def run(self, /, *args, **kwargs):
        request = self.request
        seen = {name: getattr(request, name, None) for name in FIELDS}
        seen.update({"args given": list(args), "kwargs given": kwargs})
        # Written down now: what follows may change the very objects.
        feed.seen["ran"] = typed_values.encode(seen)


for name in NAMES:
    app.register_task(type(name, (Probe,), {"name": name})())


@signals.task_received.connect(weak=False)
def on_received(request, **_):
    feed.seen["received"] = {
        "name": request.name,
        "id": request.id,
        "eta": request.eta,
        "expires": request.expires,
    }


@signals.task_unknown.connect(weak=False)
def on_unknown(name, **_):
    feed.seen["unknown"] = name


@signals.task_revoked.connect(weak=False)
def on_revoked(expired, **_):
    feed.seen["revoked"] = "expired" if expired else "revoked"


@signals.task_rejected.connect(weak=False)
def on_rejected(exc, **_):
    feed.seen["refused"] = repr(exc)


def start(fields):
    return {
        "pid": os.getpid(),
        "versions": {
            "library": celery.__version__,
            "kombu": kombu.__version__,
            "python": platform.python_version(),
        },
    }


COMMANDS = {"start": start}
feed: Feed


def main():
    """Run workers until standard input ends."""
    global feed
    feed = Feed()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    while not feed.ended:
        worker = app.Worker(
            pool="solo",
            queues=[QUEUE],
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            hostname="fuzz@localhost",
            quiet=True,
        )
        try:
            worker.start()
        except BaseException as error:  # the worker's own end is an answer here
            feed.crashed(error)
        else:
            feed.crashed(RuntimeError("the worker ended"))


if __name__ == "__main__":
    main()
