"""Arguments and embed of a body, checked before anything runs. Spec: task-message#3.1, task-message#3.5.

Celery finds most faults here only after the function ran; we look first, so a bad message runs nothing. Where Celery
acknowledges such a message, the error's hint says so too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from celeriac_protocol.errors import Hint, InvalidTaskError, RemoteProtocolError
from celeriac_protocol.signature import check_signature, check_signatures
from celeriac_protocol.task.model import Embed, TaskHeaders

__all__ = ["EMBED_KEYS", "embed_dict", "read_args", "read_embed", "read_kwargs"]

EMBED_KEYS: Final = ("callbacks", "errbacks", "chain", "chord")
"""In wire order."""

_KNOWN: Final = frozenset(EMBED_KEYS)


def read_args(value: object, where: str) -> Sequence[object]:
    """Check positional arguments.

    Raises:
        InvalidTaskError: Neither list nor tuple. Celery would iterate a text or a mapping; nobody means that.
    """
    if not isinstance(value, list | tuple):
        raise InvalidTaskError(where, "a list of positional arguments", value, hint=Hint.DROP)
    return value


def read_kwargs(value: object, where: str, hint: Hint = Hint.DROP) -> Mapping[str, object]:
    """Check keyword arguments.

    Raises:
        InvalidTaskError: No mapping, or a key is not text (YAML, msgpack and pickle allow that).
    """
    if not isinstance(value, Mapping):
        raise InvalidTaskError(where, "a mapping of keyword arguments", value, hint=hint)
    for key in value:
        if not isinstance(key, str):
            raise InvalidTaskError(where, "text keys only", key, hint=hint)
    return value


def read_embed(value: object, where: str, headers: TaskHeaders) -> Embed:
    """Check the third element of a body, or a protocol 1 body for the same keys.

    Args:
        value: The embed.
        where: Its path for errors.
        headers: Of the same message: without a group nobody looks at `chord`, so it may be anything.

    Raises:
        InvalidTaskError: It is no mapping, or a signature in it is broken.
    """
    if value is None or value in ([], ()):
        return Embed()
    if not isinstance(value, Mapping):
        raise InvalidTaskError(where, "a mapping, or null", value, hint=Hint.DROP)
    extra = {} if value.keys() <= _KNOWN else {k: v for k, v in value.items() if k not in _KNOWN}
    for key in extra:
        if not isinstance(key, str):
            raise InvalidTaskError(where, "text keys only", key, hint=Hint.DROP)
    callbacks, errbacks = value.get("callbacks"), value.get("errbacks")
    chain, chord = value.get("chain"), value.get("chord")
    if callbacks is None and errbacks is None and not chain and chord is None and not extra:
        return _PLAIN if chain is None else Embed(chain=_signatures(chain, f"{where}['chain']"))
    return Embed(
        callbacks=_signatures(callbacks, f"{where}['callbacks']"),
        errbacks=_signatures(errbacks, f"{where}['errbacks']"),
        chain=_signatures(chain, f"{where}['chain']"),
        chord=_chord(chord, f"{where}['chord']", bool(headers.group or extra.get("group"))),
        extra=extra,
    )


_PLAIN: Final = Embed()


def _signatures(value: object, where: str) -> Sequence[Mapping[str, object]] | None:
    if value is None:
        return None
    try:
        return check_signatures(value, where)
    except InvalidTaskError as exc:
        raise _acknowledged(exc) from None


def _chord(value: object, where: str, in_group: bool) -> Mapping[str, object] | None:
    if value is None:
        return None
    try:
        return check_signature(value, where)
    except InvalidTaskError as exc:
        if not in_group:
            return None
        raise _acknowledged(exc) from None


def _acknowledged(exc: InvalidTaskError) -> RemoteProtocolError:
    return InvalidTaskError(exc.field, exc.expected, exc.found, hint=Hint.DROP)


def embed_dict(embed: Embed) -> dict[str, object]:
    """Build the third element of a protocol 2 body, keys in wire order."""
    return {
        "callbacks": None if embed.callbacks is None else list(embed.callbacks),
        "errbacks": None if embed.errbacks is None else list(embed.errbacks),
        "chain": None if embed.chain is None else list(embed.chain),
        "chord": embed.chord,
        **embed.extra,
    }
