"""Settings as text that may be shown: secrets are masked. Spec: app-and-cli#11.1."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pprint import pformat
from typing import Any

__all__ = ["censor", "pretty"]

_MASK = "*" * 8
_HIDDEN = re.compile(
    r"API|TOKEN|KEY|SECRET|PASS|PROFANITIES_LIST|SIGNATURE|DATABASE|BEAT_DBURI", re.IGNORECASE
)
_BROKER_URL = re.compile(r"BROKER.*(URL|HOST)$", re.IGNORECASE)
_PASSWORD = re.compile(r"(://[^/@:]*:).+@")  # to the last @: a password may hold anything
_BACKEND_URL = re.compile(r"BACKEND", re.IGNORECASE)


def _broker_url(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_broker_url(url) for url in value)
    if not isinstance(value, str):
        return value
    return ";".join(_without_password(url) for url in value.split(";"))


def _without_password(url: str) -> str:
    return _PASSWORD.sub(rf"\g<1>{_MASK}@", url)


def _shown(key: object, value: Any) -> Any:
    if isinstance(value, Mapping):
        return censor(value)
    if not isinstance(key, str):
        return value
    if _BROKER_URL.search(key):
        return _broker_url(value)
    if _HIDDEN.search(key):
        return _MASK
    if _BACKEND_URL.search(key) and isinstance(value, str):
        return _without_password(value)
    return value


def censor(settings: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a copy with secrets, and the passwords of URLs, replaced by asterisks; nested mappings too."""
    return {key: _shown(key, value) for key, value in settings.items()}


def pretty(value: Any) -> str:
    """Return a value as text for `Settings.humanize`: dicts start on a line of their own."""
    if isinstance(value, dict):
        return "\n " + pformat(value, indent=4, width=50)[1:]
    return pformat(value, width=80)
