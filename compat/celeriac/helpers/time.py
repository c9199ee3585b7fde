"""Time as schedules and messages need it. Spec: app-and-cli#10.2."""

from __future__ import annotations

import random
import time as _time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from types import ModuleType
from typing import Any

from dateutil.parser import isoparse
from dateutil.relativedelta import relativedelta

from celeriac.app.zones import UTC_ZONE, get_timezone, local_zone

__all__ = [
    "LocalTimezone",
    "adjust_timestamp",
    "delta_resolution",
    "ffwd",
    "get_exponential_backoff_interval",
    "humanize_seconds",
    "is_naive",
    "localize",
    "make_aware",
    "maybe_iso8601",
    "maybe_make_aware",
    "maybe_timedelta",
    "rate",
    "remaining",
    "timezone",
    "to_utc",
    "utcoffset",
    "weekday",
    "yearmonth",
]

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_RATE_UNITS = {"s": 1, "m": 60, "h": 3600}
_UNITS = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"))
ffwd = relativedelta


def LocalTimezone() -> tzinfo:  # noqa: N802 - the public name
    """Return the zone of this machine."""
    return local_zone()


class _Timezones:
    """The zones, and conversions between them."""

    utc: tzinfo = UTC_ZONE

    @property
    def local(self) -> tzinfo:
        """The zone of this machine."""
        return local_zone()

    def get_timezone(self, zone: str | tzinfo) -> tzinfo:
        """Return the zone of a name."""
        return get_timezone(zone)

    def tz_or_local(self, tz: str | tzinfo | None = None) -> tzinfo:
        """Return the zone of a name, or this machine's for `None`."""
        return self.local if tz is None else get_timezone(tz)

    def to_local(
        self, dt: datetime, local: tzinfo | None = None, orig: tzinfo | None = None
    ) -> datetime:
        """Convert to a local zone; a naive `dt` is in `orig`, by default UTC."""
        if is_naive(dt):
            dt = make_aware(dt, orig or self.utc)
        return localize(dt, self.tz_or_local(local))

    def to_system(self, dt: datetime) -> datetime:
        """Convert to this machine's zone."""
        return localize(dt, self.local)

    def to_local_fallback(self, dt: datetime) -> datetime:
        """Convert to this machine's zone; a naive `dt` is in it already."""
        return make_aware(dt, self.local) if is_naive(dt) else localize(dt, self.local)


timezone = _Timezones()


def maybe_timedelta(delta: float | timedelta | None) -> timedelta | None:
    """Return a number of seconds as timedelta; anything else as it is."""
    return timedelta(seconds=delta) if isinstance(delta, int | float) else delta


def delta_resolution(dt: datetime, delta: timedelta) -> datetime:
    """Round a time down to the unit of an interval: day, hour or minute; shorter intervals leave it alone."""
    fields = {"second": 0, "microsecond": 0}
    seconds = delta.total_seconds()
    if seconds >= 86400:
        return dt.replace(hour=0, minute=0, **fields)  # type: ignore[arg-type]
    if seconds >= 3600:
        return dt.replace(minute=0, **fields)  # type: ignore[arg-type]
    return dt.replace(**fields) if seconds >= 60 else dt  # type: ignore[arg-type]


def remaining(
    start: datetime,
    ends_in: timedelta | relativedelta,
    now: datetime | None = None,
    relative: bool = False,
) -> timedelta:
    """Return how long it still is until `ends_in` after `start`.

    Args:
        start: From when.
        ends_in: How long after it.
        now: Instead of the time it is.
        relative: Round the end down to the unit of the interval.
    """
    now = now or datetime.now(UTC)
    if is_naive(start):
        start = make_aware(start, UTC)
    # In UTC, so that an hour is an hour also when the clocks change.
    end = start.astimezone(UTC) + ends_in if isinstance(ends_in, timedelta) else start + ends_in
    if relative and isinstance(ends_in, timedelta):
        end = delta_resolution(end.astimezone(start.tzinfo), ends_in).replace(microsecond=0)
    return end - maybe_make_aware(now)


def rate(r: str | float | None) -> float:
    """Return a rate such as ``100/m`` as a number per second; no rate is 0."""
    if not r:
        return 0
    if isinstance(r, int | float):
        return r
    number, slash, unit = r.partition("/")
    return float(number) / _RATE_UNITS[unit] if slash else float(number)


def weekday(name: str) -> int:
    """Return the number of a day of the week, Sunday 0, by the first three letters of its name."""
    return _number(_DAYS, name)


def yearmonth(name: str) -> int:
    """Return the number of a month, January 1, by the first three letters of its name."""
    return _number(_MONTHS, name) + 1


def _number(names: tuple[str, ...], name: str) -> int:
    try:
        return names.index(name[:3].lower())
    except ValueError:
        raise KeyError(name) from None


def humanize_seconds(
    secs: float, prefix: str = "", sep: str = "", now: str = "now", microseconds: bool = False
) -> str:
    """Return a duration as text: ``1.50 minutes``.

    Args:
        secs: Seconds.
        prefix: In front.
        sep: Between prefix and number.
        now: What to say of less than a second.
        microseconds: Tell fractions of a second.
    """
    secs = float(f"{float(secs):.2f}")
    for divisor, unit in _UNITS:
        if secs >= divisor:
            count = secs / divisor
            return f"{prefix}{sep}{count:.2f} {unit}{'s' if count > 1 else ''}"
    if secs >= 1 or (secs > 0 and microseconds):
        return f"{prefix}{sep}{secs:.2f} second{'s' if secs != 1 else ''}"
    return now


def maybe_iso8601(dt: datetime | str | None) -> datetime | None:
    """Return ISO 8601 text as datetime; anything else as it is."""
    return isoparse(dt) if isinstance(dt, str) and dt else dt or None


def is_naive(dt: datetime) -> bool:
    """Tell whether a datetime has no zone."""
    return dt.tzinfo is None or dt.tzinfo.utcoffset(dt) is None


def make_aware(dt: datetime, tz: tzinfo) -> datetime:
    """Put a naive datetime into a zone."""
    return dt.replace(tzinfo=tz)


def localize(dt: datetime, tz: tzinfo) -> datetime:
    """Convert a datetime to a zone; a naive one is put into it."""
    return make_aware(dt, tz) if is_naive(dt) else dt.astimezone(tz)


def to_utc(dt: datetime) -> datetime:
    """Put a naive datetime into UTC."""
    return make_aware(dt, timezone.utc)


def maybe_make_aware(dt: datetime, tz: tzinfo | None = None, naive_as_utc: bool = True) -> datetime:
    """Make a naive datetime aware, in `tz`; its value counts as UTC, or as of `tz` already."""
    if not is_naive(dt):
        return dt
    if naive_as_utc:
        dt = to_utc(dt)
    return localize(dt, timezone.utc if tz is None else timezone.tz_or_local(tz))


def utcoffset(time: ModuleType = _time, localtime: Callable[..., Any] = _time.localtime) -> float:
    """Return how many hours this machine's time lies behind UTC, as events carry it."""
    return float((time.altzone if localtime().tm_isdst else time.timezone) / 3600)


def adjust_timestamp(ts: float, offset: float, here: Callable[..., float] = utcoffset) -> float:
    """Convert a time stamp of a machine `offset` hours behind UTC to this machine's."""
    return ts - (offset - here()) * 3600


def get_exponential_backoff_interval(
    factor: int, retries: int, maximum: int, full_jitter: bool = False
) -> int:
    """Return the pause before the next attempt: ``factor * 2 ** retries`` seconds, at most `maximum`.

    Args:
        factor: Seconds.
        retries: Attempts so far.
        maximum: Upper bound in seconds.
        full_jitter: Any whole number up to that, at random.
    """
    pause = int(min(maximum, factor * 2**retries))
    if full_jitter:
        pause = random.randrange(pause + 1)
    return max(0, pause)
