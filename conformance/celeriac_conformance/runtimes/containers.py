"""A worker or driver in a container of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import IO, Any

from testcontainers.core.container import DockerContainer

from celeriac_conformance.processes import TAIL_BYTES, ProcessEndedError
from celeriac_conformance.runtimes.base import CannotSetUpError

__all__ = ["ContainerProgram"]

_HEADER_BYTES = 8
_STDOUT = 1
_POLL_S = 0.02
_START_S = 30.0
_INSPECT_EVERY_S = 2.0
_NOT_FORWARDED = (signal.SIGKILL, signal.SIGSTOP)
"""Signals that would reach a container's first process only, which cannot pass them on."""


class ContainerProgram:
    """A program that `container_init` runs in a container.

    Args:
        name: What to call it in messages.
        container: Described, not yet started.
        state: File that `container_init` writes to.
        log: File that receives its standard error.
        pipes: Give access to its standard input and output (for drivers).

    Raises:
        CannotSetUpError: It did not start.
    """

    def __init__(
        self, name: str, container: DockerContainer, *, state: Path, log: Path, pipes: bool = False
    ) -> None:
        self.name = name
        self._container = container
        self._state = state
        self._log = log
        self._status: int | None = None
        self._inspected = time.monotonic()
        self._streams: _Streams | None = None
        container.start()
        self._wrapped: Any = container.get_wrapped_container()
        if pipes:
            self._streams = _Streams(self._wrapped)
        self._pid = self._await_pid()

    def _await_pid(self) -> int:
        deadline = time.monotonic() + _START_S
        while (pid := self._read_state("pid")) is None:
            if time.monotonic() > deadline or self._has_ended():
                message = f"{self.name} did not start\n{self.tail()}\n{self._output()}"
                self.stop()
                raise CannotSetUpError(message)
            time.sleep(_POLL_S)
        return pid

    def _output(self) -> str:
        found: bytes = self._wrapped.logs()
        return found.decode("utf-8", "replace")

    def _read_state(self, wanted: str) -> int | None:
        if not self._state.exists():
            return None
        for line in self._state.read_text("ascii").splitlines():
            word, _, number = line.partition(" ")
            if word == wanted:
                return int(number)
        return None

    @property
    def pid(self) -> int:
        """Process id inside its container: what the program itself, its events and its journal say."""
        return self._pid

    @property
    def stdin(self) -> IO[bytes]:
        return self._piped().stdin

    @property
    def stdout(self) -> IO[bytes]:
        return self._piped().stdout

    def _piped(self) -> _Streams:
        if self._streams is None:
            raise ValueError(f"{self.name} was started without pipes")
        return self._streams

    @property
    def status(self) -> int | None:
        if self._status is None:
            self._status = self._read_state("status")
        # Its container may have been taken away from outside, without a word in the file.
        if self._status is None and time.monotonic() > self._inspected + _INSPECT_EVERY_S:
            self._inspected = time.monotonic()
            if self._has_ended():
                code: int = self._wrapped.attrs["State"]["ExitCode"]
                self._status = self._read_state("status") or (128 - code if code > 128 else code)
        return self._status

    def _has_ended(self) -> bool:
        self._wrapped.reload()
        return self._wrapped.status not in ("created", "running", "restarting", "paused")

    def check(self) -> None:
        if self.status is not None:
            raise ProcessEndedError(
                f"{self.name} (pid {self.pid}) ended with status {self.status}\n{self.tail()}"
            )

    def tail(self) -> str:
        if not self._log.exists():
            return ""
        return self._log.read_bytes()[-TAIL_BYTES:].decode("utf-8", "replace")

    def signal(self, number: int) -> None:
        if self.status is not None:
            return
        if number in _NOT_FORWARDED:
            self._wrapped.exec_run(["sh", "-c", f"kill -{number} {self.pid}"])
        else:
            self._wrapped.kill(signal=number)

    def stop(self, grace_s: float = 10.0) -> int:
        if self._streams is not None:
            self._streams.close_input()
        if self._container._container is not None:
            if self.status is None and not self._has_ended():
                self.signal(signal.SIGTERM)
                deadline = time.monotonic() + grace_s
                while self.status is None and time.monotonic() < deadline:
                    time.sleep(_POLL_S)
            self._container.stop()
            self._container._container = None
        if self._streams is not None:
            self._streams.close()
        if self._status is None:
            self._status = -signal.SIGKILL
        return self._status


class _Streams:
    """Standard input and output over the engine's attach stream, the output through a pipe one can select on."""

    def __init__(self, container: Any) -> None:
        self._raw: Any = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
        self._socket: socket.socket = self._raw._sock
        self._socket.settimeout(None)
        self.stdin: IO[bytes] = self._socket.makefile("wb")
        reading, self._writing = os.pipe()
        self.stdout: IO[bytes] = os.fdopen(reading, "rb", buffering=0)
        self._thread = threading.Thread(target=self._copy, name="container output", daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        try:
            while len(header := self._receive(_HEADER_BYTES)) == _HEADER_BYTES:
                data = self._receive(int.from_bytes(header[4:], "big"))
                if header[0] == _STDOUT:
                    os.write(self._writing, data)
        except OSError:
            # The connection or the reader is gone: that is the end of the output as well.
            return
        finally:
            os.close(self._writing)

    def _receive(self, count: int) -> bytes:
        parts = []
        while count:
            part = self._socket.recv(count)
            if not part:
                break
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def close_input(self) -> None:
        """Tell the program that no more requests come."""
        # It may have ended already, and the connection with it.
        with contextlib.suppress(OSError):
            self.stdin.close()
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Give everything back; the container is gone."""
        # Mostly it is closed from the other end already.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self.stdout.close()
        self._thread.join()
        self._raw.close()
        self._socket.close()
