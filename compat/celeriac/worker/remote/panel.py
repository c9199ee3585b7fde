"""One remote-control request in, at most one reply out; nothing that arrives here raises.

Spec: control-and-events#1.3, control-and-events#1.4
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from celeriac.brokers.base import Delivery
from celeriac.worker.remote.registry import NO_REPLY, Panel, Registry
from celeriac.worker.remote.state import ControlState
from celeriac_protocol.control import Command, Reply, decode_command, encode_reply, error
from celeriac_protocol.errors import EncodeError, Reason, RemoteProtocolError
from celeriac_protocol.lamport import LamportClock
from celeriac_protocol.message import Message

__all__ = ["Answer", "Dispatcher"]

logger = logging.getLogger("celery.worker.pidbox")


class Answer(NamedTuple):
    """A reply and where it goes."""

    message: Message
    exchange: str
    routing_key: str


class Dispatcher:
    """Runs the commands that are meant for this worker.

    Args:
        state: Handed to every command.
        accept: Content types a request may have.
        registry: The commands.
    """

    def __init__(
        self, state: ControlState, *, accept: frozenset[str], registry: Registry = Panel
    ) -> None:
        self.state = state
        self.accept = accept
        self.registry = registry
        self.clock = LamportClock()
        """The mailbox's own; the app's clock knows nothing of clients."""

    def handle(self, delivery: Delivery) -> Answer | None:
        """Do what one message asks for; return the reply if one is wanted and possible."""
        command = self._read(delivery)
        if command is None:
            return None
        self.state.app.clock.forward()
        self.clock.adjust(command.clock or 0)
        try:
            if not command.is_for(self.state.hostname):
                return None
        except RemoteProtocolError as exc:
            logger.error("Control command error: %r", exc)
            return None
        logger.debug(
            "pidbox received method %s(%s) [reply_to:%s ticket:%s]",
            command.method, command.arguments, command.reply_to, command.ticket,
        )  # fmt: skip
        value = self.run(command.method, dict(command.arguments))
        if command.reply_to is None or value is NO_REPLY:
            return None
        return Answer(self._encode(command, value), *command.reply_to)

    def _read(self, delivery: Delivery) -> Command | None:
        try:
            if delivery.broken is not None:
                raise delivery.broken
            return decode_command(delivery.message, accept=self.accept)
        except RemoteProtocolError as exc:
            if exc.reason is Reason.UNDECODABLE_BODY:
                logger.critical("Can't decode message body: %s", exc)
            else:
                logger.error("Control command error: %r", exc)
            return None

    def run(self, method: str, arguments: dict[str, Any]) -> Any:
        """Call a command by name or alias; what it raises becomes its reply."""
        try:
            return self.registry.data[method](self.state, **arguments)
        except Exception as exc:
            logger.exception("pidbox command error: %s", _repr(exc))
            return error(_repr(exc))

    def _encode(self, command: Command, value: Any) -> Message:
        def message(answer: Any) -> Message:
            return encode_reply(
                Reply(
                    node=self.state.hostname,
                    value=answer,
                    ticket=command.ticket,
                    clock=self.clock.forward(),
                )
            )

        try:
            return message(value)
        except EncodeError as exc:
            # Silence would cost the client its whole time-out.
            logger.error("The reply to %s cannot be written: %s", command.method, exc)
            return message(error(exc))


def _repr(exc: BaseException) -> str:
    try:
        return repr(exc)
    except Exception as broken:  # noqa: BLE001 - whatever a foreign __repr__ raises
        return f"<{type(exc).__name__}: its repr raised {type(broken).__name__}>"
