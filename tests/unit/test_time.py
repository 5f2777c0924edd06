# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the parser and the formatter of RFC 3339 times."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._time import (
    format_time,
    from_microseconds,
    parse_date,
    parse_time,
    sort_key,
    to_microseconds,
)

UTC = dt.timezone.utc
MOMENTS = st.datetimes(dt.datetime(2, 1, 2), dt.datetime(9998, 12, 30), timezones=st.just(UTC))


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]  # year to microsecond


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-05-20T09:05:18Z", utc(2024, 5, 20, 9, 5, 18)),
        ("2024-05-20t09:05:18z", utc(2024, 5, 20, 9, 5, 18)),
        ("2024-05-20 09:05:18Z", utc(2024, 5, 20, 9, 5, 18)),
        ("2024-05-20T09:05:18.5Z", utc(2024, 5, 20, 9, 5, 18, 500_000)),
        ("2024-05-20T09:05:18.123456789Z", utc(2024, 5, 20, 9, 5, 18, 123_456)),
        ("2024-05-20T09:05:18+05:30", utc(2024, 5, 20, 3, 35, 18)),
        ("2024-05-20T09:05:18.0000019-11:45", utc(2024, 5, 20, 20, 50, 18, 1)),
        ("2024-05-20T09:05:18-00:00", utc(2024, 5, 20, 9, 5, 18)),
        ("0001-01-01T00:00:00Z", utc(1, 1, 1)),
    ],
)
def test_parses_rfc_3339_as_utc(text: str, moment: dt.datetime) -> None:
    parsed = parse_time(text)
    assert parsed == moment
    assert parsed.tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        None,
        1716195918,
        ["2024-05-20T09:05:18Z"],
        "",
        "yesterday",
        "2024-05-20",
        "2024-05-20T09:05Z",
        "2024-05-20T09:05:18",
        "2024-05-20T09:05:18.Z",
        "2024-05-20T09:05:18,5Z",
        "20240520T090518Z",
        "2024-W21-1T09:05:18Z",
        "2024-02-30T00:00:00Z",
        "2024-05-20T24:00:00Z",
        "2024-05-20T09:05:60Z",
        "2024-05-20T09:05:18+24:00",
        "2024-05-20T09:05:18+05:60",
        "2024-05-20T09:05:18+0530",
        "2024-05-20T09:05:18+05:30:30",
        "2024-05-20T09:05:18Z ",
        "2024-05-20T09:05:18Z\n",
        "٢٠٢٤-05-20T09:05:18Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        f"2024-05-20T09:05:18.{'0' * 64}Z",
    ],
)
def test_rejects_what_is_not_rfc_3339(value: object) -> None:
    assert parse_time(value) is None


def test_parameters_admit_further_forms() -> None:
    assert parse_time("2024-05-20T09:05:18+0530", basic_offset=True) == utc(2024, 5, 20, 3, 35, 18)
    assert parse_time("2024-05-20", date_only=True) == utc(2024, 5, 20)
    assert parse_time("2024-05-20T09:05:18Z", date_only=True) == utc(2024, 5, 20, 9, 5, 18)
    assert parse_time("2024-02-30", date_only=True) is None


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("2024-05-20T09:05:18Z", True),
        ("2024-05-20T09:05:18.5Z", True),
        ("2024-05-20T09:05:18z", False),
        ("2024-05-20t09:05:18Z", False),
        ("2024-05-20 09:05:18Z", False),
        ("2024-05-20T09:05:18+00:00", False),
    ],
)
def test_utc_only_takes_one_form(text: str, taken: bool) -> None:
    assert parse_time(text) is not None
    assert (parse_time(text, utc_only=True) is not None) is taken


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("2026-11-02", dt.date(2026, 11, 2)),
        ("2026-11-31", None),
        ("2026-11-02T00:00:00Z", None),
        ("20261102", None),
        ("2026-11-021", None),
        ("2026-W45-1", None),
        ("", None),
        (None, None),
        (20261102, None),
    ],
)
def test_parses_a_date(value: object, day: dt.date | None) -> None:
    assert parse_date(value) == day


def test_takes_the_date_of_a_time_as_written() -> None:
    assert parse_date("2026-11-02T23:30:00-05:00", of_time=True) == dt.date(2026, 11, 2)
    assert parse_date("2026-11-02", of_time=True) == dt.date(2026, 11, 2)
    assert parse_date("2026-11-02x", of_time=True) is None


@given(MOMENTS)
def test_a_formatted_time_is_parsed_back(moment: dt.datetime) -> None:
    text = format_time(moment)
    assert len(text) == len("2024-05-20T09:05:18Z")
    assert parse_time(text) == moment.replace(microsecond=0)
    assert parse_time(format_time(moment, exact=True)) == moment


@given(MOMENTS, st.integers(-23 * 60 - 59, 23 * 60 + 59))
def test_an_offset_does_not_change_the_moment(moment: dt.datetime, minutes: int) -> None:
    local = moment.astimezone(dt.timezone(dt.timedelta(minutes=minutes)))
    assert parse_time(local.isoformat()) == moment
    assert format_time(local) == format_time(moment)


@given(st.text(max_size=80) | st.binary() | st.none() | st.floats())
def test_parsers_return_a_value_for_any_input(value: object) -> None:
    for moment in (parse_time(value), parse_time(value, basic_offset=True, date_only=True)):
        assert moment is None or moment.tzinfo is UTC
    parse_date(value, of_time=True)


@given(st.lists(MOMENTS, max_size=8))
def test_texts_sort_by_time(moments: list[dt.datetime]) -> None:
    texts = [moment.isoformat() for moment in moments]
    assert sorted(texts, key=sort_key) == [moment.isoformat() for moment in sorted(moments)]


@pytest.mark.parametrize("text", [None, "", "yesterday"])
def test_no_time_sorts_before_any_time(text: str | None) -> None:
    assert sort_key(text) < sort_key("0001-01-01T00:00:00.000001Z")


@given(MOMENTS)
def test_microseconds_are_exact(moment: dt.datetime) -> None:
    assert from_microseconds(to_microseconds(moment)) == moment


def test_an_exact_time_has_six_digits() -> None:
    assert format_time(utc(2024, 5, 20, 9, 5, 18), exact=True) == "2024-05-20T09:05:18.000000Z"


def test_microseconds_count_from_1970() -> None:
    assert to_microseconds(utc(1970, 1, 1, 0, 0, 1, 1)) == 1_000_001
    assert format_time(from_microseconds(-1)) == "1969-12-31T23:59:59Z"
