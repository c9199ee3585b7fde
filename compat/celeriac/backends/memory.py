"""Results in this process's memory, shared by everyone who names the same URL: ``cache+memory://``.

One store per URL, one lock and one condition per store: a writer wakes the waiters, nobody polls. Documents leave when
their time is up; the sweep is paid by writers, a few entries at a time, so that a process that stores for ever stays
flat.
"""

from __future__ import annotations

import heapq
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Literal
from uuid import uuid4

from celeriac.backends.base import BackendOptions, ChordPart, ChordState
from celeriac.backends.chords import decode_part, encode_part
from celeriac.backends.keyvalue import KeyValueBackend
from celeriac.backends.polling import Deadline, timed_out
from celeriac.exceptions import ImproperlyConfigured
from celeriac_protocol.result import READY_STATES, ResultMeta

__all__ = ["MemoryBackend", "forget_everything"]

_SWEEP_AT_MOST = 8


@dataclass(slots=True)
class _Chord:
    size: int | None = None
    extra: int = 0
    parts: dict[str, tuple[float, int, bytes]] = field(default_factory=dict)
    """Part id → (place in the header, order of arrival, encoded part)."""
    token: str | None = None
    is_done: bool = False
    expires_at: float | None = None


@dataclass(slots=True)
class _Store:
    changed: threading.Condition = field(default_factory=threading.Condition)
    values: dict[str, tuple[bytes, float | None]] = field(default_factory=dict)
    expiries: list[tuple[float, str]] = field(default_factory=list)
    chords: OrderedDict[str, _Chord] = field(default_factory=OrderedDict)
    version: int = 0
    """Counts writes, so that a waiter sees whether anything changed while it looked."""

    def get(self, key: str, now: float) -> bytes | None:
        value = self.values.get(key)
        if value is None or (value[1] is not None and value[1] <= now):
            return None
        return value[0]

    def put(self, key: str, data: bytes, now: float, ttl_s: float | None) -> None:
        expires_at = None if ttl_s is None else now + ttl_s
        self.values[key] = (data, expires_at)
        if expires_at is not None:
            heapq.heappush(self.expiries, (expires_at, key))
        self._sweep(now)
        self.version += 1
        self.changed.notify_all()

    def _sweep(self, now: float) -> None:
        for _ in range(_SWEEP_AT_MOST):
            if not self.expiries or self.expiries[0][0] > now:
                return
            _, key = heapq.heappop(self.expiries)
            value = self.values.get(key)
            if value is not None and value[1] is not None and value[1] <= now:
                del self.values[key]

    def chord(self, group_id: str, now: float, ttl_s: float | None) -> _Chord:
        chord = self.chords.setdefault(group_id, _Chord())
        chord.expires_at = None if ttl_s is None else now + ttl_s
        self.chords.move_to_end(group_id)  # the longest untouched one is first
        for _ in range(_SWEEP_AT_MOST):
            oldest_id, oldest = next(iter(self.chords.items()))
            if oldest.expires_at is None or oldest.expires_at > now:
                break
            del self.chords[oldest_id]
        return chord


_stores: dict[str, _Store] = {}
_stores_lock = threading.Lock()


def forget_everything() -> None:
    """Empty every store of the process: for test suites."""
    with _stores_lock:
        _stores.clear()


def _store_of(url: str) -> _Store:
    with _stores_lock:
        return _stores.setdefault(url, _Store())


def _renew_locks() -> None:
    """In a forked child: locks may be held by threads that do not exist here."""
    global _stores_lock
    _stores_lock = threading.Lock()
    for store in _stores.values():
        store.changed = threading.Condition()


os.register_at_fork(after_in_child=_renew_locks)


class MemoryBackend(KeyValueBackend):
    """The in-process store. Spec: results-and-workflows#2.5."""

    chords: ClassVar[Literal["native", "unlock", "refused"]] = "native"
    supports_native_join = True
    expires_by_itself = True
    thread_safe = True

    def __init__(self, url: str, options: BackendOptions) -> None:
        super().__init__(url, options)
        name = url.partition("://")[0] or options.setting("cache_backend")
        if name != "memory":
            raise ImproperlyConfigured(
                f"The cache backend {name!r} is unknown,\n"
                "Please use one of the following backends instead: memory"
            )
        self._shared = _store_of(url)
        self._now = options.clock.monotonic

    def _read(self, key: str) -> bytes | None:
        with self._shared.changed:
            return self._shared.get(key, self._now())

    def _write(self, key: str, data: bytes, ttl_s: float | None) -> None:
        with self._shared.changed:
            self._shared.put(key, data, self._now(), ttl_s)

    def _delete(self, key: str) -> None:
        with self._shared.changed:
            self._shared.values.pop(key, None)

    def store(
        self, meta: ResultMeta, *, reply_to: str | None = None, correlation_id: str | None = None
    ) -> None:
        with self._shared.changed:  # reentrant: look and write are one step
            super().store(meta, reply_to=reply_to, correlation_id=correlation_id)

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
        deadline = Deadline(timeout_s, self._now)
        pending = dict.fromkeys(task_ids)
        while True:
            with self._shared.changed:
                seen = self._shared.version
            # Callbacks run without the lock: they may store, or wait for something else.
            for task_id, meta in self.fetch_many(list(pending)).items():
                if meta.status in READY_STATES:
                    del pending[task_id]
                    on_meta(meta)
            if not pending:
                return
            if deadline.has_passed:
                raise timed_out()
            if on_interval is not None:
                on_interval()
            with self._shared.changed:
                if self._shared.version == seen:
                    self._shared.changed.wait(deadline.left_s(interval_s))

    def start_chord(self, group_id: str, size: int) -> None:
        with self._shared.changed:
            chord = self._chord(group_id)
            chord.size, chord.token, chord.is_done = size, None, False

    def extend_chord(self, group_id: str, extra: int = 1) -> None:
        with self._shared.changed:
            self._chord(group_id).extra += extra

    def add_chord_part(
        self, group_id: str, part: ChordPart, *, size_hint: int | None = None
    ) -> ChordState | None:
        data = encode_part(self.codec, part)
        with self._shared.changed:
            chord = self._chord(group_id)
            if chord.is_done:
                return None
            place = float("inf") if part.group_index is None else float(part.group_index)
            part_id = f"{part.task_id}:{part.group_index}"
            chord.parts.setdefault(part_id, (place, len(chord.parts), data))
            size = size_hint if chord.size is None else chord.size
            if size is None or len(chord.parts) < size + chord.extra or chord.token is not None:
                return None
            chord.token = uuid4().hex
            stored = sorted(chord.parts.values(), key=lambda entry: entry[:2])
            group = self._shared.get(self.keys.group(group_id), self._now())
        return ChordState(
            parts=tuple(
                decode_part(self.codec, data, None if place == float("inf") else int(place))
                for place, _, data in stored
            ),
            token=chord.token,
            group=self.read_group(group),
        )

    def finish_chord(self, group_id: str, *, ok: bool, token: str | None = None) -> None:
        with self._shared.changed:
            chord = self._chord(group_id)
            if token is not None and chord.token != token:
                return
            chord.size, chord.is_done = None, True
            if ok:
                chord.extra = 0
                chord.parts.clear()

    def _chord(self, group_id: str) -> _Chord:
        expires_s = self.options.chord_expires_s or self.options.expires_s
        return self._shared.chord(group_id, self._now(), expires_s or None)
