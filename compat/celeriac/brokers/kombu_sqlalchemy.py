"""kombu's SQLAlchemy transport, guarded.

Items are read as text and acknowledged by deleting their row; kombu keeps rows for ever. Several workers may start on
an empty database at once.

Spec: transports#3.2, transports#3.3
"""

from __future__ import annotations

import warnings
from typing import Any

from kombu.transport import sqlalchemy as kombu_sqlalchemy
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import configure_mappers

from celeriac.brokers.kombu_consumer import Consumer
from celeriac.brokers.kombu_virtual import Item, PolledConsumer, TakingChannel, redelivered

__all__ = ["GuardedSqlalchemyChannel", "GuardedSqlalchemyTransport"]

_base: Any = kombu_sqlalchemy

_OWN_OPTIONS = ("polling_interval", "confirm_publish")
"""Not for `create_engine`."""


class GuardedSqlalchemyChannel(_base.Channel, TakingChannel):  # type: ignore[misc]
    """Takes rows as they are."""

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        with warnings.catch_warnings():
            # kombu's model asks for a loader strategy that SQLAlchemy 2.1 calls deprecated.
            warnings.filterwarnings("ignore", message=".*noload", category=DeprecationWarning)
            configure_mappers()

    def _engine_from_config(self) -> Any:
        options = self.connection.client.transport_options
        own = {name: options.pop(name) for name in _OWN_OPTIONS if name in options}
        try:
            return super()._engine_from_config()
        finally:
            options.update(own)

    def _get_or_create(self, queue: str) -> Any:
        try:
            return super()._get_or_create(queue)
        except IntegrityError:
            self.session.rollback()  # another process has just created it
            return super()._get_or_create(queue)

    def take(self, queue: str, limit: int) -> list[Item]:
        """Hide up to `limit` visible rows and return their payloads."""
        source = self._get_or_create(queue)
        session, row = self.session, self.message_cls
        session.commit()
        try:
            if session.bind.name == "sqlite":
                session.execute(text("BEGIN IMMEDIATE TRANSACTION"))
            rows = (
                session.query(row)
                .with_for_update(skip_locked=True)
                .filter(row.queue_id == source.id)
                .filter(row.visible.is_(True))
                .order_by(row.sent_at, row.id)
                .limit(limit)
                .all()
            )
            items = [Item(found.id, _as_bytes(found.payload)) for found in rows]
            for found in rows:
                found.visible = False
            session.commit()
        except BaseException:
            session.rollback()
            raise
        return items

    def drop(self, queue: str, item: Item) -> None:
        """Delete the row."""
        row = self.message_cls
        self._change(lambda found: found.delete(synchronize_session=False), row.id == item.handle)

    def give_back(self, queue: str, item: Item) -> None:
        """Make the row visible again."""
        payload = redelivered(item.raw).decode("utf-8", "surrogateescape")
        values = {"visible": True, "sent_at": None, "payload": payload}
        row = self.message_cls
        self._change(
            lambda found: found.update(values, synchronize_session=False), row.id == item.handle
        )

    def _change(self, change: Any, condition: Any) -> None:
        try:
            change(self.session.query(self.message_cls).filter(condition))
            self.session.commit()
        except BaseException:
            self.session.rollback()
            raise

    def close(self) -> None:
        """Close the channel and its session."""
        session: Any = self._session  # type: ignore[has-type]
        self._session = None
        if session is not None:
            session.close()
        super().close()


def _as_bytes(payload: Any) -> bytes:
    return (
        payload if isinstance(payload, bytes) else str(payload).encode("utf-8", "surrogateescape")
    )


class GuardedSqlalchemyTransport(_base.Transport):  # type: ignore[misc]
    """kombu's SQLAlchemy transport with guarded consuming."""

    Channel = GuardedSqlalchemyChannel
    connection_errors = (*_base.Transport.connection_errors, OperationalError)

    def make_consumer(self, connection: Any, memory: dict[str, Any]) -> Consumer:
        """Return the consumer for an open connection."""
        return PolledConsumer(connection)
