"""kombu's filesystem transport, guarded: files that survive a crash, and bad files that hurt nobody.

An item is taken by renaming its file to ``<name>.<owner>.processing``, which no other reader matches, and deleted when
it is acknowledged. The owner holds a record lock on ``celeriac-<owner>.owner`` as long as it lives; whoever finds the
lock free gives the files back. We write to a temporary name and rename, so nobody sees half a file of ours; half a
file of somebody else's is left alone until it is complete or too old to ever be.

Spec: transports#3.1, transports#3.3
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from kombu.exceptions import ChannelError
from kombu.transport import filesystem
from kombu.utils import json as kombu_json

from celeriac.brokers.kombu_consumer import Consumer
from celeriac.brokers.kombu_virtual import Item, PolledConsumer, TakingChannel, redelivered

__all__ = ["FilesystemConsumer", "GuardedFilesystemChannel", "GuardedFilesystemTransport"]

logger = logging.getLogger(__name__)

_base: Any = filesystem
_kombu_json: Any = kombu_json

_PROCESSING: Final = ".processing"
_OWNER: Final = ".owner"
_SETTLED_AFTER_S: Final = 3.0
"""A file that is no complete JSON after so long will never be."""
_ADOPT_INTERVAL_S: Final = 10.0
_TABLE_TRIES: Final = 20
_TABLE_PAUSE_S: Final = 0.01

_living_owners: set[str] = set()
"""Of this process: a record lock does not keep its own process out."""


class _Owner:
    """A name for the files we hold, alive as long as its lock is held."""

    def __init__(self, folder: Path) -> None:
        self.name = uuid.uuid4().hex
        self.path = folder / f"celeriac-{self.name}{_OWNER}"
        self._file: IO[bytes] = self.path.open("wb")
        fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _living_owners.add(self.name)

    def release(self) -> None:
        """Give the name up."""
        _living_owners.discard(self.name)
        self.path.unlink(missing_ok=True)
        self._file.close()


def _is_alive(folder: Path, name: str) -> bool:
    if name in _living_owners:
        return True
    path = folder / f"celeriac-{name}{_OWNER}"
    try:
        with path.open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    path.unlink(missing_ok=True)
    return False


class GuardedFilesystemChannel(_base.Channel, TakingChannel):  # type: ignore[misc]
    """Reads and writes the same files as kombu."""

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        self._owner: _Owner | None = None
        self._adopted_at = 0.0
        for folder in (self.data_folder_in, self.data_folder_out, self.control_folder):
            Path(folder).mkdir(parents=True, exist_ok=True)
        if self.store_processed:
            Path(self.processed_folder).mkdir(parents=True, exist_ok=True)

    # -- taking ----------------------------------------------------------------------------------

    def take(self, queue: str, limit: int) -> list[Item]:
        """Claim up to `limit` files of a queue, in the order of their names."""
        folder = Path(self.data_folder_in)
        suffix = f"{queue}.msg"
        names = [path.name for path in folder.iterdir()]
        names = sorted(name for name in names if name.partition(".")[2] == suffix)
        items: list[Item] = []
        for name in names:
            item = self._claim(folder, name)
            if item is not None:
                items.append(item)
                if len(items) >= limit:
                    break
        return items

    def _claim(self, folder: Path, name: str) -> Item | None:
        path = folder / name
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                raw = file.read()
                age_s = time.time() - os.fstat(file.fileno()).st_mtime
            if not _is_complete(raw) and age_s < _SETTLED_AFTER_S:
                return None  # its writer is at it
            if self._owner is None:
                self._owner = _Owner(folder)
            claimed = folder / f"{name}.{self._owner.name}{_PROCESSING}"
            path.rename(claimed)
        except OSError as exc:
            logger.debug("leaving %s alone: %s", path, exc)  # locked, taken by another, or gone
            return None
        return Item(claimed, raw)

    def drop(self, queue: str, item: Item) -> None:
        """Delete the file, or move it to the processed folder."""
        claimed = _claimed(item)
        if self.store_processed:
            claimed.replace(Path(self.processed_folder) / _original_name(claimed))
        else:
            claimed.unlink(missing_ok=True)

    def give_back(self, queue: str, item: Item) -> None:
        """Give the file its name back, marked as redelivered."""
        claimed = _claimed(item)
        _write_whole(claimed.with_name(_original_name(claimed)), redelivered(item.raw))
        claimed.unlink(missing_ok=True)

    def tend(self) -> float | None:
        """Give back what dead owners held; return seconds until it is due again."""
        now = time.monotonic()
        if now - self._adopted_at >= _ADOPT_INTERVAL_S or not self._adopted_at:
            self._adopted_at = now
            self.restore_orphans()
        return max(0.1, self._adopted_at + _ADOPT_INTERVAL_S - now)

    def restore_orphans(self) -> int:
        """Give back the files of owners that are gone; return how many."""
        folder = Path(self.data_folder_in)
        restored = 0
        alive: dict[str, bool] = {}
        for claimed in sorted(folder.glob(f"*{_PROCESSING}")):
            owner = claimed.name.removesuffix(_PROCESSING).rpartition(".")[2]
            if owner not in alive:
                alive[owner] = _is_alive(folder, owner)
            if alive[owner]:
                continue
            # Whoever wins this rename restores it.
            mine = claimed.with_name(f"{claimed.name}.{uuid.uuid4().hex}.tmp")
            try:
                claimed.rename(mine)
                raw = mine.read_bytes()
            except FileNotFoundError:
                continue
            _write_whole(claimed.with_name(_original_name(claimed)), redelivered(raw))
            mine.unlink(missing_ok=True)
            restored += 1
        if restored:
            logger.info("Restored %d message(s) of workers that are gone", restored)
        return restored

    # -- writing ---------------------------------------------------------------------------------

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:
        path = Path(self.data_folder_out) / f"{_new_stem()}.{queue}.msg"
        try:
            _write_whole(path, _kombu_json.dumps(payload).encode())
        except OSError as exc:
            raise ChannelError(f"Cannot add file {str(path)!r} to directory") from exc

    def _get(self, queue: str) -> Any:
        items = self.take(queue, 1)
        if not items:
            raise _base.Empty
        self.drop(queue, items[0])
        return json.loads(items[0].raw)

    # -- the control folder ----------------------------------------------------------------------

    def get_table(self, exchange: str) -> list[Any]:
        """Return the bindings of an exchange."""
        file = self._exchange_file(exchange)
        try:
            with file.open("rb") as table:
                fcntl.flock(table, fcntl.LOCK_SH)
                return _read_table(table, file)
        except FileNotFoundError:
            return []

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        entry = _base.exchange_queue_t(routing_key or "", pattern or "", queue or "")

        def add(entries: list[Any]) -> list[Any]:
            return entries if entry in entries else [entry, *entries]

        self._change_table(exchange, add)

    def _delete(
        self, queue: str, exchange: str, routing_key: str, pattern: str, *args: Any, **kwargs: Any
    ) -> None:
        self._purge(queue)
        entry = _base.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        self._change_table(exchange, lambda entries: [e for e in entries if e != entry])

    def _change_table(self, exchange: str, change: Callable[[list[Any]], list[Any]]) -> None:
        file = self._exchange_file(exchange)
        try:
            with _locked(file) as table:
                entries = _read_table(table, file)
                changed = change(entries)
                if changed != entries:
                    table.seek(0)
                    table.write(json.dumps(changed).encode())
                    table.truncate()
        except OSError as exc:
            raise ChannelError(f"Cannot open {file}") from exc

    def close(self) -> None:
        """Close, giving up the owner's name."""
        super().close()
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.release()


@contextmanager
def _locked(file: Path) -> Iterator[IO[bytes]]:
    # Not "w": that empties the file before the lock is held.
    with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o666), "rb+", buffering=0) as table:
        fcntl.flock(table, fcntl.LOCK_EX)
        yield table


def _read_table(table: IO[bytes], file: Path) -> list[Any]:
    """Read a binding table, giving a writer that emptied it before locking a moment to fill it."""
    for attempt in range(_TABLE_TRIES):
        table.seek(0)
        raw = table.read()
        try:
            return [_base.exchange_queue_t(*entry) for entry in json.loads(raw)]
        except (ValueError, TypeError):
            if not raw and attempt:
                break  # new
            time.sleep(_TABLE_PAUSE_S)
    if raw:
        logger.warning("%s is no binding table; it counts as empty", file)
    return []


def _new_stem() -> str:
    """Return ``<milliseconds>_<uuid>``, the uuid beginning with the nanoseconds: text order is order in time."""
    milliseconds, nanoseconds = divmod(time.monotonic_ns(), 1_000_000)
    return f"{milliseconds}_{nanoseconds:08x}{str(uuid.uuid4())[8:]}"


def _is_complete(raw: bytes) -> bool:
    try:
        json.loads(raw)
    except (ValueError, RecursionError):
        return False
    return True


def _claimed(item: Item) -> Path:
    assert isinstance(item.handle, Path)
    return item.handle


def _original_name(claimed: Path) -> str:
    return claimed.name.removesuffix(_PROCESSING).rpartition(".")[0]


def _write_whole(path: Path, raw: bytes) -> None:
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    temporary.write_bytes(raw)
    temporary.rename(path)


class FilesystemConsumer(PolledConsumer):
    """Restores what dead workers held before it begins."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self._channel.tend()


class GuardedFilesystemTransport(_base.Transport):  # type: ignore[misc]
    """kombu's filesystem transport with guarded consuming and whole files."""

    Channel = GuardedFilesystemChannel

    def make_consumer(self, connection: Any, memory: dict[str, Any]) -> Consumer:
        """Return the consumer for an open connection."""
        return FilesystemConsumer(connection)
