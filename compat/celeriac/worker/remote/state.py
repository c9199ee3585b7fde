"""What a remote-control command gets to see of its worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.brokers.base import SideChannel
from celeriac.events.sender import EventSender
from celeriac.worker.gossip import Gossip
from celeriac.worker.loop import Loop
from celeriac.worker.revoked import RevokedIds
from celeriac.worker.task_events import TaskEvents

if TYPE_CHECKING:
    from celeriac.app.app import Celery
    from celeriac.worker.worker import Worker

__all__ = ["Consumer", "ControlState", "Qos"]


class Qos:
    """The prefetch count, as applications' own commands read and change it."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    @property
    def value(self) -> int:
        """Messages held at most now, those waiting for an eta included; 0: no limit."""
        return self._loop.window

    def increment_eventually(self, n: int = 1) -> int:
        """Raise the count by `n`; effective in the loop's next turn."""
        if self._loop.prefetch:
            self._loop.prefetch += max(n, 0)
        return self.value

    def decrement_eventually(self, n: int = 1) -> int:
        """Lower the count by `n`, to 1 at least."""
        if self._loop.prefetch:
            self._loop.prefetch = max(1, self._loop.prefetch - max(n, 0))
        return self.value


class Consumer:
    """What `state.consumer` offers to applications' own commands."""

    def __init__(self, worker: Worker, loop: Loop) -> None:
        self.controller = worker
        self.app: Celery = worker.app
        self.hostname = worker.hostname
        self.pool = loop.pool
        self.qos = Qos(loop)


class ControlState:
    """First argument of every command.

    Attributes:
        worker: The worker.
        loop: Its loop, with all requests.
        app: Its app.
        hostname: Its node name.
        consumer: What applications' own commands use.
        revoked: Ids that must not run.
        sender: Of events; `None` when nothing may be sent.
        side: Where replies go.
        observer: What the loop tells of tasks while task events are on.
        gossip: Who else is there; `None` when this worker does not listen.
        always_on: Task events were asked for at start; no command switches them off.
    """

    def __init__(
        self,
        worker: Worker,
        loop: Loop,
        *,
        revoked: RevokedIds,
        side: SideChannel,
        sender: EventSender | None,
        task_events: bool = False,
        gossip: Gossip | None = None,
    ) -> None:
        self.worker = worker
        self.loop = loop
        self.app: Celery = worker.app
        self.hostname = worker.hostname
        self.consumer = Consumer(worker, loop)
        self.revoked = revoked
        self.sender = sender
        self.side = side
        self.observer = TaskEvents(sender) if sender is not None else None
        self.gossip = gossip
        self.always_on = task_events
        if task_events:
            loop.observer = self.observer

    @property
    def tset(self) -> Any:
        """Makes a set of task ids; kept for commands written for older workers."""
        return set
