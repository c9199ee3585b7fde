"""Stamps: headers put on every task of a workflow, perhaps chosen by a visitor. Spec: task-message#9."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from celeriac.canvas.signature import Signature, listed, maybe_signature

__all__ = ["StampingVisitor", "stamp", "stamp_links"]


class StampingVisitor(ABC):
    """Chooses stamps.

    Each method gets a part of the workflow and the stamps of what surrounds it, and returns stamps: a dict whose keys
    all count as stamped, unless it names those that do in a list under ``stamped_headers``.
    """

    @abstractmethod
    def on_signature(self, sig: Signature, **headers: Any) -> dict[str, Any]:
        """Called for every task."""

    def on_group_start(self, group: Any, **headers: Any) -> dict[str, Any]:
        """Called before the members of a group; what it returns goes to all of them."""
        return {}

    def on_group_end(self, group: Any, **headers: Any) -> None:
        """Called after the members of a group."""

    def on_chain_start(self, chain: Any, **headers: Any) -> dict[str, Any]:
        """Called before the steps of a chain; what it returns goes to all of them."""
        return {}

    def on_chain_end(self, chain: Any, **headers: Any) -> None:
        """Called after the steps of a chain."""

    def on_chord_header_start(self, sig: Any, **header: Any) -> dict[str, Any]:
        """Called before the header of a chord; what it returns goes to its tasks."""
        return self.on_group_start(_header_of(sig), **header) or {}

    def on_chord_header_end(self, sig: Any, **header: Any) -> None:
        """Called after the header of a chord."""
        self.on_group_end(_header_of(sig), **header)

    def on_chord_body(self, sig: Any, **header: Any) -> dict[str, Any]:
        """Called before the body of a chord."""
        return {}

    def on_callback(self, callback: Any, **header: Any) -> dict[str, Any]:
        """Called for every callback."""
        return {}

    def on_errback(self, errback: Any, **header: Any) -> dict[str, Any]:
        """Called for every errback."""
        return {}


def _header_of(sig: Any) -> Any:
    from celeriac.canvas.group import group

    return sig.tasks if isinstance(sig.tasks, Signature) else group(list(sig.tasks))


def _joined(*parts: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return stamps of several sources as one: later values win, all names count."""
    made: dict[str, Any] = {}
    names: dict[str, None] = {}
    for part in parts:
        if not part:
            continue
        made.update(part)
        names.update(dict.fromkeys(part.get("stamped_headers") or part))
    made.pop("stamped_headers", None)
    names.pop("stamped_headers", None)
    if names:
        made["stamped_headers"] = list(names)
    return made


def stamp(sig: Any, visitor: Any, append: bool, headers: Mapping[str, Any]) -> None:
    """Stamp a signature and everything in it; see `Signature.stamp`."""
    kind = sig.subtask_type
    if kind == "chain":
        own = _joined(headers, visitor and visitor.on_chain_start(sig, **headers))
        _stamp_all(sig.tasks, visitor, append, own)
        if visitor:
            visitor.on_chain_end(sig, **own)
        stamp_links(sig, visitor, append, own)
    elif kind == "group":
        own = _joined(headers, visitor and visitor.on_group_start(sig, **headers))
        _stamp_all(sig.tasks, visitor, append, own)
        if visitor:
            visitor.on_group_end(sig, **own)
    elif kind == "chord":
        _stamp_chord(sig, visitor, append, headers)
    else:
        own = _joined(headers, visitor and visitor.on_signature(sig, **headers))
        stamp_links(sig, visitor, append, headers)
        _write(sig, own, append)


def _stamp_all(tasks: Any, visitor: Any, append: bool, headers: Mapping[str, Any]) -> None:
    for task in tasks:
        stamp(task, visitor, append, headers)


def _stamp_chord(sig: Any, visitor: Any, append: bool, headers: Mapping[str, Any]) -> None:
    own = _joined(headers, visitor and visitor.on_chord_header_start(sig, **headers))
    header: Any = sig.tasks
    tasks = header["kwargs"]["tasks"] if isinstance(header, Signature) else header
    _stamp_all(tasks, visitor, append, own)
    if not visitor:
        # Plain stamps are for the header; a body is stamped by name.
        return
    visitor.on_chord_header_end(sig, **own)
    if sig.body is not None:
        stamp(sig.body, visitor, append, _joined(own, visitor.on_chord_body(sig, **own)))


def stamp_links(sig: Any, visitor: Any, append: bool, headers: Mapping[str, Any]) -> None:
    """Stamp callbacks and errbacks; see `Signature.stamp_links`."""
    for key, method in (("link", "on_callback"), ("link_error", "on_errback")):
        found = sig.options.get(key)
        if not found:
            continue
        # Dict forms become signatures in place, so that what is stamped is what will be sent.
        signatures = [maybe_signature(item, app=sig._app) for item in listed(found)]
        sig.options[key] = signatures if isinstance(found, list | tuple) else signatures[0]
        for linked in signatures:
            chosen = visitor and getattr(visitor, method)(linked, **headers)
            stamp(linked, visitor, append, _joined(headers, chosen))


def _write(sig: Any, headers: Mapping[str, Any], append: bool) -> None:
    if not headers:
        return
    options = sig.options
    before = list(options.get("stamped_headers") or ())
    for key, value in headers.items():
        if key == "stamped_headers":
            continue
        if append and key in before:
            value = [*listed(value), *listed(options.get(key))]
        options[key] = value
    options["stamped_headers"] = list(dict.fromkeys([*before, *headers.get("stamped_headers", ())]))
