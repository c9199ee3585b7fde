"""One message as two workers see it, brought into one form that can be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from celeriac.app.app import Celery
from celeriac.app.outcome import Refused
from celeriac.app.task import Task
from celeriac.brokers.base import Delivery
from celeriac.exceptions import Ignore
from celeriac.worker.actions import Ack, Reject
from celeriac.worker.delivery import Request, Unreadable, read_delivery
from celeriac.worker.execute import Executor
from celeriac.worker.intake import Discard, Hold, Unknown, decide
from celeriac.worker.request import Input, RequestState, step
from celeriac_conformance.drivers import typed_values
from celeriac_protocol import task as wire
from celeriac_protocol.errors import Hint, RemoteProtocolError
from celeriac_protocol.message import Message

__all__ = ["NAMES", "UNTOLD", "Difference", "Ours", "Seen", "differences", "theirs"]

NAMES = ("fuzz.probe", "fuzz.other")
"""Registered on both sides."""
UNTOLD = "untold"
"""Fate of a call of a task that every app has: nobody tells what it saw, so there is nothing to compare."""
ACCEPT = frozenset({"application/json"})
FIELDS = (
    *("task", "id", "args", "kwargs", "lang", "shadow", "eta", "expires", "group", "group_index"),
    *("retries", "timelimit", "root_id", "parent_id", "argsrepr", "kwargsrepr", "origin"),
    *("ignore_result", "replaced_task_nesting", "stamped_headers", "stamps", "headers"),
    *("callbacks", "errbacks", "chain", "chord", "utc", "reply_to", "correlation_id"),
)
"""Attributes of `Task.request` that are compared."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What became of a message on one side."""

    fate: str
    """``ran``, ``held``, ``expired``, ``unknown``, ``refused``, or `UNTOLD`."""
    details: Mapping[str, Any] = field(default_factory=dict)
    settled: str | None = None
    """``ack``, ``reject``, ``crash`` for a worker that ended, None for a message that is kept."""
    field: str = ""
    """Ours: the field that is complained of."""
    why: str = ""
    """For people: the complaint."""


@dataclass(frozen=True)
class Difference:
    """One point on which the sides disagree."""

    point: str
    ours: Any
    theirs: Any

    def __str__(self) -> str:
        return f"{self.point}: ours {self.ours!r}, theirs {self.theirs!r}"


def _plain(value: Any) -> Any:
    """Bring a value into the form in which it comes over the pipe; the wire cannot tell a tuple from a list."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _over_the_pipe(value: Any) -> Any:
    return typed_values.decode(json.loads(json.dumps(typed_values.encode(value))))


def _moment(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


def _ran(seen: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = _plain(dict(seen))
    # Absent, null and empty mean the same in these, and one name means a list of it.
    found["timelimit"] = [limit or None for limit in found["timelimit"] or [None, None]]
    found["stamps"] = found["stamps"] or {}
    found["headers"] = found["headers"] or {}
    names = found["stamped_headers"] or []
    found["stamped_headers"] = [names] if isinstance(names, str) else names
    found["shadow"] = found["shadow"] or None
    return found


def theirs(seen: Mapping[str, Any]) -> Seen:
    """Read what the driver tells."""
    settled = "crash" if "crashed" in seen else seen.get("settled")
    why = str(seen.get("crashed") or seen.get("refused") or "")
    received = seen.get("received", {})
    times: dict[str, Any] = {}
    if received:
        times = {
            "shown as": received["name"],
            "id": received["id"],
            "eta as a moment": _moment(received["eta"]),
            "expires as a moment": _moment(received["expires"]),
        }
    if "ran" in seen:
        ran = _ran(typed_values.decode(seen["ran"]))
        return Seen(fate="ran", details={**times, **ran}, settled=settled, why=why)
    if "unknown" in seen:
        return Seen(fate="unknown", details={"task": seen["unknown"]}, settled=settled, why=why)
    if "revoked" in seen:
        return Seen(fate="expired", settled=settled, why=why)
    if received and settled is None:
        return Seen(fate="held", details=times, settled=settled)
    return Seen(fate="refused", settled=settled, why=why)


class Ours:
    """Our worker, as far as one message sees it: read, decided, run in place."""

    def __init__(self) -> None:
        self._seen: dict[str, Any] = {}
        self.app = Celery("fuzz", broker="memory://", backend="disabled://", set_as_current=False)
        for name in NAMES:
            self.app.register_task(self._probe(name))
        self.app.finalize()
        self._execute = Executor(self.app, "fuzz@localhost", accept=ACCEPT)

    def _probe(self, name: str) -> Task:
        outer = self

        class Probe(Task):
            typing = False

            def run(self, /, *args: Any, **kwargs: Any) -> None:
                seen = {each: getattr(self.request, each, None) for each in FIELDS}
                seen |= {"args given": list(args), "kwargs given": kwargs}
                outer._seen = _over_the_pipe(seen)
                raise Ignore

        named: type[Probe] = type(name, (Probe,), {"name": name})
        return named()

    def deliver(self, message: Message) -> Seen:
        """Hand over one message; return what became of it."""
        request = read_delivery(Delivery("tag", message), 1, self.app.tasks, ACCEPT)
        if isinstance(request.broken, Unreadable):
            return self._refused(request, request.broken.error, has_id=request.broken.has_id)
        headers, now = request.headers, datetime.now(UTC)
        decision = decide(headers, known=self.app.tasks, revoked=frozenset(), now=now)
        if isinstance(decision, Unknown):
            settled = _settled(request, Input.UNKNOWN, Input.SETTLED)
            return Seen(fate="unknown", details={"task": headers.task}, settled=settled)
        if isinstance(decision, Discard):
            settled = _settled(request, Input.DISCARD, Input.SETTLED)
            return Seen(fate=decision.reason, settled=settled)
        try:
            # Celery reads the body of a held task when it arrives, we when it is due: what is compared is whether it
            # can be read.
            wire.decode(message, accept=ACCEPT)
        except RemoteProtocolError as error:
            return self._refused(request, error, has_id=False)
        if headers.task not in NAMES:
            return Seen(fate=UNTOLD)
        times = {
            "shown as": request.name,
            "id": headers.id,
            "eta as a moment": _moment(headers.eta_at),
            "expires as a moment": _moment(headers.expires_at),
        }
        if isinstance(decision, Hold):
            return Seen(fate="held", details=times)
        return self._run(request, times)

    def _run(self, request: Request, times: Mapping[str, Any]) -> Seen:
        inputs = [Input.RUN, Input.SLOT]
        self._seen = {}
        outcome = self._execute.run(request.payload(), lambda: inputs.append(Input.ACCEPTED))
        if isinstance(outcome, Refused):
            inputs.append(Input.DROPPED if outcome.hint is Hint.DROP else Input.UNREADABLE)
            return Seen(
                fate="refused",
                settled=_settled(request, *inputs),
                field=outcome.field,
                why=outcome.text,
            )
        settled = _settled(request, *inputs, Input.COMPLETED)
        return Seen(fate="ran", details={**times, **_ran(self._seen)}, settled=settled)

    def _refused(self, request: Request, error: RemoteProtocolError, *, has_id: bool) -> Seen:
        if has_id:
            inputs = [Input.INVALID, Input.SETTLED]
        else:
            inputs = [Input.DROPPED if error.hint is Hint.DROP else Input.UNREADABLE]
        return Seen(
            fate="refused", settled=_settled(request, *inputs), field=error.field, why=str(error)
        )


def _settled(request: Request, *inputs: Input) -> str | None:
    """Ask the worker's table how a message is settled on its way."""
    state, answer = RequestState(), None
    for each in inputs:
        state, actions = step(state, each, request.policy)
        for action in actions:
            if isinstance(action, Ack):
                answer = "ack"
            elif isinstance(action, Reject):
                answer = "requeue" if action.requeue else "reject"
    return answer


def differences(ours: Seen, theirs: Seen) -> list[Difference]:
    """List every point on which two sides disagree."""
    if ours.fate != theirs.fate:
        return [Difference("fate", ours.fate, theirs.fate)]
    names = [*ours.details, *(name for name in theirs.details if name not in ours.details)]
    found = [
        Difference(name, ours.details.get(name), theirs.details.get(name))
        for name in names
        if not _same(ours.details.get(name), theirs.details.get(name))
    ]
    if ours.settled != theirs.settled:
        found.append(Difference("settled", ours.settled, theirs.settled))
    return found


def _same(ours: Any, theirs: Any) -> bool:
    """Compare as JSON texts do: 1, 1.0 and true are three values, NaN is itself."""
    return repr(ours) == repr(theirs)
