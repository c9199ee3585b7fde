"""Points in time: what is written, what is read, and how liberally."""

# ruff: noqa: DTZ001 - naive datetimes are part of what is tested

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac_protocol.errors import LocalProtocolError
from celeriac_protocol.times import after, expiration_ms, parse_iso8601, to_wire

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
INDIA = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2030-07-01T12:00:00", datetime(2030, 7, 1, 12, tzinfo=UTC)),
        ("2030-07-01T12:00:00.000005+05:30", datetime(2030, 7, 1, 12, 0, 0, 5, tzinfo=INDIA)),
        ("2026-11-22T16:57:54.726142+00:00", datetime(2026, 11, 22, 16, 57, 54, 726142, UTC)),
        ("2020", datetime(2020, 1, 1, tzinfo=UTC)),
        ("2020-05", datetime(2020, 5, 1, tzinfo=UTC)),
        ("2020-05-06", datetime(2020, 5, 6, tzinfo=UTC)),
        ("20200506", datetime(2020, 5, 6, tzinfo=UTC)),
        ("2020-W01", datetime(2019, 12, 30, tzinfo=UTC)),
        ("2020W013", datetime(2020, 1, 1, tzinfo=UTC)),
        ("2010-W53-7", datetime(2011, 1, 9, tzinfo=UTC)),
        ("2020-123", datetime(2020, 5, 2, tzinfo=UTC)),
        ("2020366", datetime(2020, 12, 31, tzinfo=UTC)),
        ("20200101T000000Z", datetime(2020, 1, 1, tzinfo=UTC)),
        ("2020-01-02t03:04:05z", datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2020-01-02 03:04", datetime(2020, 1, 2, 3, 4, tzinfo=UTC)),
        ("2020-01-02_0304", datetime(2020, 1, 2, 3, 4, tzinfo=UTC)),
        ("2020-01-02T03", datetime(2020, 1, 2, 3, tzinfo=UTC)),
        ("2020-01-02T03:04:05,5", datetime(2020, 1, 2, 3, 4, 5, 500000, UTC)),
        ("2020-01-02T03:04:05.123456789", datetime(2020, 1, 2, 3, 4, 5, 123456, UTC)),
        ("2020-01-02T03:04:05+0530", datetime(2020, 1, 2, 3, 4, 5, tzinfo=INDIA)),
        ("2020-01-02T03:04:05+05", datetime(2020, 1, 1, 22, 4, 5, tzinfo=UTC)),
        ("2020-01-02T03:04:05-05:00", datetime(2020, 1, 2, 8, 4, 5, tzinfo=UTC)),
        ("2020-01-02T24:00:00", datetime(2020, 1, 3, tzinfo=UTC)),
        ("2020-12-31T24:00+01:00", datetime(2020, 12, 31, 23, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999", datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)),
        ("0001-01-01T00:00:00+05:30", datetime(1, 1, 1, tzinfo=INDIA)),
    ],
)
def test_all_of_iso_8601_is_read(text: str, expected: datetime) -> None:
    found = parse_iso8601(text)
    assert found == expected
    assert found.utcoffset() is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        " 2020-01-01",
        "2020-01-01 ",
        "202",
        "202001",
        "2020-13-01",
        "2020-02-30",
        "2021-366",
        "2020-000",
        "2020-W54",
        "2020-W00",
        "2020-W01-8",
        "2020-W013",
        "2020-01-01T",
        "2020-01-01T1",
        "2020-01-01T25",
        "2020-01-01T24:00:01",
        "2020-01-01T12:60",
        "2020-01-01T12:00:60",
        "2020-01-01T12:00.5",
        "2020-01-01T12:0000",
        "2020-01-01T12:00:00.",
        "2020-01-01T12:00:00+24:00",
        "2020-01-01T12:00:00+05:60",
        "2020-01-01T12:00:00+5",
        "2020-01-01T12:00:00 UTC",
        "2020-01-01T12:00:00Zx",
        "9999-12-31T24:00",
        "9999-W53-7",
        "0000-01-01",
        "٢٠٢٠-01-01",
        "2020-01-01T12:00:00." + "1" * 200,
        "1" * 1_000_000,
    ],
)
def test_anything_else_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the texts are for people
        parse_iso8601(text)


@pytest.mark.parametrize("value", [None, 5, 1.5, True, [], {}, b"2020"])
def test_only_text_and_timestamps_are_points_in_time(value: object) -> None:
    with pytest.raises(ValueError, match="expected ISO 8601 text"):
        parse_iso8601(value)


def test_an_amqp_timestamp_is_taken_as_utc() -> None:
    assert parse_iso8601(datetime(2020, 1, 2)) == datetime(2020, 1, 2, tzinfo=UTC)
    assert parse_iso8601(datetime(2020, 1, 2, tzinfo=INDIA)).utcoffset() == timedelta(hours=5.5)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2030, 7, 1, 12), "2030-07-01T12:00:00"),
        (datetime(2030, 7, 1, 12, 0, 0, 5, tzinfo=INDIA), "2030-07-01T12:00:00.000005+05:30"),
        (datetime(2030, 7, 1, tzinfo=UTC), "2030-07-01T00:00:00+00:00"),
        (date(2030, 7, 1), "2030-07-01"),
        ("garbage", "garbage"),
    ],
)
def test_a_point_in_time_is_written_as_python_does(value: date | str, text: str) -> None:
    assert to_wire(value) == text


@pytest.mark.parametrize("value", [5, 1.5, None, timedelta(1)])
def test_numbers_and_timedeltas_are_not_written(value: object) -> None:
    with pytest.raises(LocalProtocolError):
        to_wire(value)  # type: ignore[arg-type]


def test_a_countdown_lands_in_the_zone_of_now() -> None:
    paris = ZoneInfo("Europe/Paris")
    night_before = datetime(2026, 3, 28, 12, tzinfo=paris)
    due = after(night_before, 86400)
    assert to_wire(due) == "2026-03-29T13:00:00+02:00"
    assert to_wire(after(NOW, 10.000001)) == "2026-11-22T17:00:10.000001+00:00"
    assert to_wire(after(NOW, -3600)) == "2026-11-22T16:00:00+00:00"


@pytest.mark.parametrize("seconds", [1e20, float("nan"), float("inf"), timedelta(1), "5"])
def test_an_impossible_countdown_stops_the_producer(seconds: object) -> None:
    with pytest.raises(LocalProtocolError):
        after(NOW, seconds)  # type: ignore[arg-type]


def test_a_countdown_needs_an_aware_now() -> None:
    with pytest.raises(LocalProtocolError, match="aware"):
        after(datetime(2026, 1, 1), 5)


@pytest.mark.parametrize(
    ("expires", "milliseconds"),
    [
        (100, "100000"),
        (0.5, "500"),
        (True, "1000"),
        (0, "0"),
        (-5, "0"),
        (NOW + timedelta(seconds=299.9949), "299994"),
        (datetime(2026, 11, 22, 17, 0, 1), "1000"),
        (date(2026, 11, 23), "25200000"),
        ("2026-11-22T17:00:02", "2000"),
        ("2026-11-22T17:00:02+01:00", "0"),
        (datetime(9999, 12, 31, tzinfo=UTC), "251606847600000"),
    ],
)
def test_expiration_counts_milliseconds_from_now(
    expires: date | str | float, milliseconds: str
) -> None:
    assert expiration_ms(expires, now=NOW) == milliseconds


@pytest.mark.parametrize("expires", ["garbage", "", timedelta(1), None, float("nan"), float("inf")])
def test_an_expiry_that_names_no_instant_stops_the_producer(expires: object) -> None:
    with pytest.raises(LocalProtocolError):
        expiration_ms(expires, now=NOW)  # type: ignore[arg-type]


@given(st.datetimes(timezones=st.timezones() | st.just(UTC), allow_imaginary=False))
def test_reading_undoes_writing(value: datetime) -> None:
    offset = value.utcoffset()
    assert offset is not None
    if offset.seconds % 60:  # local mean time: ISO 8601 knows no seconds in an offset
        with pytest.raises(ValueError, match="offset"):
            parse_iso8601(to_wire(value))
        return
    found = parse_iso8601(to_wire(value))
    assert found.replace(tzinfo=None) == value.replace(tzinfo=None)
    assert found.utcoffset() == offset


@given(st.text() | st.text(alphabet="0123456789-:+.,TWZ ", max_size=30))
def test_any_text_gives_an_aware_datetime_or_a_value_error(text: str) -> None:
    try:
        found = parse_iso8601(text)
    except ValueError:
        return
    assert found.utcoffset() is not None
