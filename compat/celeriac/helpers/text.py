"""Texts. Spec: app-and-cli#10.2."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["abbr", "indent", "pluralize", "str_to_list", "truncate"]


def str_to_list(s: str | Iterable[str]) -> list[str]:
    """Return the parts of a text with commas; a list is returned as it is."""
    return s.split(",") if isinstance(s, str) else list(s)


def pluralize(n: float, text: str, suffix: str = "s") -> str:
    """Return a word, with `suffix` when there are several."""
    return text + suffix if n != 1 else text


def truncate(s: str, maxlen: int = 128, suffix: str = "...") -> str:
    """Cut a text to `maxlen` characters, and say so."""
    return s[:maxlen].rsplit(" ", 1)[0] + suffix if maxlen and len(s) >= maxlen else s


def abbr(s: str | None, max: int, suffix: str | None = "...") -> str:
    """Cut a text so that it is at most `max` characters long, suffix included."""
    if s is None:
        return "???"
    if len(s) <= max:
        return s
    return s[: max - len(suffix)] + suffix if suffix else s[:max]


def indent(t: str, indent: int = 0, sep: str = "\n") -> str:
    """Indent every line."""
    return sep.join(" " * indent + line for line in t.split(sep))
