"""The harness's end of a driver: one JSON line out, one JSON line back."""

from __future__ import annotations

import json
import os
import selectors
import time
from typing import Any

from celeriac_conformance.drivers import typed_values
from celeriac_conformance.runtimes.base import Program
from celeriac_conformance.unsupported import UnsupportedError

__all__ = ["DriverClient", "DriverError", "DriverProtocolError"]


class DriverError(RuntimeError):
    """The driver could not do what was asked; carries the exception and traceback it reported."""

    def __init__(self, message: str, exception: dict[str, Any], traceback: str) -> None:
        super().__init__(f"{message}\n{traceback}")
        self.exception = exception
        self.traceback = traceback


class DriverProtocolError(RuntimeError):
    """The driver answered something that is not an answer, or nothing in time."""


class DriverClient:
    """Talks to a running driver process, one request at a time."""

    def __init__(self, process: Program) -> None:
        self.process = process
        self._sequence = 0
        self._buffer = b""

    def request(self, command: str, *, timeout_s: float = 60.0, **fields: object) -> Any:
        """Perform one command.

        Args:
            command: Its name.
            timeout_s: How long the driver may take to answer.
            fields: Its arguments: any value that `typed_values` can encode.

        Returns:
            What the driver returned, decoded.

        Raises:
            DriverError: The command failed in the driver.
            UnsupportedError: The implementation does not offer it.
            DriverProtocolError: No answer in time, or no valid one.
            ProcessEndedError: The driver has ended.
        """
        self._sequence += 1
        line = json.dumps({"seq": self._sequence, "cmd": command, **typed_values.encode(fields)})
        self.process.check()
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        answer = self._read_answer(time.monotonic() + timeout_s, command)
        if "ok" in answer:
            return typed_values.decode(answer["ok"])
        if "unsupported" in answer:
            raise UnsupportedError(answer["unsupported"])
        error = answer["errored"]
        raise DriverError(
            error["message"], typed_values.decode(error["exception"]), error["traceback"]
        )

    def _read_answer(self, deadline: float, command: str) -> dict[str, Any]:
        line = self._read_line(deadline, command)
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise DriverProtocolError(f"{self.process.name}: not a JSON line: {line!r}") from error
        kinds = (
            {"ok", "errored", "unsupported"} & set(answer) if isinstance(answer, dict) else set()
        )
        if len(kinds) != 1 or answer.get("seq") != self._sequence:
            raise DriverProtocolError(
                f"{self.process.name}: expected one of ok, errored, unsupported and seq {self._sequence}, "
                f"found {answer!r}"
            )
        result: dict[str, Any] = answer
        return result

    def _read_line(self, deadline: float, command: str) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise DriverProtocolError(
                        f"{self.process.name}: no answer to {command!r} in time"
                    )
                if not selector.select(remaining):
                    continue
                chunk = os.read(self.process.stdout.fileno(), 1 << 16)
                if not chunk:
                    self.process.stop()
                    self.process.check()
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line
