"""Asking the neighbours, at every connection, what this worker missed: revoked ids and the clock.

The worker does not wait for the answers before it consumes, as Celery does for a second: they are taken over as they
come, usually within milliseconds.

Spec: control-and-events#3.2
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from typing import Any, Final

from celeriac.brokers.base import Delivery, SideChannel
from celeriac_protocol.control import (
    Command,
    ReplyTo,
    decode_reply,
    encode_command,
    read_revoked,
)
from celeriac_protocol.errors import RemoteProtocolError
from celeriac_protocol.lamport import LamportClock

__all__ = ["ANSWERS_WITHIN_S", "Mingle"]

logger = logging.getLogger("celery.worker.consumer.mingle")

ANSWERS_WITHIN_S: Final = 1.0


class Mingle:
    """One worker's questions.

    Args:
        hostname: Node name.
        clock: The app's logical clock.
        revoked: Returns the ids this worker knows to be revoked, oldest first.
        learn: Told of revoked ids.
        accept: Content types an answer may have.
        namespace: `control_exchange`.
    """

    def __init__(
        self,
        hostname: str,
        clock: LamportClock,
        *,
        revoked: Callable[[], list[str]],
        learn: Callable[[tuple[str, ...]], None],
        accept: frozenset[str],
        namespace: str = "celery",
    ) -> None:
        self.hostname = hostname
        self.clock = clock
        self.ends_at: float | None = None
        """Monotonic time until which answers are heard; `None`: nothing was asked."""
        self._revoked = revoked
        self._learn = learn
        self._accept = accept
        self._exchange = f"reply.{namespace}.pidbox"
        self._ticket = ""
        self._answers: list[tuple[str, dict[str, Any]]] = []

    def start(self, channel: SideChannel, monotonic: float) -> None:
        """Ask. Raises what the channel raises."""
        self._ticket, oid = str(uuid.uuid4()), str(uuid.uuid4())
        self._answers.clear()
        request = Command(
            method="hello",
            arguments={"from_node": self.hostname, "revoked": self._revoked()},
            ticket=self._ticket,
            reply_to=ReplyTo(self._exchange, oid),
            clock=0,
            expires=0,
        )
        if channel.ask(encode_command(request), oid):
            logger.info("mingle: searching for neighbors")
            self.ends_at = monotonic + ANSWERS_WITHIN_S

    def hear(self, delivery: Delivery) -> None:
        """Take over what one neighbour knows."""
        try:
            if delivery.broken is not None:
                raise delivery.broken
            reply = decode_reply(delivery.message, accept=self._accept)
            if reply.ticket != self._ticket or reply.node == self.hostname:
                return
            # Neighbours of other versions may answer null, or an error.
            if not isinstance(reply.value, dict) or "error" in reply.value:
                return
            revoked = read_revoked(reply.value.get("revoked"))
        except RemoteProtocolError as exc:
            logger.warning("mingle: an answer cannot be read: %s", exc)
            return
        self.clock.adjust(reply.value.get("clock"))
        self._learn(revoked)
        self._answers.append((reply.node, reply.value))

    def end_when_due(self, channel: SideChannel, monotonic: float) -> None:
        """Stop listening when time is up."""
        if self.ends_at is None or monotonic < self.ends_at:
            return
        self.ends_at = None
        channel.end_replies()
        if not self._answers:
            logger.info("mingle: all alone")
            return
        logger.info("mingle: sync with %s nodes", len(self._answers))
        logger.info("mingle: sync complete")

    def pause(self) -> None:
        """The connection is gone."""
        self.ends_at = None
