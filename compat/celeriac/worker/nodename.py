"""Node names: `name@host` and the `%` expansions. Spec: control-and-events#6.4."""

from __future__ import annotations

import re
import socket

__all__ = ["DEFAULT_NAME", "expand", "node_name"]

DEFAULT_NAME = "celery"


def node_name(value: str | None, host: str | None = None) -> str:
    """Return the full node name for what `-n` was given.

    ``foo@`` gets this host, ``@bar`` and a bare ``bar`` get the name ``celery``; nothing at all is
    ``celery@<this host>``. ``%h`` is the full host, ``%n`` its first label, ``%d`` the rest.

    Raises:
        ValueError: An unknown expansion.
    """
    host = host or socket.gethostname()
    short, _, domain = host.partition(".")
    if not value:
        return f"{DEFAULT_NAME}@{host}"
    text = expand(value, {"h": host, "n": short, "d": domain, "i": "0", "I": ""})
    name, at, rest = text.partition("@")
    if not at:
        return f"{DEFAULT_NAME}@{text}"
    return f"{name or DEFAULT_NAME}@{rest or host}"


def expand(text: str, values: dict[str, str]) -> str:
    """Replace ``%x`` by `values["x"]` and ``%%`` by a percent sign.

    Raises:
        ValueError: A letter that `values` does not have.
    """

    def one(match: re.Match[str]) -> str:
        letter = match.group(1)
        if letter == "%":
            return "%"
        if letter not in values:
            raise ValueError(f"unknown expansion %{letter} in {text!r}")
        return values[letter]

    return re.sub(r"%(.)", one, text)
