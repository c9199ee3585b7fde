"""Worker of aio-celery with the tasks of the suite that it can provide: from its README and public signatures."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from aio_celery import Celery  # type: ignore[import-not-found]

from celeriac_conformance.drivers import foreign, foreign_tasks

app: Any = Celery("conformance")
app.conf.update(
    broker_url=os.environ.get("CONFORMANCE_BROKER_URL"),
    result_backend=os.environ.get("CONFORMANCE_RESULT_BACKEND"),
)


def request_of(task: Any) -> dict[str, Any]:
    """Take what aio-celery tells a task of its call."""
    request, message = task.request, task.request.message
    names = ("id", "task", "args", "kwargs", "retries", "eta", "parent_id", "group", "root_id")
    told = {
        name: getattr(request, name) for name in (*names, "ignore_result", "timelimit", "chain")
    }
    return {
        **told,
        "correlation_id": message.correlation_id,
        "reply_to": message.reply_to,
        "delivery_info": {
            "exchange": message.exchange,
            "routing_key": message.routing_key,
            "priority": message.priority,
            "redelivered": message.redelivered,
        },
    }


def note(task: Any, event: str = "run", /, **extra: Any) -> None:
    """Write a line in the journal."""
    foreign.note(task.request.task, task.request.id, request_of(task), event, **extra)


def register(name: str, function: Callable[..., Any]) -> None:
    """Provide a task that needs nothing but its arguments."""

    async def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        if foreign_tasks.fits(function, args, kwargs):
            note(self)
        return function(*args, **kwargs)

    app.task(name=name, bind=True)(run)


for plain, function in foreign_tasks.PLAIN.items():
    register(plain, function)


@app.task(name="ignored", bind=True, ignore_result=True)  # type: ignore[untyped-decorator]
async def ignored(self: Any, value: Any) -> Any:
    """Return a result that nobody wants."""
    note(self)
    return value


@app.task(name="collect", bind=True)  # type: ignore[untyped-decorator]
async def collect(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Write down what it was given."""
    extra, result = foreign_tasks.collect(*args, **kwargs)
    note(self, **extra)
    return result


@app.task(name="request_dump", bind=True)  # type: ignore[untyped-decorator]
async def request_dump(self: Any) -> Any:
    """Return what it was told of its call."""
    note(self)
    request = request_of(self)
    return {**request, "eta": request["eta"] and request["eta"].isoformat()}


@app.task(name="sleep", bind=True)  # type: ignore[untyped-decorator]
async def sleep(self: Any, seconds: float) -> float:
    """Take a while."""
    note(self)
    return await foreign_tasks.sleep(seconds)


@app.task(name="gate", bind=True)  # type: ignore[untyped-decorator]
async def gate(self: Any, path: str) -> str:
    """Run until a file exists."""
    note(self)

    async def end() -> None:
        note(self, "end")

    return await foreign_tasks.gate(path, end)


@app.task(name="progress", bind=True)  # type: ignore[untyped-decorator]
async def progress(self: Any, steps: int) -> int:
    """Report a state of its own, several times."""
    note(self)
    for step in range(steps):
        await self.update_state(state="PROGRESS", meta={"step": step})
    return steps


@app.task(name="retry_n", bind=True)  # type: ignore[untyped-decorator]
async def retry_n(self: Any, times: int, countdown: float = 0) -> int:
    """Retry some times, then return their number."""
    note(self)
    retries: int = self.request.retries
    if retries < times:
        await self.retry(countdown=countdown)
    return retries


def main() -> int:
    """Start the worker with aio-celery's own command."""
    queues, concurrency = foreign.queues_of_worker(sys.argv[1:])
    own = [sys.executable, "-m", "aio_celery", "worker", "-Q", ",".join(queues)]
    command = [*own, "-c", str(concurrency), f"{__spec__.name}:app"]
    os.execv(sys.executable, command)  # noqa: S606 - that is what is wanted


if __name__ == "__main__":
    sys.exit(main())
