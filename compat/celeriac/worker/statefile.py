"""The file in which revoked ids and the clock outlive the worker (`--statedb`).

It is a shelf in the layout of Celery 5.7, so that either worker can go on with the other's file. What is read from it
is data: only the one class that Celery stores is recognised, and never imported.

Spec: control-and-events#4.8
"""

from __future__ import annotations

import dbm
import io
import logging
import pickle
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from celeriac.worker.revoked import RevokedIds
from celeriac.worker.service import Service
from celeriac_protocol.lamport import LamportClock

__all__ = ["StateFile", "StateFileError", "dump_revoked", "load_revoked"]

logger = logging.getLogger("celery.worker.state")

_PROTO: Final = 3
_ERRORS: Final[tuple[type[BaseException], ...]] = (OSError, *dbm.error)
"""What any flavour of `dbm` raises."""
_CLASS: Final = ("celery.utils.collections", "LimitedSet")
_SAVE_EVERY_S: Final = 10.0
_MAX_BYTES: Final = 64 * 1024 * 1024
"""Of the ids, decompressed."""


class StateFileError(Exception):
    """The file is there and cannot be read or written."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == _CLASS:
            return _limited_set
        raise pickle.UnpicklingError(f"{module}.{name} does not belong into a state file")


def _limited_set(maxlen: Any = 0, expires: Any = 0, data: Any = None, minlen: Any = 0) -> Any:
    """Stand in for Celery's class: all that matters is which ids there are, and since when."""
    return data or {}


def _loads(raw: bytes) -> Any:
    return _Unpickler(io.BytesIO(raw)).load()


def dump_revoked(revoked: Mapping[str, float], limit: int, expires_s: float) -> bytes:
    """Return revoked ids as Celery stores them: the compressed pickle of its `LimitedSet`.

    Args:
        revoked: Id to monotonic time, oldest first.
        limit: The most ids a set holds.
        expires_s: For how long it holds them.
    """
    # The class is named without having it: a global, its arguments, and their application.
    arguments = pickle.dumps((limit, expires_s, dict(revoked), 0), protocol=2)[2:-1]
    named = f"c{_CLASS[0]}\n{_CLASS[1]}\n".encode()
    return zlib.compress(b"\x80\x02" + named + arguments + b"R.")


def load_revoked(raw: bytes) -> dict[str, float]:
    """Return id to monotonic time, oldest first.

    Raises:
        StateFileError: It is something else.
    """
    try:
        unpacked = zlib.decompressobj()
        data = unpacked.decompress(raw, _MAX_BYTES)
        if unpacked.unconsumed_tail:
            raise StateFileError(f"the revoked ids take more than {_MAX_BYTES} bytes")
        return _ids(_loads(data))
    except (zlib.error, pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError) as exc:
        raise StateFileError(f"the revoked ids cannot be read: {exc!r}") from exc


def _ids(found: Any) -> dict[str, float]:
    if not isinstance(found, Mapping):
        found = dict.fromkeys(
            found if isinstance(found, list | tuple | set | frozenset) else (), 0.0
        )
    return {
        key: float(stamp) if isinstance(stamp, int | float) else 0.0
        for key, stamp in found.items()
        if isinstance(key, str)
    }


class StateFile(Service):
    """Keeps one worker's state on disk: loaded at start, saved now and then and at the end.

    Args:
        path: As `dbm` takes it; the flavour decides the suffix.
        revoked: Where ids go and come from.
        clock: The app's logical clock.
        monotonic: A monotonic clock.
    """

    def __init__(
        self,
        path: str,
        revoked: RevokedIds,
        clock: LamportClock,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.revoked = revoked
        self.clock = clock
        self._monotonic = monotonic
        self._save_at = monotonic() + _SAVE_EVERY_S
        self._saved = self._mark()

    def load(self) -> None:
        """Take over what is in the file; nothing, if there is none.

        Raises:
            StateFileError: It cannot be read.
        """
        with self._open() as shelf:
            raw, old = shelf.get(b"zrevoked"), shelf.get(b"revoked")
            value = shelf.get(b"clock")
            clock = None if value is None else self._value(value)
            found: dict[str, float] = {}
            if raw is not None:
                found = load_revoked(self._value(raw))
            elif old is not None:
                found = _ids(self._value(old))
        now = self._monotonic()
        for task_id, stamp in found.items():
            # A machine that was started anew counts from nothing: what seems to be of the future is of now.
            self.revoked.setdefault(task_id, min(stamp, now) if stamp > 0 else now)
        self.revoked.expire()
        if isinstance(clock, int):
            self.clock.adjust(clock)
        self._saved = self._mark()

    @staticmethod
    def _value(raw: bytes) -> Any:
        try:
            return _loads(raw)
        except (pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError) as exc:
            raise StateFileError(f"an entry cannot be read: {exc!r}") from exc

    def save(self) -> None:
        """Write everything.

        Raises:
            StateFileError: It cannot be written.
        """
        self.revoked.expire()
        packed = dump_revoked(self.revoked, self.revoked.limit, self.revoked.expires_s)
        with self._open() as shelf:
            shelf[b"__proto__"] = pickle.dumps(_PROTO, protocol=2)
            shelf[b"clock"] = pickle.dumps(self.clock.forward(), protocol=2)
            shelf[b"zrevoked"] = pickle.dumps(packed, protocol=4)
            if b"revoked" in shelf:
                del shelf[b"revoked"]
        self._saved = self._mark()

    @contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            with dbm.open(self.path, "c") as shelf:
                yield shelf
        except _ERRORS as exc:
            raise StateFileError(f"{self.path}: {exc}") from exc

    def _mark(self) -> tuple[int, str | None]:
        return len(self.revoked), next(reversed(self.revoked), None)

    # -- service ----------------------------------------------------------------------------------

    def filenos(self) -> Iterable[int]:
        """None: only time matters."""
        return ()

    def due_in_s(self, monotonic: float) -> float | None:
        """Until the next look at what has changed."""
        return max(0.0, self._save_at - monotonic)

    def serve(self, ready: set[int], monotonic: float) -> None:
        """Save what was revoked since."""
        if monotonic < self._save_at:
            return
        self._save_at = monotonic + _SAVE_EVERY_S
        if self._mark() != self._saved:
            self._save_or_say()

    def _save_or_say(self) -> None:
        try:
            self.save()
        except StateFileError as exc:
            logger.error("The state cannot be saved: %s", exc)

    def stop(self) -> None:
        """Everything is saved at the end."""

    def close(self) -> None:
        """Save for the last time."""
        self._save_or_say()
