"""The service that keeps the side connection: control requests in, replies and events out.

What it guarantees: trouble here stays here. A lost side connection is made anew, with growing pauses, while tasks go
on; a request that cannot be read, run or answered costs a log line.

Spec: control-and-events#1.3, control-and-events#2.3, control-and-events#2.5
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

from celeriac.brokers.base import (
    BrokerAccessError,
    BrokerError,
    Delivery,
    PublishError,
    SideChannel,
    SideChannelUnsupportedError,
)
from celeriac.events.sender import EventSender
from celeriac.worker.gossip import Gossip
from celeriac.worker.heart import Heart
from celeriac.worker.mingle import Mingle
from celeriac.worker.remote.panel import Dispatcher
from celeriac.worker.service import Service
from celeriac_protocol.message import Message

__all__ = ["SideService"]

logger = logging.getLogger("celery.worker.consumer")

_FETCH_LIMIT: Final = 32
"""Requests served in one turn; tasks come between."""
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 30.0


class SideService(Service):
    """Lives in the worker's loop.

    Args:
        channel: Not yet connected.
        is_wanted: Tells whether the tasks' connection is up: without it there is no point in trying this one.
        dispatcher: Runs requests; `None`: remote control is off.
        sender: Collects events; `None`: none are sent.
        heart: Makes the worker's own events, if they are wanted.
        mingle: Asks the neighbours at each connection, if that is wanted.
        gossip: Hears the other workers' events, if that is wanted.
    """

    def __init__(
        self,
        channel: SideChannel,
        is_wanted: Callable[[], bool],
        *,
        dispatcher: Dispatcher | None,
        sender: EventSender | None,
        heart: Heart | None,
        mingle: Mingle | None = None,
        gossip: Gossip | None = None,
    ) -> None:
        self.channel = channel
        self.dispatcher = dispatcher
        self.sender = sender
        self.heart = heart
        self.mingle = mingle
        self.gossip = gossip
        self.connected = False
        self.stopping = False
        self._is_wanted = is_wanted
        self._is_over = False
        self._filenos: tuple[int, ...] = ()
        self._connect_at = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._poll_at: float | None = None
        self._keep_alive_at: float | None = None

    # -- the loop's side --------------------------------------------------------------------------

    def filenos(self) -> Iterable[int]:
        """The connection's socket."""
        return self._filenos

    def due_in_s(self, monotonic: float) -> float | None:
        """Until the next heartbeat, poll or attempt to connect."""
        if self._is_over:
            return None
        if not self.connected:
            return max(0.0, self._connect_at - monotonic) if self._is_wanted() else None
        if self.sender is not None and not self.sender.is_empty:
            return 0.0
        times = [at for at in (self._poll_at, self._keep_alive_at) if at is not None]
        due = [at - monotonic for at in times]
        if self.heart is not None and (beat := self.heart.due_in_s(monotonic)) is not None:
            due.append(beat)
        if self.mingle is not None and self.mingle.ends_at is not None:
            due.append(self.mingle.ends_at - monotonic)
        if self.gossip is not None:
            due.append(self.gossip.due_in_s(monotonic))
        return max(0.0, min(due)) if due else None

    def serve(self, ready: set[int], monotonic: float) -> None:
        """Connect, hear, answer, send: whatever is due."""
        if self._is_over:
            return
        if not self.connected:
            if self.stopping or monotonic < self._connect_at or not self._is_wanted():
                return
            if not self._connect(monotonic):
                return
            if self.mingle is not None and not self._mingle(self.mingle, monotonic):
                return
        try:
            self._serve(ready, monotonic)
        except BrokerError as exc:
            self._on_lost(exc, monotonic)

    def stop(self) -> None:
        """Say goodbye and hear no more; events still go out."""
        self.stopping = True
        if self.heart is not None and self.connected:
            self.heart.stop()
            self._flush_once()

    def close(self) -> None:
        """Send what is left, best effort, and leave."""
        if self.connected:
            self._flush_once()
        self._is_over = True
        self.connected = False
        self._filenos = ()
        self.channel.disconnect()

    # -- connection -------------------------------------------------------------------------------

    def _connect(self, monotonic: float) -> bool:
        try:
            self.channel.connect()
            self._filenos = tuple(self.channel.filenos())
        except SideChannelUnsupportedError as exc:
            logger.info("No remote control and no events: %s", exc)
            self._is_over = True
        except BrokerAccessError as exc:
            logger.error("Remote control and events are refused: %s", exc)
            self.channel.disconnect()
            self._pause_s = _LONGEST_PAUSE_S
            self._connect_at = monotonic + self._pause_s
        except BrokerError as exc:
            logger.warning("No connection for remote control and events: %s", exc)
            self._retry_later(monotonic)
        else:
            self.connected = True
            self._keep_alive_at = monotonic
            self._poll_at = None if self.channel.poll_interval_s is None else monotonic
            if self.heart is not None:
                self.heart.start(monotonic)
        return self.connected

    def _mingle(self, mingle: Mingle, monotonic: float) -> bool:
        try:
            mingle.start(self.channel, monotonic)
        except BrokerError as exc:
            self._on_lost(exc, monotonic)
        else:
            if self.channel.poll_interval_s is not None:
                self._poll_at = monotonic
        return self.connected

    def _retry_later(self, monotonic: float) -> None:
        self.channel.disconnect()
        self._connect_at = monotonic + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def _on_lost(self, exc: BrokerError, monotonic: float) -> None:
        logger.warning("The connection for remote control and events is lost: %s", exc)
        self.connected = False
        self._filenos = ()
        if self.heart is not None:
            self.heart.pause()
        if self.mingle is not None:
            self.mingle.pause()
        if self.gossip is not None:
            self.gossip.pause()
        self._retry_later(monotonic)

    # -- in and out -------------------------------------------------------------------------------

    def _serve(self, ready: set[int], monotonic: float) -> None:
        is_polled = self._poll_at is not None and monotonic >= self._poll_at
        if is_polled or not ready.isdisjoint(self._filenos):
            self._hear(monotonic)
        if self._keep_alive_at is not None and monotonic >= self._keep_alive_at:
            due_in_s = self.channel.heartbeat()
            self._keep_alive_at = None if due_in_s is None else monotonic + due_in_s
            self._pause_s = _FIRST_PAUSE_S
        if self.heart is not None:
            self.heart.beat_when_due(monotonic)
        if self.mingle is not None:
            self.mingle.end_when_due(self.channel, monotonic)
        if self.gossip is not None:
            self.gossip.tick(monotonic)
        if self.sender is not None and not self.sender.is_empty:
            self.sender.flush(self._publish)
            if self._poll_at is None:
                self._poll_at = (
                    monotonic  # the same: requests may have come with the broker's answers
                )

    def _hear(self, monotonic: float) -> None:
        requests = self.channel.fetch(_FETCH_LIMIT)
        self._filenos = tuple(self.channel.filenos())
        interval_s = self.channel.poll_interval_s
        if requests:
            # Declaring and publishing replies may have read more off the socket.
            self._poll_at = monotonic
        else:
            self._poll_at = None if interval_s is None else monotonic + interval_s
        if self.stopping:
            return
        for request in requests:
            queue = request.message.delivery_info.queue
            if queue is not None and queue == self.channel.event_queue:
                if self.gossip is not None:
                    self.gossip.hear(request, monotonic)
            elif queue is not None and queue == self.channel.reply_queue:
                if self.mingle is not None:
                    self.mingle.hear(request)
            else:
                self._answer(request)

    def _answer(self, request: Delivery) -> None:
        answer = None if self.dispatcher is None else self.dispatcher.handle(request)
        if answer is None:
            return
        try:
            self.channel.reply(
                answer.message, exchange=answer.exchange, routing_key=answer.routing_key
            )
        except PublishError as exc:
            logger.error("A remote-control reply was refused: %s", exc)

    def _publish(self, message: Message, routing_key: str) -> None:
        self.channel.publish_event(message, routing_key=routing_key)

    def _flush_once(self) -> None:
        if self.sender is None:
            return
        try:
            self.sender.flush(self._publish)
        except BrokerError as exc:
            logger.warning("The last events could not be sent: %s", exc)
            self.connected = False
            self._filenos = ()
            self.channel.disconnect()
