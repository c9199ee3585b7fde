"""The client's side of remote control over kombu: sends a request, collects the replies.

kombu knows how. What it does not know in all of its versions is how long-lived and whose the queues are.

Spec: control-and-events#1.1, control-and-events#1.4
"""

from __future__ import annotations

from typing import Any

from kombu.entity import Queue as _Queue
from kombu.pidbox import Mailbox as _Mailbox

__all__ = ["ControlMailbox"]

Queue: Any = _Queue
_Base: Any = _Mailbox


class ControlMailbox(_Base):  # type: ignore[misc]
    """A `kombu.pidbox.Mailbox` whose queues are declared as Celery 5.7 declares them.

    Args:
        namespace: `control_exchange`.
        type: ``fanout`` for remote control.
        connection: Usually bound later, by calling the mailbox with one.
        clock: Logical clock of the requests.
        accept: Content types of replies.
        serializer: Of requests.
        producer_pool: Pool of `kombu.Producer`, or a promise of one.
        queue_ttl: Seconds a message may wait.
        queue_expires: Seconds an unused queue lives.
        queue_durable: Whether queues outlive the broker.
        queue_exclusive: Whether queues belong to one connection.
        reply_queue_ttl: The same as `queue_ttl`, for replies.
        reply_queue_expires: The same as `queue_expires`, for replies.
    """

    def __init__(
        self,
        namespace: str,
        type: str = "direct",
        connection: Any = None,
        clock: Any = None,
        accept: Any = None,
        serializer: str | None = None,
        producer_pool: Any = None,
        queue_ttl: float | None = None,
        queue_expires: float | None = None,
        queue_durable: bool = False,
        queue_exclusive: bool = True,
        reply_queue_ttl: float | None = None,
        reply_queue_expires: float | None = 10.0,
    ) -> None:
        super().__init__(
            namespace,
            type=type,
            connection=connection,
            clock=clock,
            accept=accept,
            serializer=serializer,
            producer_pool=producer_pool,
            queue_ttl=queue_ttl,
            queue_expires=queue_expires,
            reply_queue_ttl=reply_queue_ttl,
            reply_queue_expires=reply_queue_expires,
        )
        self.queue_durable = queue_durable
        self.queue_exclusive = queue_exclusive

    def get_reply_queue(self) -> Any:
        """Return the queue for the replies to this process and thread."""
        oid = self.oid
        return self._queue(
            f"{oid}.{self.reply_exchange.name}",
            exchange=self.reply_exchange,
            routing_key=oid,
            expires=self.reply_queue_expires,
            message_ttl=self.reply_queue_ttl,
        )

    def get_queue(self, hostname: str) -> Any:
        """Return the queue in which a node hears requests."""
        return self._queue(
            f"{hostname}.{self.namespace}.pidbox",
            exchange=self.exchange,
            expires=self.queue_expires,
            message_ttl=self.queue_ttl,
        )

    def _queue(self, name: str, **options: Any) -> Any:
        return Queue(
            name,
            durable=self.queue_durable,
            exclusive=self.queue_exclusive,
            auto_delete=not self.queue_durable,
            **options,
        )
