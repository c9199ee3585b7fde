"""Results sent back as messages: ``rpc://``.

The worker publishes each document to the queue named in the request's `reply_to`; the sender's thread owns that queue
and reads it over a connection of its own. A document can be read once, by that thread: whatever arrives while somebody
waits for another task is kept in a bounded buffer until it is asked for.

Spec: results-and-workflows#2.1
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal

from kombu.exceptions import OperationalError

from celeriac.backends.base import BackendOptions, ResultBackend
from celeriac.backends.codec import Codec
from celeriac.backends.disabled import NOTE_ON_CHORDS
from celeriac.backends.keyvalue import check_task_id
from celeriac.backends.polling import Deadline, timed_out
from celeriac.backends.retries import ReconnectPolicy
from celeriac.brokers.base import BrokerLostError
from celeriac.exceptions import BackendGetMetaError, BackendStoreError, ImproperlyConfigured
from celeriac_protocol.errors import RemoteProtocolError
from celeriac_protocol.message import Message, Properties
from celeriac_protocol.result import READY_STATES, ResultMeta
from celeriac_protocol.serializers import dumps, loads

__all__ = ["ReplyConsumer", "RpcBackend"]

logger = logging.getLogger(__name__)

_PUBLISH_POLICY = {"max_retries": 20, "interval_start": 0, "interval_step": 1, "interval_max": 1}
_DECLARE_POLICY = ReconnectPolicy(
    max_retries=3, interval_start=0.0, interval_step=0.2, interval_max=0.2
)
_UNREAD_AT_MOST = 8192
"""Documents nobody has asked for yet; the oldest go first."""
_EARLIER_AT_MOST = 64
"""Documents of one task that were overtaken before anybody waited; the oldest go first."""
_READ_BYTES_AT_MOST = 16 * 1024 * 1024
"""Bodies of documents that were handed over, kept for those who ask again."""


class ReplyConsumer(ABC):
    """Receives replies from one queue, in one thread. Opens its connection when first needed.

    The queue is durable, auto-delete, not exclusive, bound to nothing, with `x-expires` as long as results live. Every
    method raises `celeriac.brokers.base.BrokerLostError` when the connection cannot be made or is gone; the next call
    makes a new one.
    """

    @abstractmethod
    def declare(self) -> list[Message]:
        """Make sure the queue is there, before a task that replies to it is published.

        Returns:
            What has arrived by itself: a thread that only ever sends must not let it pile up.
        """

    @abstractmethod
    def poll(self) -> list[Message]:
        """Return what has arrived; never waits for more."""

    @abstractmethod
    def wait(self, timeout_s: float) -> list[Message]:
        """Wait until something arrives, at most `timeout_s`; return all that is there."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection. The broker deletes the queue if it was being consumed."""

    @abstractmethod
    def after_fork(self) -> None:
        """Forget the inherited connection without touching its socket."""


class RpcBackend(ResultBackend):
    """The message store. One instance serves one thread: its queue is that thread's."""

    chords: ClassVar[Literal["native", "unlock", "refused"]] = "refused"
    no_chords_text = 'The "rpc" result backend does not support chords!' + NOTE_ON_CHORDS
    supports_native_join = True
    expires_by_itself = True
    persistent = False

    def __init__(self, url: str, options: BackendOptions) -> None:
        super().__init__(url, options)
        self._codec = Codec(options, compresses=False)
        self._reconnect = ReconnectPolicy.from_options(options)
        self._made: ReplyConsumer | None = None
        self._replies = _Replies()

    # The worker's side

    def store(
        self, meta: ResultMeta, *, reply_to: str | None = None, correlation_id: str | None = None
    ) -> None:
        check_task_id(meta.task_id)
        encoded = dumps(meta.to_dict(), self.options.serializer)
        if not reply_to:
            return
        if self.options.publisher is None:
            raise ImproperlyConfigured("The rpc result backend needs a publisher to send replies")
        message = Message(
            headers={},
            properties=Properties(
                content_type=encoded.content_type,
                content_encoding=encoded.content_encoding,
                correlation_id=correlation_id or meta.task_id,
                delivery_mode=2 if self.options.persistent else 1,
                priority=0,
            ),
            body=encoded.data,
        )
        try:
            self.options.publisher.publish(
                message,
                exchange="",
                routing_key=reply_to,
                retry=True,
                retry_policy=_PUBLISH_POLICY,
                options={"mandatory": False},
            )
        except Exception as exc:
            raise BackendStoreError(
                f"failed to send the result: {exc}", state=meta.status, task_id=meta.task_id
            ) from exc

    # The sender's side

    def expect(self, task_id: str) -> None:
        # Part of sending a task: as patient as publishing is by default, and failing in the same way.
        try:
            self._take_in(self._ensured(self._consumer.declare, _DECLARE_POLICY))
        except BackendGetMetaError as exc:
            raise OperationalError(str(exc)) from exc

    def fetch(self, task_id: str) -> ResultMeta:
        check_task_id(task_id)
        if not self._replies.has_ready(task_id):
            self._take_in(self._ensured(self._consumer.poll))
        return self._replies.get(task_id, hand_over=False) or ResultMeta(
            task_id=task_id, status="PENDING"
        )

    def forget(self, task_id: str) -> None:
        self._replies.drop(check_task_id(task_id))

    def wait(
        self,
        task_ids: Iterable[str],
        *,
        timeout_s: float | None,
        interval_s: float = 0.5,
        on_meta: Callable[[ResultMeta], None],
        on_interval: Callable[[], None] | None = None,
        on_message: Callable[[ResultMeta], None] | None = None,
    ) -> None:
        clock = self.options.clock
        deadline = Deadline(timeout_s, clock.monotonic)
        pending = dict.fromkeys(task_ids)
        arrived = list(pending)
        seen = self._replies.count
        attempt = 0
        is_first = True
        next_call = clock.monotonic() + interval_s
        while pending:
            for task_id in arrived:
                if task_id not in pending:
                    continue
                earlier = self._replies.take_earlier(task_id)
                meta = self._replies.get(task_id, hand_over=True)
                if meta is not None and on_message is not None:
                    for one in (*earlier, meta):
                        on_message(one)
                if meta is not None and meta.status in READY_STATES:
                    del pending[task_id]
                    on_meta(meta)
            if self._replies.count != seen:  # a callback has waited for something else meanwhile
                arrived, seen = list(pending), self._replies.count
                continue
            if not pending:
                return
            if deadline.has_passed and not is_first:
                raise timed_out()
            if on_interval is not None and clock.monotonic() >= next_call:
                on_interval()
                next_call = clock.monotonic() + interval_s
            is_first = False
            try:
                left_s = deadline.left_s(min(interval_s, 1.0))
                arrived = self._take_in(
                    self._consumer.wait(left_s) if left_s else self._consumer.poll()
                )
                attempt, seen = 0, self._replies.count
            except BrokerLostError as exc:
                arrived = []
                attempt += 1
                if not self._reconnect.allows(attempt):
                    raise BackendGetMetaError(f"lost the reply queue: {exc}") from exc
                delay_s = self._reconnect.delay_s(attempt)
                logger.warning("Waiting for results: %s; trying again in %s s", exc, delay_s)
                clock.sleep(deadline.left_s(delay_s))

    def _take_in(self, messages: list[Message]) -> list[str]:
        """Buffer what arrived; return whose it is."""
        arrived: dict[str, None] = {}
        for message in messages:
            task_id = self._replies.add(message, self._read(message))
            if task_id is not None:
                arrived[task_id] = None
        return list(arrived)

    def _read(self, message: Message) -> ResultMeta | RemoteProtocolError:
        properties = message.properties
        try:
            value = loads(
                message.body,
                properties.content_type,
                properties.content_encoding,
                self.options.accept,
            )
            return ResultMeta.from_dict(value, task_id=properties.correlation_id)
        except RemoteProtocolError as exc:
            logger.warning("A reply for %s cannot be read: %s", properties.correlation_id, exc)
            return exc

    # Connections

    @property
    def _consumer(self) -> ReplyConsumer:
        if self._made is None:
            self._made = self._make_consumer()
        return self._made

    def _make_consumer(self) -> ReplyConsumer:
        options = self.options
        if options.oid is None:
            raise ImproperlyConfigured("The rpc result backend needs the name of its reply queue")
        expires_s = options.expires_s or None
        if options.reply_consumer is not None:
            return options.reply_consumer(options.oid(), expires_s)
        if not options.broker_url:
            raise ImproperlyConfigured("The rpc result backend needs broker_url")
        # Here, not above: a worker only sends replies.
        from celeriac.brokers.kombu_replies import KombuReplyConsumer

        return KombuReplyConsumer.from_url(
            options.broker_url,
            options.oid(),
            expires_s,
            transport_options=options.setting("broker_transport_options", {}),
        )

    def _ensured(self, fun: Callable[[], Any], policy: ReconnectPolicy | None = None) -> Any:
        policy = policy or self._reconnect
        attempt = 0
        while True:
            try:
                return fun()
            except BrokerLostError as exc:
                attempt += 1
                if not policy.allows(attempt):
                    raise BackendGetMetaError(f"lost the reply queue: {exc}") from exc
            self.options.clock.sleep(policy.delay_s(attempt))

    def close(self) -> None:
        if self._made is not None:
            self._made.close()
            self._made = None

    def after_fork(self) -> None:
        if self._made is not None:
            self._made.after_fork()
            self._made = None


class _Replies:
    """The newest document of each task, unread ones by count and read ones by size."""

    def __init__(self) -> None:
        self._unread: OrderedDict[str, tuple[ResultMeta | RemoteProtocolError, int]] = OrderedDict()
        self._read: OrderedDict[str, tuple[ResultMeta, int]] = OrderedDict()
        self._read_bytes = 0
        self._earlier: dict[str, deque[ResultMeta]] = {}
        self.count = 0
        """How many documents ever came."""

    def add(self, message: Message, found: ResultMeta | RemoteProtocolError) -> str | None:
        """Keep a document, or why it cannot be read; return whose it is."""
        task_id = (
            found.task_id if isinstance(found, ResultMeta) else message.properties.correlation_id
        )
        if not task_id:
            return None
        self.count += 1
        if self._is_late(task_id, found):
            # The final document stays; whoever waits with `on_message` is still shown this one.
            if task_id in self._unread and isinstance(found, ResultMeta):
                late = self._earlier.setdefault(task_id, deque(maxlen=_EARLIER_AT_MOST))
                late.append(found)
            return task_id
        overtaken, _ = self._unread.get(task_id, (None, 0))
        earlier = self._earlier.pop(task_id, deque(maxlen=_EARLIER_AT_MOST))
        self.drop(task_id)
        if isinstance(overtaken, ResultMeta):
            earlier.append(overtaken)
            self._earlier[task_id] = earlier
        self._unread[task_id] = (found, len(message.body))
        if len(self._unread) > _UNREAD_AT_MOST:
            oldest, _ = self._unread.popitem(last=False)
            self._earlier.pop(oldest, None)
        return task_id

    def _is_late(self, task_id: str, found: ResultMeta | RemoteProtocolError) -> bool:
        """Tell whether a final document overtook this one: each run of a retried task may have its own connection."""
        before, _ = self._unread.get(task_id) or self._read.get(task_id) or (None, 0)
        return (
            isinstance(before, ResultMeta)
            and before.status in READY_STATES
            and isinstance(found, ResultMeta)
            and found.status not in READY_STATES
        )

    def take_earlier(self, task_id: str) -> list[ResultMeta]:
        """Return, once, the documents that newer ones overtook before anybody took them, oldest first."""
        return list(self._earlier.pop(task_id, ()))

    def has_ready(self, task_id: str) -> bool:
        """Tell whether nothing more is to come for a task."""
        entry = self._unread.get(task_id) or self._read.get(task_id)
        return entry is not None and (
            isinstance(entry[0], RemoteProtocolError) or entry[0].status in READY_STATES
        )

    def get(self, task_id: str, *, hand_over: bool) -> ResultMeta | None:
        """Return the document; raise the `RemoteProtocolError` of one that cannot be read."""
        entry = self._unread.get(task_id) or self._read.get(task_id)
        if entry is None:
            return None
        found, size = entry
        if isinstance(found, RemoteProtocolError):
            raise found
        if hand_over and task_id in self._unread:
            del self._unread[task_id]
            self._read[task_id] = (found, size)
            self._read_bytes += size
            while self._read_bytes > _READ_BYTES_AT_MOST and len(self._read) > 1:
                self._read_bytes -= self._read.popitem(last=False)[1][1]
        return found

    def drop(self, task_id: str) -> None:
        """Forget a task's documents."""
        self._unread.pop(task_id, None)
        self._earlier.pop(task_id, None)
        entry = self._read.pop(task_id, None)
        if entry is not None:
            self._read_bytes -= entry[1]
