"""Time zones by name, and the zone of this machine. Spec: app-and-cli#14."""

from __future__ import annotations

import os
from datetime import tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil import tz

__all__ = ["UTC_ZONE", "get_timezone", "local_zone"]

UTC_ZONE = ZoneInfo("UTC")


def get_timezone(zone: str | tzinfo) -> tzinfo:
    """Return the zone of an IANA name; a tzinfo is returned as it is.

    Raises:
        zoneinfo.ZoneInfoNotFoundError: There is no zone of that name.
    """
    return ZoneInfo(zone) if isinstance(zone, str) else zone


def local_zone() -> tzinfo:
    """Return the zone this process lives in, by its IANA name where the system tells one."""
    for name in (os.environ.get("TZ"), _linked_zone()):
        if name:
            try:
                return ZoneInfo(name.removeprefix(":"))
            except (ZoneInfoNotFoundError, ValueError):
                continue  # a POSIX rule such as EST5EDT,M3…; dateutil follows the C library
    return tz.tzlocal()


def _linked_zone() -> str | None:
    """Return the name that ``/etc/localtime`` links to."""
    try:
        target = os.fspath(Path("/etc/localtime").readlink())
    except OSError:
        return None
    _, found, name = target.partition("zoneinfo/")
    return name if found else None
