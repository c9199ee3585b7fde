"""Points in time as they travel: ISO 8601 text out, a liberal ISO 8601 reader in.

Everything here is a function of its arguments: whoever calls brings `now`.

Reading follows Celery 5.3.5 and later, which take the whole of ISO 8601 (basic and extended form, week and ordinal
dates, ``24:00``), any single character between date and time, and a dot or comma before a fraction whose digits past
the microsecond are cut. A value without an offset is UTC, whatever the sender's settings say.

Spec: task-message#5
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone

from celeriac_protocol.errors import LocalProtocolError, abbreviate

__all__ = ["after", "expiration_ms", "parse_iso8601", "to_wire"]

_COMMON = re.compile(
    r"\d{4}-\d\d-\d\dT[0-2]\d:\d\d:\d\d(?:\.\d{6})?(?:[+-][0-2]\d:[0-5]\d)?", re.ASCII
)
"""What Celery writes. `datetime.fromisoformat` reads exactly this, and it is ten times faster."""
_OFFSET = re.compile(r"([+-])(\d\d)(?::?(\d\d))?", re.ASCII)
_FRACTION = re.compile(r"[.,](\d+)", re.ASCII)
_TEXT_LIMIT = 100
"""No form of ISO 8601 is longer, unless by digits of a fraction that would be cut anyway."""


def parse_iso8601(value: object) -> datetime:
    """Read a point in time.

    Args:
        value: ISO 8601 text, or a datetime as an AMQP timestamp arrives.

    Returns:
        An aware datetime with the offset of the text; UTC when it names none.

    Raises:
        ValueError: Anything else, with the reason in the text.

    Spec: task-message#5.2
    """
    if isinstance(value, datetime):
        return value if value.utcoffset() is not None else value.replace(tzinfo=UTC)
    if not isinstance(value, str):
        raise ValueError(f"expected ISO 8601 text, got {type(value).__name__}")
    if _COMMON.fullmatch(value):
        found = datetime.fromisoformat(value) if value[11:13] != "24" else _parse(value)
    else:
        found = _parse(value)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def to_wire(value: date | str) -> str:
    """Return the text under which an `eta` or `expires` travels.

    Args:
        value: A datetime or date becomes its `isoformat`, a naive one without offset; text passes unchecked.

    Raises:
        LocalProtocolError: Any other type; a number of seconds needs `after` first.

    Spec: task-message#5.1
    """
    if isinstance(value, str):
        return value
    if isinstance(value, date):
        return value.isoformat()
    raise LocalProtocolError(f"expected a datetime, date or text, got {abbreviate(value)}")


def after(now: datetime, seconds: float) -> datetime:
    """Return the instant `seconds` after `now`, with the offset its time zone has then.

    Args:
        now: Aware, in the time zone the text shall have.
        seconds: Any number; negative ones lie in the past.

    Raises:
        LocalProtocolError: `now` is naive, `seconds` is no number, or the instant is out of range.

    Spec: task-message#5.1
    """
    if now.tzinfo is None:
        raise LocalProtocolError("now: expected an aware datetime, got a naive one")
    if not isinstance(seconds, int | float):
        raise LocalProtocolError(f"expected a number of seconds, got {abbreviate(seconds)}")
    try:
        # Through UTC: adding to a local time would ignore a change of the clocks in between.
        return (now.astimezone(UTC) + timedelta(seconds=seconds)).astimezone(now.tzinfo)
    except (OverflowError, ValueError) as exc:
        raise LocalProtocolError(f"{seconds!r} seconds from now: {exc}") from exc


def expiration_ms(expires: date | str | float, *, now: datetime) -> str:
    """Return the `expiration` property that goes with `expires`.

    Args:
        expires: Seconds from now, an instant (a naive one is UTC), or the text of one.
        now: Aware.

    Returns:
        Whole milliseconds as decimal text; ``"0"`` for what has expired already.

    Raises:
        LocalProtocolError: A type, text or number that names no instant.

    Spec: task-message#1.3
    """
    try:
        if isinstance(expires, int | float):
            seconds = float(expires)
        elif isinstance(expires, date) and not isinstance(expires, datetime):
            at = datetime(expires.year, expires.month, expires.day, tzinfo=UTC)
            seconds = (at - now).total_seconds()
        else:
            seconds = (parse_iso8601(expires) - now).total_seconds()
        return str(max(0, int(seconds * 1000)))
    except (ValueError, OverflowError) as exc:
        raise LocalProtocolError(f"expires: {exc}") from exc


def _parse(text: str) -> datetime:
    if len(text) > _TEXT_LIMIT:
        raise ValueError(f"expected ISO 8601 text, got {len(text)} characters")
    if not text.isascii():
        raise ValueError("ISO 8601 text holds ASCII characters only")
    try:
        day, end = _parse_date(text)
        if end == len(text):
            return datetime(day.year, day.month, day.day)  # noqa: DTZ001 - the caller adds the zone
        # text[end] is the separator, whatever it is.
        return _parse_time(day, text[end + 1 :])
    except OverflowError as exc:
        raise ValueError(str(exc)) from exc


def _parse_date(text: str) -> tuple[date, int]:
    """Return the date `text` begins with, and where it ends."""
    year = _number(text, 0, 4)
    if len(text) == 4:
        return date(year, 1, 1), 4
    dash = text[4] == "-"
    start = 5 if dash else 4
    if text[start : start + 1] == "W":
        return _parse_week_date(text, year, start + 1, dash)
    month_text = text[start : start + 2]
    end = start + 2
    if _is_number(month_text, 2):
        if dash and end == len(text):
            return date(year, int(month_text), 1), end
        if dash and text[end] == "-" and _is_number(text[end + 1 : end + 3], 2):
            return date(year, int(month_text), int(text[end + 1 : end + 3])), end + 3
        if not dash and _is_number(text[end : end + 2], 2):
            return date(year, int(month_text), int(text[end : end + 2])), end + 2
    ordinal = _number(text, start, 3)
    day = date(year, 1, 1) + timedelta(days=ordinal - 1)
    if ordinal < 1 or day.year != year:
        raise ValueError(f"the year {year} has no day {ordinal}")
    return day, start + 3


def _parse_week_date(text: str, year: int, pos: int, dash: bool) -> tuple[date, int]:
    week = _number(text, pos, 2)
    pos += 2
    weekday = 1
    if pos < len(text):
        if (text[pos] == "-") != dash:
            raise ValueError("dashes between some parts of the date only")
        pos += dash
        weekday = _number(text, pos, 1)
        pos += 1
    if not 1 <= week <= 53 or not 1 <= weekday <= 7:
        raise ValueError(f"no such day: week {week}, weekday {weekday}")
    # Not `fromisocalendar(year, week, weekday)`: Celery takes a week 53 in every year.
    first = date.fromisocalendar(year, 1, 1)
    return first + timedelta(days=(week - 1) * 7 + weekday - 1), pos


def _parse_time(day: date, text: str) -> datetime:
    if len(text) < 2:
        raise ValueError("expected at least an hour after the separator")
    parts = [0, 0, 0]
    micro = 0
    pos = 0
    colons = False
    for index in range(3):
        if pos == len(text) or text[pos] in "+-Zz":
            break
        if index == 1 and text[pos] == ":":
            colons = True
            pos += 1
        elif index == 2 and colons:
            if text[pos] != ":":
                raise ValueError("colons between some parts of the time only")
            pos += 1
        parts[index] = _number(text, pos, 2)
        pos += 2
    else:
        if fraction := _FRACTION.match(text, pos):
            micro = int(fraction[1][:6].ljust(6, "0"))
            pos = fraction.end()
    zone = _parse_offset(text[pos:]) if pos < len(text) else None
    hour, minute, second = parts
    midnight_after = hour == 24
    if midnight_after:
        if minute or second or micro:
            raise ValueError("hour 24 is midnight only")
        hour = 0
    found = datetime(day.year, day.month, day.day, hour, minute, second, micro, tzinfo=zone)
    return found + timedelta(days=1) if midnight_after else found


def _parse_offset(text: str) -> timezone:
    if text in ("Z", "z"):
        return UTC
    match = _OFFSET.fullmatch(text)
    if match is None:
        raise ValueError(f"expected an offset, got {abbreviate(text)}")
    sign, hours, minutes = match[1], int(match[2]), int(match[3] or 0)
    if hours > 23 or minutes > 59:
        raise ValueError(f"no such offset: {text}")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if sign == "-" else offset)


def _is_number(text: str, width: int) -> bool:
    return len(text) == width and text.isdigit()


def _number(text: str, pos: int, width: int) -> int:
    part = text[pos : pos + width]
    if not _is_number(part, width):
        raise ValueError(f"expected {width} digits at position {pos} of {abbreviate(text)}")
    return int(part)
