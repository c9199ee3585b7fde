"""Results as files, one per key: ``file:///directory``.

A file appears whole or not at all: it is written under another name and moved into place, so that a reader on a shared
directory never sees half a document.

Spec: results-and-workflows#2.4
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from celeriac.backends.base import BackendOptions
from celeriac.backends.keyvalue import KeyValueBackend
from celeriac.backends.polling import PollingBackend
from celeriac.exceptions import BackendStoreError, ImproperlyConfigured
from celeriac_protocol.result import ResultMeta

__all__ = ["FilesystemBackend"]

_TEMPORARY = ".fs-backend-"
_NO_PATH = "You need to configure a path for the file-system backend"
_BAD_PATH = (
    "The configured path for the file-system backend does not\n"
    "work correctly, please make sure that it exists and has\n"
    "the correct permissions."
)


class FilesystemBackend(KeyValueBackend, PollingBackend):
    """The store in a directory."""

    chords: ClassVar[Literal["native", "unlock", "refused"]] = "unlock"

    def __init__(self, url: str, options: BackendOptions) -> None:
        super().__init__(url, options)
        self._directory = _directory(url)
        self._probe()

    def _probe(self) -> None:
        """Write, read and delete a file, so that a wrong directory is noticed at start and not by the first result."""
        path = self._directory / f"{_TEMPORARY}{uuid4()}"
        try:
            path.write_bytes(b"test value")
            is_usable = path.read_bytes() == b"test value"
            path.unlink()
        except OSError as exc:
            raise ImproperlyConfigured(_BAD_PATH) from exc
        if not is_usable:
            raise ImproperlyConfigured(_BAD_PATH)

    def _path(self, key: str) -> Path:
        # Ids are any text: one must not lead out of the directory.
        return self._directory / key.replace("/", "%2F").replace("\0", "%00")

    def _read(self, key: str) -> bytes | None:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None

    def _write(self, key: str, data: bytes, ttl_s: float | None) -> None:
        temporary = self._directory / f"{_TEMPORARY}{uuid4()}"
        try:
            temporary.write_bytes(data)
            temporary.replace(self._path(key))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def store(
        self, meta: ResultMeta, *, reply_to: str | None = None, correlation_id: str | None = None
    ) -> None:
        try:
            super().store(meta, reply_to=reply_to, correlation_id=correlation_id)
        except OSError as exc:
            raise BackendStoreError(
                f"failed to store result on the backend: {exc}",
                state=meta.status,
                task_id=meta.task_id,
            ) from exc

    def cleanup(self) -> int:
        """Delete documents, saved groups and half-written files older than `result_expires`; return how many."""
        if not self.options.expires_s:
            return 0
        oldest = self.options.clock.now().timestamp() - self.options.expires_s
        prefixes = (self.keys.task_prefix, self.keys.group_prefix, _TEMPORARY)
        deleted = 0
        with os.scandir(self._directory) as entries:
            for entry in entries:
                if entry.name.startswith(prefixes):
                    deleted += _delete_if_older(entry, oldest)
        return deleted


def _delete_if_older(entry: os.DirEntry[str], oldest: float) -> int:
    try:
        if entry.stat().st_mtime >= oldest:
            return 0
        Path(entry.path).unlink()
    except FileNotFoundError:
        return 0  # another worker's cleanup was faster
    return 1


def _directory(url: str) -> Path:
    split = urlsplit(url)
    if split.scheme != "file" or (split.netloc and split.netloc != "localhost"):
        raise ImproperlyConfigured(_NO_PATH)
    if not split.path:
        raise ImproperlyConfigured(_NO_PATH)
    return Path(unquote(split.path))
