"""One task call as the wire carries it: the same types for protocol 2 and protocol 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from celeriac_protocol.message import Properties

__all__ = ["DEFAULT_LIMITS", "Embed", "Limits", "TaskHeaders", "TaskMessage", "TimeLimit"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes beyond which a message is refused with `TooLargeError`."""

    decompressed_bytes: int = 128 * 1024 * 1024
    """Body size after decompression; nothing past it is ever allocated."""
    id_length: int = 4096
    """Characters of a task id: every result key, event and log line repeats it."""


DEFAULT_LIMITS = Limits()


class TimeLimit(NamedTuple):
    """The `timelimit` header, hard first. `None` (or 0 on the wire) means: the task's own limit. Seconds."""

    hard: float | None = None
    soft: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskHeaders:
    """Everything a worker decides by, without touching the body. Spec: task-message#2."""

    task: str
    """Registered name; its presence as a header marks protocol 2."""
    id: str
    """Identity everywhere; any non-empty string."""
    lang: str | None = "py"
    """Language of the producer; nobody reads it. `None` when the wire had none."""
    shadow: str | None = None
    """Display name in logs and events instead of `task`."""
    eta: str | None = None
    """ISO 8601 text exactly as on the wire."""
    eta_at: datetime | None = None
    """`eta` as an aware instant; a naive wire value is UTC."""
    expires: str | None = None
    """ISO 8601 text exactly as on the wire; a retry copies it verbatim."""
    expires_at: datetime | None = None
    """`expires` as an aware instant."""
    group: str | None = None
    group_index: int | None = None
    retries: int = 0
    timelimit: TimeLimit = TimeLimit()
    root_id: str | None = None
    parent_id: str | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    origin: str | None = None
    """`gen<pid>@<host>` of the first sender; display only."""
    ignore_result: bool | None = None
    """`None`: the task's own setting."""
    replaced_task_nesting: int = 0
    stamped_headers: tuple[str, ...] | None = None
    stamps: Mapping[str, object] = field(default_factory=dict)
    compression: str | None = None
    """Content type (or alias) of the compression of the body; absent when `None`."""
    custom: Mapping[str, object] = field(default_factory=dict)
    """Every header that is not one of the above, in wire order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embed:
    """Third element of a protocol 2 body; sequences are lists, as on the wire. Spec: task-message#3.1."""

    callbacks: Sequence[Mapping[str, object]] | None = None
    """Signatures applied with the return value."""
    errbacks: Sequence[Mapping[str, object]] | None = None
    """Signatures applied on failure."""
    chain: Sequence[Mapping[str, object]] | None = None
    """Remaining steps in *reverse* order, next step last."""
    chord: Mapping[str, object] | None = None
    """Body signature of the chord this task is a part of."""
    extra: Mapping[str, object] = field(default_factory=dict)
    """Unknown keys; they become attributes of the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMessage:
    """A decoded call. `args` given as any sequence are kept as a tuple."""

    headers: TaskHeaders
    args: Sequence[object] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)
    embed: Embed = field(default_factory=Embed)
    version: int = 2
    """Protocol the message was (or is to be) written in."""
    utc: bool = True
    """Protocol 1 only: the producer's `enable_utc`."""
    properties: Properties = field(default_factory=Properties)

    def __post_init__(self) -> None:
        # The wire cannot tell a list from a tuple; one form here makes equal calls compare equal.
        if type(self.args) is not tuple:
            object.__setattr__(self, "args", tuple(self.args))
