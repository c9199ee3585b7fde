"""What every store of whole documents under text keys shares: key names, SUCCESS is final, saved groups.

A subclass brings four primitive operations (`_read`, `_read_many`, `_write`, `_delete`) that speak full key names and
stored bytes, and a way to wait.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from celeriac.backends.base import BackendOptions, ResultBackend
from celeriac.backends.codec import Codec
from celeriac_protocol.errors import RemoteProtocolError
from celeriac_protocol.result import ResultMeta

__all__ = ["KeyNames", "KeyValueBackend", "MetaCache", "check_task_id"]


def check_task_id(task_id: object) -> str:
    """Return `task_id`, or raise `ValueError` for one no store can have a key for."""
    if not isinstance(task_id, str) or not task_id:
        raise ValueError(f"task_id must not be empty. Got {task_id} instead.")
    return task_id


class KeyNames:
    """Key names under an optional `global_keyprefix`. Spec: results-and-workflows#2.2."""

    TASK = "celery-task-meta-"
    GROUP = "celery-taskset-meta-"

    def __init__(self, global_prefix: str = "") -> None:
        if global_prefix and global_prefix[-1] not in ":_-.":
            global_prefix += "_"
        self.task_prefix = f"{global_prefix}{self.TASK}"
        self.group_prefix = f"{global_prefix}{self.GROUP}"

    def task(self, task_id: str) -> str:
        """Key of a task's document."""
        return self.task_prefix + check_task_id(task_id)

    def group(self, group_id: str, suffix: str = "") -> str:
        """Key of a saved group, or with a suffix of one of a chord's counters."""
        if not group_id:
            raise ValueError(f"group_id must not be empty. Got {group_id} instead.")
        return f"{self.group_prefix}{group_id}{suffix}"


class MetaCache:
    """The client's own memory of SUCCESS documents, which can no longer change (`result_cache_max`)."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._metas: OrderedDict[str, ResultMeta] = OrderedDict()

    @classmethod
    def from_options(cls, options: BackendOptions) -> MetaCache:
        """Read `result_cache_max`; below 1 the cache is off."""
        return cls(int(options.setting("result_cache_max", -1)))

    def get(self, task_id: str) -> ResultMeta | None:
        """Return the remembered document."""
        return self._metas.get(task_id)

    def add(self, meta: ResultMeta) -> None:
        """Remember a document if it is final; the oldest is dropped at the limit."""
        if self._limit > 0 and meta.status == "SUCCESS":
            self._metas[meta.task_id] = meta
            if len(self._metas) > self._limit:
                self._metas.popitem(last=False)

    def drop(self, task_id: str) -> None:
        """Forget one document."""
        self._metas.pop(task_id, None)


class KeyValueBackend(ResultBackend):
    """Documents as encoded values under `celery-task-meta-<id>` and `celery-taskset-meta-<group id>`."""

    def __init__(self, url: str, options: BackendOptions) -> None:
        super().__init__(url, options)
        self.codec = Codec(options)
        self.keys = KeyNames(str(options.transport("global_keyprefix", "") or ""))
        self.cache = MetaCache.from_options(options)

    @abstractmethod
    def _read(self, key: str) -> bytes | None:
        """Return the stored bytes."""

    def _read_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the stored bytes of all keys, in their order."""
        return [self._read(key) for key in keys]

    @abstractmethod
    def _write(self, key: str, data: bytes, ttl_s: float | None) -> None:
        """Store bytes; `ttl_s` None: for ever."""

    @abstractmethod
    def _delete(self, key: str) -> None:
        """Delete the key if it is there."""

    def ttl_s(self, status: str) -> float | None:
        """Return how long a document of that state lives; `None`: for ever."""
        return self.options.expires_s or None

    def is_final(self, task_id: str, data: bytes | None) -> bool:
        """Tell whether stored bytes are a SUCCESS document, which nothing may replace.

        Bytes that cannot be read do not count: what nobody can use must not block the real result.
        """
        if data is None:
            return False
        try:
            return self.codec.decode_meta(data, task_id).status == "SUCCESS"
        except RemoteProtocolError:
            return False

    def store(
        self, meta: ResultMeta, *, reply_to: str | None = None, correlation_id: str | None = None
    ) -> None:
        key = self.keys.task(meta.task_id)
        data = self.codec.encode_meta(meta)
        if not self.is_final(meta.task_id, self._read(key)):
            self._write(key, data, self.ttl_s(meta.status))

    def fetch(self, task_id: str) -> ResultMeta:
        cached = self.cache.get(task_id)
        if cached is not None:
            return cached
        return self._to_meta(task_id, self._read(self.keys.task(task_id)))

    def fetch_many(self, task_ids: Sequence[str]) -> dict[str, ResultMeta]:
        found = {i: meta for i in task_ids if (meta := self.cache.get(i)) is not None}
        missing = [task_id for task_id in task_ids if task_id not in found]
        if missing:
            stored = self._read_many([self.keys.task(task_id) for task_id in missing])
            for task_id, data in zip(missing, stored, strict=True):
                found[task_id] = self._to_meta(task_id, data)
        return found

    def _to_meta(self, task_id: str, data: bytes | None) -> ResultMeta:
        if data is None:
            return ResultMeta(task_id=task_id, status="PENDING")
        meta = self.codec.decode_meta(data, task_id)
        self.cache.add(meta)
        return meta

    def exists(self, task_id: str) -> bool:
        return self._read(self.keys.task(task_id)) is not None

    def forget(self, task_id: str) -> None:
        self.cache.drop(task_id)
        self._delete(self.keys.task(task_id))

    def store_group(self, group_id: str, form: Any) -> None:
        self._write(
            self.keys.group(group_id),
            self.codec.encode({"result": form}),
            self.options.expires_s or None,
        )

    def fetch_group(self, group_id: str) -> Any | None:
        return self.read_group(self._read(self.keys.group(group_id)))

    def read_group(self, data: bytes | None) -> Any | None:
        """Return the tuple form in a stored group document."""
        if data is None:
            return None
        document = self.codec.decode(data)
        if not isinstance(document, dict) or "result" not in document:
            raise RemoteProtocolError("group document", "a mapping with `result`", document)
        return document["result"]

    def forget_group(self, group_id: str) -> None:
        self._delete(self.keys.group(group_id))
