# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Maintenance windows and freeze dates, with tables of cases."""

from __future__ import annotations

import datetime as dt

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.window import WindowError, window_open

THURSDAY = "2026-01-15"
FRIDAY = "2026-01-16"
SATURDAY = "2026-01-17"
SUNDAY = "2026-01-18"
MONDAY = "2026-01-19"


def at(date: str, clock: str) -> dt.datetime:
    return dt.datetime.fromisoformat(f"{date}T{clock}+00:00")


@pytest.mark.parametrize(
    ("window", "clock", "is_open"),
    [
        ("22:00-04:00", "21:59", False),
        ("22:00-04:00", "22:00", True),
        ("22:00-04:00", "00:00", True),
        ("22:00-04:00", "03:59", True),
        ("22:00-04:00", "04:00", False),
        ("2:00 - 4:00", "03:00", True),
        ("02:00-04:00", "04:00", False),
        ("02:00-04:00", "01:59", False),
        ("00:00-24:00", "23:59", True),
        ("20:00-24:00", "23:59", True),
        ("20:00-24:00", "00:00", False),
        ("20:00-00:00", "23:59", True),
        ("20:00-00:00", "00:00", False),
        # In January, Berlin is one hour ahead of UTC.
        ("22:00-04:00 Europe/Berlin", "21:30", True),
        ("22:00-04:00 Europe/Berlin", "03:30", False),
        ("22:00-04:00@Europe/Berlin", "21:30", True),
        ("22:00-04:00 UTC", "21:30", False),
        (["02:00-04:00", "12:00-13:00"], "12:30", True),
        ("02:00-04:00; 12:00-13:00 UTC", "12:30", True),
        ("02:00-04:00;12:00-13:00", "11:59", False),
        ("", "12:00", True),
        ([], "12:00", True),
        (None, "12:00", True),
    ],
)
def test_windows_follow_the_table(window: object, clock: str, is_open: bool) -> None:
    assert window_open(window, at(THURSDAY, clock)) is is_open


@pytest.mark.parametrize(
    ("window", "date", "clock", "is_open"),
    [
        ("Mon-Fri 22:00-04:00", FRIDAY, "22:00", True),
        ("Mon-Fri 22:00-04:00", SATURDAY, "03:59", True),
        ("Mon-Fri 22:00-04:00", SATURDAY, "22:00", False),
        ("Mon-Fri 22:00-04:00", SUNDAY, "23:00", False),
        ("Mon-Fri 22:00-04:00", MONDAY, "03:00", False),
        ("Sun 22:00-04:00", MONDAY, "03:00", True),
        ("Sat,Sun 00:00-24:00", SUNDAY, "23:59", True),
        ("Sat, sunday 00:00-24:00", MONDAY, "00:00", False),
        ("Fri-Mon 12:00-13:00", SUNDAY, "12:30", True),
        ("Fri-Mon 12:00-13:00", THURSDAY, "12:30", False),
        ("mon-wed,FRI 12:00-13:00", FRIDAY, "12:30", True),
        ("Fri@22:00-04:00@Europe/Berlin", SATURDAY, "02:59", True),
        ("Fri 22:00-04:00 Europe/Berlin", SATURDAY, "03:00", False),
        # It is already Saturday in Tokyo.
        ("Sat 00:00-01:00 Asia/Tokyo", FRIDAY, "15:30", True),
        (["Sat,Sun 00:00-24:00", "Mon-Fri 22:00-04:00"], SUNDAY, "12:00", True),
    ],
)
def test_weekdays_are_those_of_the_begin(window: object, date: str, clock: str, is_open: bool) -> None:
    assert window_open(window, at(date, clock)) is is_open


@pytest.mark.parametrize(
    ("window", "utc", "is_open"),
    [
        # The clock goes from 02:00 to 03:00 on 29 March 2026: 02:30 does not exist.
        ("02:00-03:00 Europe/Berlin", "2026-03-29T00:59", False),
        ("02:00-03:00 Europe/Berlin", "2026-03-29T01:00", False),
        ("01:00-04:00 Europe/Berlin", "2026-03-29T01:00", True),
        ("01:00-04:00 Europe/Berlin", "2026-03-29T02:00", False),
        # The clock goes from 03:00 to 02:00 on 25 October 2026: 02:30 exists twice.
        ("02:00-03:00 Europe/Berlin", "2026-10-25T00:30", True),
        ("02:00-03:00 Europe/Berlin", "2026-10-25T01:30", True),
        ("02:00-03:00 Europe/Berlin", "2026-10-25T02:00", False),
    ],
)
def test_windows_use_the_local_clock_when_it_changes(window: str, utc: str, is_open: bool) -> None:
    assert window_open(window, dt.datetime.fromisoformat(f"{utc}+00:00")) is is_open


@pytest.mark.parametrize(
    ("freeze", "date", "clock", "is_open"),
    [
        (["2026-01-15"], THURSDAY, "12:00", False),
        (["2026-01-15"], FRIDAY, "00:00", True),
        ("2026-01-10..2026-01-16", FRIDAY, "23:59", False),
        ("2026-01-10..2026-01-16", SATURDAY, "00:00", True),
        ("2026-01-01, 2026-01-18", SUNDAY, "00:00", False),
        ([dt.date(2026, 1, 15)], THURSDAY, "00:00", False),
        ("", THURSDAY, "12:00", True),
        ([], THURSDAY, "12:00", True),
    ],
)
def test_frozen_dates_close_every_window(freeze: object, date: str, clock: str, is_open: bool) -> None:
    assert window_open("", at(date, clock), freeze) is is_open
    assert window_open("00:00-24:00", at(date, clock), freeze) is is_open


def test_a_frozen_date_is_that_of_the_zone() -> None:
    assert not window_open("00:00-24:00 Asia/Tokyo", at(THURSDAY, "15:00"), [FRIDAY])
    assert window_open("00:00-24:00 UTC", at(THURSDAY, "15:00"), [FRIDAY])


@pytest.mark.parametrize(
    ("window", "text"),
    [
        ("always", "not valid"),
        ("22-04", "not valid"),
        ("25:00-26:00", "25:00"),
        ("22:60-23:00", "22:60"),
        ("22:00-24:01", "24:01"),
        ("22:00-22:00", "00:00-24:00"),
        ("24:00-02:00", "00:00-24:00"),
        ("Mon-Fri", "not valid"),
        ("Mon-Wed-Fri 22:00-04:00", "not valid"),
        ("Mo-Fr 22:00-04:00", "not valid"),
        ("Mop-Fri 22:00-04:00", "weekday Mop"),
        ("22:00-04:00 Nowhere/Land", "time zone Nowhere/Land is unknown"),
        ("22:00-04:00 ../x", "time zone"),
        ("22:00-04:00, 05:00-06:00", "not valid"),
        (["22:00-04:00", "x"], "'x'"),
    ],
)
def test_an_invalid_window_is_refused(window: object, text: str) -> None:
    with pytest.raises(WindowError, match=text):
        window_open(window, at(THURSDAY, "12:00"))


@pytest.mark.parametrize(
    ("freeze", "text"),
    [
        ("christmas", "freeze date 'christmas'"),
        ("2026-12-32", "freeze date"),
        ("24.12.2026", "freeze date"),
        ("2027-01-05..2026-12-20", "ends before"),
        ("2026-12-20..", "freeze date"),
        ("2026-12-20 - 2027-01-05", "freeze date"),
    ],
)
def test_an_invalid_freeze_date_is_refused(freeze: object, text: str) -> None:
    with pytest.raises(WindowError, match=text):
        window_open("", at(THURSDAY, "12:00"), freeze)


@pytest.mark.parametrize(
    "zone", ["../" * 30_000, "/etc/passwd", "x" * 5000, "Europe", "a\udcff", "Europe/../Europe/Berlin"]
)
def test_a_zone_is_a_name(zone: str) -> None:
    with pytest.raises(WindowError, match="is unknown on this machine") as caught:
        window_open(f"22:00-04:00 {zone}", at(THURSDAY, "23:00"))
    assert len(str(caught.value)) < 200
