"""Build what a worker does beside tasks, from settings and options: control, events, mingle, gossip.

Spec: control-and-events#1.1, control-and-events#2, control-and-events#3
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.brokers.base import EventQueue, Mailbox, SideChannel
from celeriac.brokers.kombu_side import KombuSideChannel
from celeriac.events.sender import EventSender
from celeriac.exceptions import ImproperlyConfigured
from celeriac.worker.gossip import Gossip
from celeriac.worker.heart import DEFAULT_INTERVAL_S, Heart
from celeriac.worker.loop import Loop
from celeriac.worker.mingle import Mingle
from celeriac.worker.remote.panel import Dispatcher
from celeriac.worker.remote.state import ControlState
from celeriac.worker.request import Phase
from celeriac.worker.side import SideService

if TYPE_CHECKING:
    from celeriac.worker.worker import Worker

__all__ = ["make_side_channel", "make_side_service"]

_GOSSIP_TTL_S = 5.0


def make_side_channel(worker: Worker) -> SideChannel:
    """Return the worker's second connection, not yet open.

    Raises:
        ImproperlyConfigured: Settings that exclude each other.
    """
    conf = worker.app.conf
    mailbox = None
    if conf.worker_enable_remote_control:
        if conf.control_queue_durable and conf.control_queue_exclusive:
            raise ImproperlyConfigured(
                "control_queue_durable and control_queue_exclusive cannot both be true: "
                "an exclusive queue goes with its connection"
            )
        mailbox = Mailbox(
            node=worker.hostname,
            namespace=conf.control_exchange,
            durable=conf.control_queue_durable,
            exclusive=conf.control_queue_exclusive,
            expires_s=conf.control_queue_expires,
            ttl_s=conf.control_queue_ttl,
        )
    return KombuSideChannel(
        worker.app.broker_url_for(conf.broker_read_url),
        mailbox,
        events=None if worker.options.without_gossip else _event_queue(worker),
        event_exchange=conf.event_exchange,
        transport_options=conf.broker_transport_options,
        connect_timeout_s=conf.broker_connection_timeout,
        heartbeat_s=conf.broker_heartbeat,
        ssl=conf.broker_use_ssl,
        login_method=conf.broker_login_method,
    )


def _event_queue(worker: Worker) -> EventQueue:
    conf = worker.app.conf
    return EventQueue(
        prefix=conf.event_queue_prefix,
        durable=conf.event_queue_durable,
        exclusive=conf.event_queue_exclusive,
        expires_s=conf.event_queue_expires,
        ttl_s=worker.options.heartbeat_interval or _GOSSIP_TTL_S,
    )


def make_side_service(
    worker: Worker, loop: Loop, side: SideChannel, accept: frozenset[str]
) -> SideService:
    """Return what serves that connection in the loop."""
    app, options = worker.app, worker.options
    sender = None
    if worker.sends_task_events or not (options.without_heartbeat and options.without_gossip):
        sender = EventSender(worker.hostname, app.clock, serializer=app.conf.event_serializer)
    gossip = None
    if sender is not None and not options.without_gossip:

        def call(action: Any) -> None:
            app.signature(action).apply_async()

        gossip = Gossip(sender, accept=accept, handlers={"task": call})
    state = ControlState(
        worker,
        loop,
        revoked=worker.revoked,
        side=side,
        sender=sender,
        task_events=worker.sends_task_events,
        gossip=gossip,
    )

    def load() -> tuple[int, int]:
        running = sum(r.state.phase is Phase.RUNNING for r in loop.requests.values())
        return running, loop.totals.total()

    heart = None
    if sender is not None and not options.without_heartbeat:
        heart = Heart(sender, load, options.heartbeat_interval or DEFAULT_INTERVAL_S)
    with_control = app.conf.worker_enable_remote_control
    return SideService(
        side,
        lambda: loop.connected,
        dispatcher=Dispatcher(state, accept=accept) if with_control else None,
        sender=sender,
        heart=heart,
        mingle=None if options.without_mingle else _make_mingle(worker, loop, accept),
        gossip=gossip,
    )


def _make_mingle(worker: Worker, loop: Loop, accept: frozenset[str]) -> Mingle:
    revoked = worker.revoked

    def known() -> list[str]:
        revoked.expire()
        return list(revoked)

    def learn(ids: tuple[str, ...]) -> None:
        new = [task_id for task_id in ids if task_id not in revoked]
        revoked.add(new)
        loop.discard_revoked(frozenset(new))

    return Mingle(
        worker.hostname,
        worker.app.clock,
        revoked=known,
        learn=learn,
        accept=accept,
        namespace=worker.app.conf.control_exchange,
    )
