"""`Context`: what a running task knows about its own call, as `self.request`. Spec: app-and-cli#5.7."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["FIELDS", "NOT_FIELDS", "Context"]

_LIMITS = (None, None)


class Context:
    """The request of a task. Every field has a default on the class, so that a direct call has one too.

    Args:
        *args: Mappings of fields.
        **kwargs: Fields. Any name is accepted: custom headers become attributes.
    """

    args: Any = None
    callbacks: Any = None
    called_directly: bool = True
    chain: Any = None
    chord: Any = None
    correlation_id: str | None = None
    delivery_info: Any = None
    errbacks: Any = None
    eta: str | None = None
    expires: Any = None
    group: str | None = None
    group_index: int | None = None
    headers: Any = None
    hostname: str | None = None
    id: str | None = None
    ignore_result: bool | None = False
    is_eager: bool = False
    kwargs: Any = None
    logfile: str | None = None
    loglevel: int | None = None
    origin: str | None = None
    parent_id: str | None = None
    properties: Any = None
    replaced_task_nesting: int = 0
    reply_to: str | None = None
    retries: int = 0
    root_id: str | None = None
    shadow: str | None = None
    soft_time_limit: float | None = None
    stamped_headers: Any = None
    stamps: Any = None
    taskset: str | None = None
    time_limit: float | None = None
    timelimit: Any = None
    utc: bool | None = None

    _children: list[Any] | None = None

    def __init__(self, /, *args: Any, **kwargs: Any) -> None:
        self.update(*args, **kwargs)

    def update(self, /, *args: Any, **kwargs: Any) -> None:
        """Set fields."""
        fields = self.__dict__
        for mapping in args:
            fields.update(mapping)
        fields.update(kwargs)
        if "children" in fields:
            # `children` is made on first use; a list handed over is kept, null means none yet.
            self._children = fields.pop("children")
        if "timelimit" in fields:
            limits = fields["timelimit"] or _LIMITS
            fields.setdefault("time_limit", limits[0])
            fields.setdefault("soft_time_limit", limits[1])

    def clear(self) -> None:
        """Back to the defaults."""
        self.__dict__.clear()

    def get(self, key: str, default: Any = None) -> Any:
        """Return a field, or `default` when there is none of that name."""
        return getattr(self, key, default)

    @property
    def children(self) -> list[Any]:
        """Results of the tasks that this run sent, in order."""
        if self._children is None:
            self._children = []
        return self._children

    def as_execution_options(self) -> dict[str, Any]:
        """Return the call options that repeat this run."""
        hard, soft = self.timelimit or _LIMITS
        options: dict[str, Any] = {
            "task_id": self.id,
            "root_id": self.root_id,
            "parent_id": self.parent_id,
            "group_id": self.group,
            "group_index": self.group_index,
            "shadow": self.shadow,
            "chord": self.chord,
            "chain": self.chain,
            "link": self.callbacks,
            "link_error": self.errbacks,
            "expires": self.expires,
            "soft_time_limit": soft,
            "time_limit": hard,
            "headers": _own_headers(self.headers),
            "retries": self.retries,
            "reply_to": self.reply_to,
            "replaced_task_nesting": self.replaced_task_nesting,
            "origin": self.origin,
        }
        if self.stamped_headers:
            stamps: Mapping[str, Any] = self.stamps or {}
            options["stamped_headers"] = list(self.stamped_headers)
            options.update({name: stamps.get(name) for name in self.stamped_headers})
        return options

    def __repr__(self) -> str:
        return f"<Context: {self.__dict__!r}>"


FIELDS = frozenset(name for name in Context.__annotations__ if not name.startswith("_"))
"""What every request has; whatever else arrives is the sender's own."""

NOT_FIELDS = frozenset(
    name
    for name, value in vars(Context).items()
    if name.startswith("_") or callable(value) or isinstance(value, property)
)
"""What a custom header must not replace: the methods, and what they keep to themselves."""

_BROKER_HEADERS = frozenset({"x-death", "x-delivery-count"})
_BROKER_PREFIXES = ("x-first-death-", "x-last-death-")


def _own_headers(headers: Mapping[str, Any] | Iterable[tuple[str, Any]] | None) -> dict[str, Any]:
    """Return the sender's own headers: what brokers add to a dead or redelivered message is not sent on."""
    return {
        name: value
        for name, value in dict(headers or {}).items()
        if name not in _BROKER_HEADERS and not name.startswith(_BROKER_PREFIXES)
    }
