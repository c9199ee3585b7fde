"""Which remote-control commands there are: functions with a name, maybe an alias, and a line of help.

Spec: control-and-events#1.6
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

__all__ = [
    "NO_REPLY",
    "CommandInfo",
    "Handler",
    "Panel",
    "Registry",
    "control_command",
    "inspect_command",
]

Handler: TypeAlias = Callable[..., Any]
"""Called with the `ControlState` and the request's arguments; returns the reply, anything the serializer writes."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _NoReply:
    def __repr__(self) -> str:
        return "NO_REPLY"


NO_REPLY = _NoReply()
"""Returned by a command that must not be answered."""


@dataclass(frozen=True, slots=True)
class CommandInfo:
    """What is known about a command beside its function."""

    name: str
    kind: str
    """``inspect`` or ``control``: which program lists it."""
    alias: str | None = None
    default_timeout: float = 1.0
    """Seconds a client waits for answers."""
    help: str | None = None
    signature: str | None = None
    """Its arguments as the help of the command line shows them."""
    args: Sequence[tuple[str, Any]] = ()
    """Name and type of each argument given on a command line."""
    variadic: str | None = None
    """Argument that takes the rest of a command line."""
    visible: bool = True


class Registry:
    """Commands by name and alias.

    Attributes:
        data: Name or alias → function.
        meta: Name → `CommandInfo`.
    """

    def __init__(self) -> None:
        self.data: dict[str, Handler] = {}
        self.meta: dict[str, CommandInfo] = {}

    def register(self, *args: Any, **options: Any) -> Any:
        """Register a command; a decorator, with or without options (those of `CommandInfo`, `name` and `type`)."""
        if len(args) == 1 and callable(args[0]) and not options:
            return self._add(args[0])
        return lambda function: self._add(function, **options)

    def _add(
        self,
        function: Handler,
        *,
        name: str | None = None,
        type: str = "control",
        alias: str | None = None,
        default_timeout: float = 1.0,
        help: str | None = None,
        signature: str | None = None,
        args: Sequence[tuple[str, Any]] = (),
        variadic: str | None = None,
        visible: bool = True,
    ) -> Handler:
        name = name or function.__name__
        text = help or (function.__doc__ or "").strip().partition("\n")[0]
        info = CommandInfo(
            name,
            type,
            alias,
            default_timeout,
            text,
            signature,
            tuple(args or ()),
            variadic,
            visible,
        )
        self.data[name] = function
        self.meta[name] = info
        if alias:
            self.data[alias] = function
        return function


Panel = Registry()
"""The commands of this process: ours, and those that an application registers."""


def inspect_command(**options: Any) -> Callable[[_Function], _Function]:
    """Register a command that looks: ``@inspect_command()``. Options: see `CommandInfo`."""
    decorator: Callable[[_Function], _Function] = Panel.register(type="inspect", **options)
    return decorator


def control_command(**options: Any) -> Callable[[_Function], _Function]:
    """Register a command that changes something: ``@control_command(args=[("n", int)])``."""
    decorator: Callable[[_Function], _Function] = Panel.register(type="control", **options)
    return decorator
