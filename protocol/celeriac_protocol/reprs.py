"""The bounded text of arguments that travels in `argsrepr` and `kwargsrepr`.

A cousin of `repr` that stays short, whatever it is given: a budget of characters and one of nesting. It is written
token by token; each token is taken off the budget, and when that is used up, ``, ...`` and the closing brackets of
whatever is still open follow. So a text can be some characters longer than its limit.

The rules are those of Celery 5.7 (up to 5.6 a cut text may lack a closing bracket), with one difference: for an
object whose own `repr` fails the text names the error but leaves out the call stack. The texts are for display.

Spec: task-message#4
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sized

__all__ = ["saferepr"]

_ELLIPSIS = ", ..."
_CUT = "..."


def saferepr(value: object, limit: int | None = 1024, maxlevels: int = 3) -> str:
    """Return a text for `value`, much like `repr` but bounded.

    Args:
        value: Anything; a failing `repr` inside becomes part of the text.
        limit: Budget in characters; `None` is no budget.
        maxlevels: Containers nested this deep print as ``[...]``; 0 is no bound.
    """
    writer = _Writer(sys.maxsize if limit is None else limit, maxlevels or sys.maxsize)
    try:
        writer.write(value, 0)
    except RecursionError:
        # Only without a bound on nesting: what was written so far is still the best text there is.
        writer.tokens.append(_CUT)
    return "".join(writer.tokens)


class _Writer:
    """One text in the making: its tokens and what is left of the budget."""

    __slots__ = ("_is_marked", "_left", "_maxlevels", "_open", "tokens")

    def __init__(self, limit: int, maxlevels: int) -> None:
        self.tokens: list[str] = []
        self._left = limit
        self._maxlevels = maxlevels
        self._is_marked = False
        self._open: set[int] = set()

    def write(self, value: object, level: int) -> None:
        """Append the tokens of `value`; the budget is not used up yet."""
        if isinstance(value, str):
            text = value if len(value) < self._left else _cut_text(value, self._left)
            self._token("'" + text.replace("'", "\\'") + "'")
        elif value is None or isinstance(value, bool | int | float):
            self._plain(str(value))
        elif isinstance(value, dict):
            self._container(value, "{", "}", value.items(), level)
        elif isinstance(value, tuple):
            self._container(value, "(", ",)" if len(value) == 1 else ")", value, level)
        elif isinstance(value, list):
            self._container(value, "[", "]", value, level)
        elif isinstance(value, set | frozenset):
            self._set(value, level)
        elif isinstance(value, bytes):
            self._token("b'" + _bytes_text(value, self._left) + "'")
        elif isinstance(value, complex):
            self._plain(str(value))
        else:
            self._plain(_repr(value))

    def _set(self, value: set[object] | frozenset[object], level: int) -> None:
        named = isinstance(value, frozenset)
        if not value:
            self._plain("frozenset()" if named else "set()")
        else:
            self._container(
                value, "frozenset({" if named else "{", "})" if named else "}", value, level
            )

    def _container(
        self, value: Sized, opening: str, closing: str, items: Iterable[object], level: int
    ) -> None:
        if level >= self._maxlevels:
            # A tuple of one is `(...,)`: even then the comma belongs to its closing bracket.
            self._token(f"{opening}...{closing}")
            return
        if id(value) in self._open:
            self._token(f"<Recursion on {type(value).__name__} with id={id(value)}>")
            return
        self._token(opening)
        self._open.add(id(value))
        is_dict = isinstance(value, dict)
        separator = ""
        for item in items:
            if separator and self._left > 0:
                self._token(separator)
            if self._left <= 0:
                self._mark_cut()
                break
            separator = ", "
            if is_dict:
                self._pair(item, level)  # type: ignore[arg-type]  # items() of a dict are pairs
            else:
                self.write(item, level + 1)
        self._open.discard(id(value))
        self._token(closing)

    def _pair(self, pair: tuple[object, object], level: int) -> None:
        key, value = pair
        if isinstance(key, tuple | frozenset):
            # A key is a text of its own: nesting counts from zero again, and a cut is marked inside it.
            self._token(saferepr(key, self._left, self._maxlevels))
        else:
            self.write(key, level + 1)
        if self._left > 0:
            self._token(": ")
        if self._left > 0:
            self.write(value, level + 1)
        else:
            self._mark_cut()

    def _plain(self, text: str) -> None:
        self._token(text if len(text) < self._left else _cut_text(text, self._left))

    def _token(self, text: str) -> None:
        self.tokens.append(text)
        self._left -= len(text)

    def _mark_cut(self) -> None:
        if not self._is_marked:
            self._is_marked = True
            self.tokens.append(_ELLIPSIS)


def _cut_text(text: str, left: int) -> str:
    """Cut at the last blank within `left` characters; Celery measures before it escapes quotes."""
    return text[:left].rsplit(" ", 1)[0] + _CUT


def _bytes_text(value: bytes, left: int) -> str:
    kept = value[:left]
    try:
        text = kept.decode()
    except UnicodeDecodeError:
        text = kept.hex()
    return text + _CUT if len(value) > left else text


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as exc:  # noqa: BLE001 - a hostile repr may raise anything, and the text has to say so
        return f"<Unrepresentable {type(value)!r}{id(value):#x}: {_describe(exc)}>"


def _describe(exc: Exception) -> str:
    try:
        return repr(exc)
    except Exception:  # noqa: BLE001 - the error may be as hostile as the value
        return type(exc).__name__
