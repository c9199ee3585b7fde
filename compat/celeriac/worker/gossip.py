"""What this worker hears of the others: who is there, how far their clocks are, and elections among them.

Spec: control-and-events#3.1, control-and-events#3.3, control-and-events#3.4
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from celeriac.brokers.base import Delivery
from celeriac.events.sender import EventSender
from celeriac.worker.heart import DEFAULT_INTERVAL_S
from celeriac_protocol.errors import RemoteProtocolError
from celeriac_protocol.events import Event, decode_events

__all__ = ["Gossip", "Handler"]

logger = logging.getLogger("celery.worker.consumer.gossip")

Handler = Callable[[Any], None]
"""Does what an election was about; called with its action."""

_SWEEP_S: Final = 5.0
_MOST_MEMBERS: Final = 10_000
_MOST_ELECTIONS: Final = 1_000
_LATE_CANDIDATES_S: Final = 0.3
"""When all have acknowledged somebody, others may still be about to stand: their request came on another queue."""
_ELECTION_S: Final = 5.0
"""Acknowledgements of somebody who has just left never come."""
_FORGET_S: Final = 60.0


@dataclass
class _Member:
    seen_at: float
    freq: float = DEFAULT_INTERVAL_S


@dataclass
class _Election:
    forget_at: float
    topic: str = ""
    action: Any = None
    is_ours: bool = False
    """This worker was asked to take part, so it has to know who won."""
    acks: int = 0
    decide_at: float | None = None
    candidates: set[tuple[int, str]] = field(default_factory=set)
    """Clock and name; the smallest wins."""


class Gossip:
    """Hears worker events, its own included.

    Args:
        sender: Where its own events go; its clock follows the others'.
        accept: Content types an event may have.
        handlers: What the winner of an election does, by topic.
    """

    def __init__(
        self, sender: EventSender, *, accept: frozenset[str], handlers: dict[str, Handler]
    ) -> None:
        self.sender = sender
        self.handlers = handlers
        self.members: dict[str, _Member] = {}
        """The other workers that live, by node name."""
        self._accept = accept
        self._elections: dict[str, _Election] = {}
        self._sweep_at = 0.0
        self._name = f"{sender.hostname}.{os.getpid()}"

    # -- members ----------------------------------------------------------------------------------

    def hear(self, delivery: Delivery, monotonic: float) -> None:
        """Take in one message; whatever is wrong with it costs a log line."""
        try:
            if delivery.broken is not None:
                raise delivery.broken
            batch = decode_events(delivery.message, accept=self._accept)
        except RemoteProtocolError as exc:
            logger.warning("gossip: an event cannot be read: %s", exc)
            return
        for event in batch.events:
            if event.group == "worker":
                self._take(event, monotonic)

    def _take(self, event: Event, monotonic: float) -> None:
        if event.hostname == self.sender.hostname:
            self.sender.clock.forward()
        else:
            self.sender.clock.adjust(event.clock)
            self._note_member(event, monotonic)
        if event.type == "worker-elect":
            self._on_candidate(event, monotonic)
        elif event.type == "worker-elect-ack":
            self._on_ack(str(event.fields["id"]), monotonic)

    def _note_member(self, event: Event, monotonic: float) -> None:
        name = event.hostname
        if event.type == "worker-offline":
            if self.members.pop(name, None) is not None:
                logger.debug("%s left", name)
            return
        member = self.members.get(name)
        if member is None:
            if len(self.members) >= _MOST_MEMBERS:
                return
            logger.debug("%s joined the party", name)
            member = self.members[name] = _Member(monotonic)
        member.seen_at = monotonic
        freq = event.fields.get("freq")
        if isinstance(freq, int | float) and freq > 0:
            member.freq = float(freq)

    # -- time -------------------------------------------------------------------------------------

    def due_in_s(self, monotonic: float) -> float:
        """Return the seconds until `tick` has something to do."""
        decisions = [e.decide_at for e in self._elections.values() if e.decide_at is not None]
        return max(0.0, min([self._sweep_at, *decisions]) - monotonic)

    def tick(self, monotonic: float) -> None:
        """Decide elections that are due; drop workers that have fallen silent."""
        for election_id, election in list(self._elections.items()):
            if election.decide_at is not None and monotonic >= election.decide_at:
                self._decide(election_id, election)
        if monotonic < self._sweep_at:
            return
        self._sweep_at = monotonic + _SWEEP_S
        for name, member in list(self.members.items()):
            if monotonic > member.seen_at + 2 * member.freq:
                logger.info("missed heartbeat from %s", name)
                del self.members[name]
        for election_id, election in list(self._elections.items()):
            if monotonic > election.forget_at:
                del self._elections[election_id]

    def pause(self) -> None:
        """The connection is gone: nobody is heard, so nobody is missed."""
        self.members.clear()
        self._elections.clear()

    # -- elections --------------------------------------------------------------------------------

    def stand(self, election_id: str, topic: str, action: Any, monotonic: float) -> None:
        """Be a candidate."""
        election = self._election(election_id, monotonic)
        if election is None:
            logger.error("Too many elections at once: %r is not taken part in", election_id)
            return
        election.is_ours, election.topic, election.action = True, topic, action
        election.decide_at = monotonic + _ELECTION_S
        self.sender.send("worker-elect", id=election_id, topic=topic, action=action, cver=1)

    def _election(self, election_id: str, monotonic: float) -> _Election | None:
        found = self._elections.get(election_id)
        if found is None and len(self._elections) < _MOST_ELECTIONS:
            found = self._elections[election_id] = _Election(monotonic + _FORGET_S)
        return found

    def _on_candidate(self, event: Event, monotonic: float) -> None:
        election_id = str(event.fields["id"])
        election = self._election(election_id, monotonic)
        if election is None or event.clock is None:
            return
        election.candidates.add((event.clock, f"{event.hostname}.{event.pid}"))
        self.sender.send("worker-elect-ack", id=election_id)

    def _on_ack(self, election_id: str, monotonic: float) -> None:
        election = self._elections.get(election_id)
        if election is None or not election.is_ours:
            return
        election.acks += 1
        if election.acks >= max(1, len(self.members)) and election.decide_at is not None:
            election.decide_at = min(election.decide_at, monotonic + _LATE_CANDIDATES_S)

    def _decide(self, election_id: str, election: _Election) -> None:
        election.decide_at = None
        if not election.candidates:
            logger.warning("Nobody was elected for %r", election_id)
            return
        _, winner = min(election.candidates)
        if winner != self._name:
            logger.info("node %s elected for %r", winner, election_id)
            return
        logger.info("I won the election %r", election_id)
        handler = self.handlers.get(election.topic)
        if handler is None:
            logger.error("Nothing is known to do about the topic %r", election.topic)
            return
        try:
            handler(election.action)
        except Exception:
            # The action is somebody else's: it must not end the worker.
            logger.exception("What the election %r was about failed", election_id)
