"""Not running again what a redelivered message asks for when its result says that it is done.

On with `worker_deduplicate_successful_tasks`, for late-ack tasks whose results are kept.

Spec: results-and-workflows#7
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from celeriac.app.context import Context
from celeriac.app.continuations import after_success
from celeriac.app.outcome import Outcome, Rejected, Succeeded
from celeriac.app.trace import apply_all
from celeriac_protocol.result import State

if TYPE_CHECKING:
    from celeriac.app.app import Celery

__all__ = ["Duplicates"]

logger = logging.getLogger("celery.app.trace")

_REMEMBERED: Final = 1000


class Duplicates:
    """Knows what is done already.

    Args:
        app: Whose results are asked.
    """

    def __init__(self, app: Celery) -> None:
        self.app = app
        self._done: OrderedDict[str, None] = OrderedDict()
        """What succeeded in this process: asking for it costs no round trip."""

    def concerns(self, task: Any, redelivered: bool) -> bool:
        """Tell whether `skip` is to be asked about a delivery of a task."""
        return redelivered and bool(task.acks_late) and bool(task.backend.persistent)

    def note(self, task: Any, task_id: str) -> None:
        """Remember a success."""
        if not task.acks_late:
            return
        self._done[task_id] = None
        if len(self._done) > _REMEMBERED:
            self._done.popitem(last=False)

    def skip(self, task: Any, task_id: str, request: Context) -> Outcome | None:
        """Return how the task ended before; `None`: it has to run.

        What was to follow it and did not, since the process ended in between, follows now.
        """
        if task_id not in self._done:
            document = task.backend.fetch(task_id)
            if document.status != State.SUCCESS:
                return None
            if (request.callbacks or request.chain) and not document.children:
                try:
                    apply_all(
                        self.app,
                        after_success(
                            callbacks=request.callbacks,
                            chain=request.chain,
                            retval=document.result,
                            task_id=task_id,
                            root_id=request.root_id,
                        ),
                    )
                except Exception as exc:
                    logger.exception("What follows task %s could not be sent", task_id)
                    return Rejected(str(exc), requeue=True)
        logger.info("Task %s[%s] Task already completed successfully.", task.name, task_id)
        return Succeeded(None, None)
