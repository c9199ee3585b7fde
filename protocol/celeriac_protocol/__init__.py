"""The Celery message protocol, sans-IO: bytes in, values out."""

from __future__ import annotations

__version__ = "0.1.0.dev0"
