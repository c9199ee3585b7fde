"""Task events: what the loop tells about requests, as monitors want to hear it. Spec: control-and-events#2.4."""

from __future__ import annotations

from celeriac.app.outcome import Failed, Outcome, Rejected, Retrying, Succeeded
from celeriac.events.sender import EventSender
from celeriac.worker.delivery import Hooks, Request

__all__ = ["TaskEvents"]


class TaskEvents(Hooks):
    """The loop's observer while task events are on.

    Each event is sent once and with the true exception, where Celery 5.7 sends some twice or with a stand-in.
    """

    def __init__(self, sender: EventSender) -> None:
        self.sender = sender

    def _send(self, kind: str, request: Request, **fields: object) -> None:
        # An unknown task has no attributes to ask, and its caller wants to know all the same.
        if request.task is None or request.task.send_events:
            self.sender.send(kind, uuid=request.id, **fields)

    def received(self, request: Request) -> None:
        """Before it waits for its eta."""
        headers = request.headers
        self._send(
            "task-received",
            request,
            name=request.name,
            args=headers.argsrepr,
            kwargs=headers.kwargsrepr,
            root_id=headers.root_id,
            parent_id=headers.parent_id,
            retries=headers.retries,
            eta=headers.eta,
            expires=headers.expires,
        )

    def accepted(self, request: Request) -> None:
        """It starts."""
        self._send("task-started", request)

    def finished(self, request: Request, outcome: Outcome) -> None:
        """It ended by itself."""
        if isinstance(outcome, Succeeded):
            self._send(
                "task-succeeded", request, result=outcome.result_repr, runtime=outcome.runtime_s
            )
        elif isinstance(outcome, Failed):
            self._send(
                "task-failed",
                request,
                exception=outcome.exception_repr,
                traceback=outcome.traceback,
            )
        elif isinstance(outcome, Retrying):
            self._send(
                "task-retried",
                request,
                exception=outcome.exception_repr,
                traceback=outcome.traceback,
            )
        elif isinstance(outcome, Rejected):
            self._send("task-rejected", request, requeue=outcome.requeue)

    def failed(self, request: Request, exc: Exception) -> None:
        """It failed and could not tell."""
        # Some of Celery's exceptions show a sentence instead of themselves.
        self._send("task-failed", request, exception=BaseException.__repr__(exc))

    def given_back(self, request: Request) -> None:
        """Its message was rejected, to be delivered again."""
        self._send("task-rejected", request, requeue=True)

    def revoked(self, request: Request, *, expired: bool) -> None:
        """It will not run."""
        self._send("task-revoked", request, terminated=False, signum=None, expired=expired)

    def terminated(self, request: Request, signum: int) -> None:
        """It ran, and was ended."""
        self._send("task-revoked", request, terminated=True, signum=signum, expired=False)
