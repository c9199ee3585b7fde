"""Fixtures of this folder."""

from __future__ import annotations

from tests.compat.apps import app, make_app, publisher

__all__ = ["app", "make_app", "publisher"]
