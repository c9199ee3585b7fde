"""Text in colour: ANSI escape sequences. Spec: app-and-cli#10.2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["colored"]

_RESET = "\033[0m"
_CODES = {
    "black": "1;30",
    "red": "1;31",
    "green": "1;32",
    "yellow": "1;33",
    "blue": "1;34",
    "magenta": "1;35",
    "cyan": "1;36",
    "white": "1;37",
    "bold": "1",
    "underline": "4",
    "blink": "5",
    "reverse": "7",
}


class colored:  # noqa: N801 - the public name
    """Text that knows its colour: ``colored().red("no ", colored().bold("way"))``.

    Args:
        *s: Parts, texts or others of this class.
        enabled: Paint at all.
        op: Escape sequence in front.
    """

    def __init__(self, *s: object, enabled: bool = True, op: str = "") -> None:
        self.s = s
        self.enabled = enabled
        self.op = op

    def __getattr__(self, name: str) -> Callable[..., colored]:
        if name not in _CODES:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        code = f"\033[{_CODES[name]}m"

        def paint(*parts: object) -> colored:
            return colored(*(self.s + parts), enabled=self.enabled, op=code)

        return paint

    @property
    def names(self) -> dict[str, Callable[..., colored]]:
        """The colours by name."""
        return {name: getattr(self, name) for name in list(_CODES)[:8]}

    def no_color(self) -> str:
        """Return the text without any paint."""
        return "".join(
            part.no_color() if isinstance(part, colored) else str(part) for part in self.s
        )

    def __str__(self) -> str:
        if not self.enabled:
            return self.no_color()
        text = "".join(map(str, self.s))
        return f"{self.op}{text}{_RESET}" if self.op else text

    def __add__(self, other: object) -> str:
        return f"{self}{other}"

    def __repr__(self) -> str:
        return repr(self.no_color())

    def __len__(self) -> int:
        return len(self.no_color())

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, colored) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))
