"""Which queues a worker consumes."""

from __future__ import annotations

import pytest

from celeriac.app.app import Celery
from celeriac.worker.worker import Worker, WorkerOptions


@pytest.mark.parametrize("is_direct", [False, True])
def test_a_worker_has_a_queue_of_its_own_where_worker_direct_says_so(is_direct: bool) -> None:
    app = Celery("direct", set_as_current=False)
    app.conf.worker_direct = is_direct
    worker = Worker(app, WorkerOptions(hostname="w@host", queues=("a", "b"), exclude_queues=("b",)))
    found = {
        queue.name: (queue.exchange.name, queue.routing_key) for queue in worker.select_queues()
    }
    own = {"w@host.dq2": ("C.dq2", "w@host")} if is_direct else {}
    assert found == {"a": ("a", "a"), **own}
