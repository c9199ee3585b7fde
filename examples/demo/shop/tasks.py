"""Tasks of the kinds that nearly every project has."""

import json
import os
import time

from celery import shared_task
from celery.signals import task_prerun
from celery.utils.log import get_task_logger

logger = get_task_logger(__name__)


@task_prerun.connect
def note_who_runs_it(task_id, task, **_):
    """Write down which process of which worker starts a task, for the table that the demo prints."""
    line = {
        "id": task_id,
        "task": task.name,
        "node": task.request.hostname,
        "pid": os.getpid(),
        "parent": os.getppid(),
        "at": time.time(),
    }
    with open(os.environ["SHOP_JOURNAL"], "a", encoding="utf-8") as journal:
        journal.write(json.dumps(line) + "\n")


@shared_task
def add(x, y):
    return x + y


@shared_task
def total(numbers):
    return sum(numbers)


@shared_task
def greet(name, greeting="Hi"):
    logger.info("greeting %s", name)
    return f"{greeting}, {name}!"


@shared_task
def divide(x, y):
    return x / y


class SupplierBusy(Exception):
    pass


@shared_task(bind=True, max_retries=5)
def order(self, article, busy_times):
    """Fail `busy_times` times before the supplier takes the order."""
    if self.request.retries < busy_times:
        raise self.retry(exc=SupplierBusy(article), countdown=0.2)
    return f"{article} ordered at attempt {self.request.retries + 1}"
