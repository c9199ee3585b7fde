"""Worker of faststream-celery with those tasks of the suite that it can provide."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from faststream_celery import CeleryBroker  # type: ignore[import-not-found]
from faststream_celery.annotations import CeleryMessage  # type: ignore[import-not-found]

from celeriac_conformance.drivers import foreign, foreign_tasks


def request_of(message: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """Take what faststream-celery tells a handler of its call: the headers, and what stands beside them."""
    own = {"correlation_id": message.correlation_id, "reply_to": message.reply_to}
    return {**message.headers, **own, "args": args, "kwargs": kwargs}


def note(message: Any, args: Any, kwargs: Any, event: str = "run", /, **extra: Any) -> None:
    """Write a line in the journal."""
    headers = message.headers
    foreign.note(headers["task"], headers["id"], request_of(message, args, kwargs), event, **extra)


def plain(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """Make a handler of a function that needs nothing but its arguments."""

    async def handle(args: list, kwargs: dict, message: CeleryMessage) -> Any:  # type: ignore[type-arg]
        if foreign_tasks.fits(function, args, kwargs):
            note(message, args, kwargs)
        return function(*args, **kwargs)

    return handle


async def collect(args: list, kwargs: dict, message: CeleryMessage) -> Any:  # type: ignore[type-arg]
    """Write down what it was given."""
    extra, result = foreign_tasks.collect(*args, **kwargs)
    note(message, args, kwargs, **extra)
    return result


async def request_dump(args: list, kwargs: dict, message: CeleryMessage) -> Any:  # type: ignore[type-arg]
    """Return what it was told of its call."""
    note(message, args, kwargs)
    return request_of(message, args, kwargs)


async def sleep(args: list, kwargs: dict, message: CeleryMessage) -> Any:  # type: ignore[type-arg]
    """Take a while."""
    note(message, args, kwargs)
    return await foreign_tasks.sleep(*args, **kwargs)


async def gate(args: list, kwargs: dict, message: CeleryMessage) -> Any:  # type: ignore[type-arg]
    """Run until a file exists."""
    note(message, args, kwargs)

    async def end() -> None:
        note(message, args, kwargs, "end")

    return await foreign_tasks.gate(args[0], end)


HANDLERS = {
    **{name: plain(function) for name, function in foreign_tasks.PLAIN.items()},
    "ignored": plain(lambda value: value),
    "collect": collect,
    "request_dump": request_dump,
    "sleep": sleep,
    "gate": gate,
}


async def dispatch(args: list, kwargs: dict, message: CeleryMessage) -> Any:  # type: ignore[type-arg]
    """Run the task a message names: a queue of ours has too many for a subscriber each."""
    return await HANDLERS[message.headers["task"]](args, kwargs, message)


async def main() -> None:
    """Serve until the process is terminated."""
    queues, concurrency = foreign.queues_of_worker(sys.argv[1:])
    backend = os.environ["CONFORMANCE_RESULT_BACKEND"]
    broker: Any = CeleryBroker(
        os.environ["CONFORMANCE_BROKER_URL"], result_backend=backend, max_workers=concurrency
    )
    for queue in queues:
        broker.subscriber(queue)(dispatch)
    await broker.start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await broker.stop()


if __name__ == "__main__":
    asyncio.run(main())
