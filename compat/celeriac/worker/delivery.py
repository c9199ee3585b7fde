"""One delivery with what was read of it: the mutable record that the loop keeps until the delivery is settled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from celeriac.app.outcome import Outcome
from celeriac.brokers.base import Delivery, Tag
from celeriac.worker.payload import Payload
from celeriac.worker.request import Policy, RequestState
from celeriac_protocol import task as wire
from celeriac_protocol.errors import InvalidTaskError, RemoteProtocolError
from celeriac_protocol.message import Message

__all__ = ["MAX_STORED_ID", "Hooks", "Request", "Unreadable", "policy_of", "read_delivery"]

_NO_HEADERS = wire.TaskHeaders(task="", id="")
_DEFAULT_POLICY = Policy()

MAX_STORED_ID = 512
"""A longer id is never used as a storage key."""


class Hooks:
    """What happens to deliveries, told to whoever wants to know; the worker sends signals from here."""

    def connected(self, *, first: bool) -> None:
        """The broker is consumed."""

    def received(self, request: Request) -> None:
        """A task was accepted from the broker."""

    def accepted(self, request: Request) -> None:
        """The pool takes a task; it starts now."""

    def finished(self, request: Request, outcome: Outcome) -> None:
        """A task ran to its end, whichever that was."""

    def failed(self, request: Request, exc: Exception) -> None:
        """A task failed outside itself: unknown, too slow, or lost with its process."""

    def given_back(self, request: Request) -> None:
        """A task was lost with its process and will be delivered again."""

    def revoked(self, request: Request, *, expired: bool) -> None:
        """A task is discarded."""

    def terminated(self, request: Request, signum: int) -> None:
        """A running task was ended by remote control."""

    def unknown(self, request: Request) -> None:
        """No such task."""

    def rejected(self, message: Message, error: Any) -> None:
        """A message was refused."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a delivery cannot be run."""

    error: RemoteProtocolError
    has_id: bool
    """Its headers are readable: a FAILURE can be stored under its id."""


class Request:
    """One task in the life of this worker.

    Attributes:
        number: Identifies it in pool events.
        tag: How the broker knows it.
        message: As delivered.
        headers: What it says about itself.
        policy: How it wants to be acknowledged.
        state: Where it stands; only `Loop.feed` changes it.
        detail: What bookkeeping needs to know (reason, limit, exit code).
        until: When its eta is due.
        accepted_at: Wall seconds at which the pool took it.
        worker_pid: Process that runs it.
        terminated: Signal by which remote control ended it.
    """

    __slots__ = (
        "_task", "accepted_at", "broken", "detail", "headers", "message", "number", "policy", "state", "tag",
        "terminated", "until", "worker_pid",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        tag: Tag,
        message: Message,
        headers: wire.TaskHeaders,
        task: Any,
        broken: Unreadable | None,
    ) -> None:
        self.number = number
        self.tag = tag
        self.message = message
        self.headers = headers
        self.broken = broken
        self.policy = _DEFAULT_POLICY if task is None else policy_of(task)
        self.state = RequestState()
        self.detail: Any = None
        self.until: datetime | None = None
        self.accepted_at: float | None = None
        self.worker_pid: int | None = None
        self.terminated: int | None = None
        self._task = task

    @property
    def id(self) -> str:
        """Task id."""
        return self.headers.id

    @property
    def name(self) -> str:
        """Display name: the shadow if there is one."""
        return self.headers.shadow or self.headers.task

    @property
    def task_name(self) -> str:
        """Registered name."""
        return self.headers.task

    @property
    def task(self) -> Any:
        """The registered task, `None` when unknown."""
        return self._task

    @property
    def delivery_info(self) -> dict[str, Any]:
        """As tasks see it in `request.delivery_info`."""
        info = self.message.delivery_info
        return {
            "exchange": info.exchange,
            "routing_key": info.routing_key,
            "priority": self.message.properties.priority,
            "redelivered": info.redelivered,
        }

    def payload(self) -> Payload:
        """What the pool gets."""
        return Payload.of(self.message)

    def limits(self) -> tuple[float | None, float | None]:
        """Return (hard, soft) in seconds: the message's, else the task's, which include the worker's."""
        hard, soft = self.headers.timelimit
        task = self._task
        return hard or task.time_limit or None, soft or task.soft_time_limit or None

    def log_data(self) -> dict[str, Any]:
        """Fields of the `received` line's `data`."""
        headers = self.headers
        return {"args": headers.argsrepr, "kwargs": headers.kwargsrepr, "eta": headers.eta}

    def __repr__(self) -> str:
        return f"<Request: {self.name}[{self.headers.id}] {self.state.phase.value}>"


def policy_of(task: Any) -> Policy:
    """Return how a task wants to be acknowledged; remembered on the task, whose attributes do not change."""
    policy: Policy | None = task.__dict__.get("_ack_policy")
    if policy is None:
        both = task.acks_on_failure_or_timeout
        policy = Policy(
            acks_late=bool(task.acks_late),
            acks_on_failure=bool(_either(task.acks_on_failure, both)),
            acks_on_timeout=bool(_either(task.acks_on_timeout, both)),
            reject_on_worker_lost=bool(task.reject_on_worker_lost),
        )
        task.__dict__["_ack_policy"] = policy
    return policy


def _either(value: bool | None, default: bool) -> bool:
    return default if value is None else value


def read_delivery(
    delivery: Delivery, number: int, tasks: Mapping[str, Any], accept: frozenset[str]
) -> Request:
    """Read what the loop decides by: the headers of protocol 2, the whole of a protocol 1 message. Never raises."""
    message = delivery.message
    if delivery.broken is not None:
        return Request(
            number,
            delivery.tag,
            message,
            _NO_HEADERS,
            None,
            Unreadable(delivery.broken, has_id=False),
        )
    headers: wire.TaskHeaders | None = None
    try:
        headers = wire.read_headers(message)
        if headers is None:
            headers = wire.decode(message, accept=accept).headers
    except RemoteProtocolError as exc:
        stand_in = _stand_in(message) if isinstance(exc, InvalidTaskError) else None
        broken = Unreadable(exc, has_id=stand_in is not None)
        return Request(number, delivery.tag, message, stand_in or _NO_HEADERS, None, broken)
    return Request(number, delivery.tag, message, headers, tasks.get(headers.task), None)


def _stand_in(message: Message) -> wire.TaskHeaders | None:
    """Return just name and id of a message whose other headers are broken, where both can be trusted as keys."""
    task, task_id = message.headers.get("task"), message.headers.get("id")
    if (
        not isinstance(task, str)
        or not isinstance(task_id, str)
        or not 0 < len(task_id) <= MAX_STORED_ID
    ):
        return None
    return wire.TaskHeaders(task=task, id=task_id)
