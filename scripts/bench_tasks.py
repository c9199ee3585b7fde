"""The project that `bench.py` measures: one task that does nothing, served by either worker."""

import os
import sys

from celery import Celery

app = Celery("bench_tasks", broker=os.environ["BENCH_BROKER_URL"])
app.conf.update(
    task_ignore_result=True, worker_prefetch_multiplier=64, worker_send_task_events=False
)


@app.task(name="bench.noop")  # type: ignore[untyped-decorator]  # celery has no types
def noop() -> None:
    """Do nothing."""


def publish(count: int) -> None:
    """Send `count` calls over one connection."""
    with app.producer_pool.acquire(block=True) as producer:
        for _ in range(count):
            noop.apply_async(producer=producer)


if __name__ == "__main__":
    publish(int(sys.argv[1]))
