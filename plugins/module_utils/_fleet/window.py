# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Maintenance windows, and the dates on which they are closed."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import re
import zoneinfo

from .._time import parse_date

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_CLOCK = r"(\d{1,2}):(\d{2})"
# The command line of Ansible splits a value at blanks, so that the parts can also be joined with @.
_NAMES = r"[a-z]{3,9}(?:\s*[,-]\s*[a-z]{3,9})*"
_ZONE = re.compile(r"[A-Za-z0-9_+/-]{1,64}")
_WINDOW = re.compile(rf"(?:({_NAMES})[\s@]+)?{_CLOCK}\s*-\s*{_CLOCK}(?:[\s@]+(\S+))?", re.IGNORECASE)
_FORM = "use the form 22:00-04:00, Mon-Fri 22:00-04:00 or Sat,Sun 00:00-24:00 Europe/Berlin"


class WindowError(ValueError):
    """A maintenance window or a freeze date cannot be used."""


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """A period of a day, in minutes since midnight. It begins on the `days` (0 is Monday) and can span midnight.

    `zone` is None for the time zone of the controller. The period does not include its end.
    """

    days: frozenset[int]
    begin: int
    end: int
    zone: datetime.tzinfo | None

    def contains(self, local: datetime.datetime) -> bool:
        """Return True if a time of the zone is in the period. Changes of the clock (DST) shorten or extend it."""
        minute, day = local.hour * 60 + local.minute, local.weekday()
        if self.begin < self.end:
            return day in self.days and self.begin <= minute < self.end
        # The part after midnight belongs to the day before.
        return (day in self.days and minute >= self.begin) or ((day - 1) % 7 in self.days and minute < self.end)


@dataclasses.dataclass(frozen=True, slots=True)
class Freeze:
    """A range of dates, with both ends, on which every window is closed."""

    first: datetime.date
    last: datetime.date


def window_open(windows: object, now: datetime.datetime, freeze: object = ()) -> bool:
    """Return True if an aware time is in a window, and its date is not frozen. Without windows, every time is in one.

    `windows` is a list, or a text with semicolons; `freeze` is a list, or a text with commas. Days, times and dates are
    those of the time zone of the window, by default that of `now`. Raises `WindowError`.
    """
    frozen = read_freeze(freeze)
    for window in read_windows(windows) or [Window(frozenset(range(7)), 0, 24 * 60, None)]:
        local = now if window.zone is None else now.astimezone(window.zone)
        if window.contains(local) and not any(each.first <= local.date() <= each.last for each in frozen):
            return True
    return False


def read_windows(value: object) -> list[Window]:
    """Return the windows of an option; an empty list for none. Raises `WindowError`."""
    return [_window(text) for text in _texts(value, ";")]


def read_freeze(value: object) -> list[Freeze]:
    """Return the frozen dates of an option: ``2026-12-24``, or a range ``2026-12-20..2027-01-05``.

    Raises `WindowError`.
    """
    return [_freeze(text) for text in _texts(value, ",")]


def _texts(value: object, separator: str) -> list[str]:
    items: c.Iterable[object] = value if isinstance(value, (list, tuple)) else str(value or "").split(separator)
    # YAML reads a date without quotes as a date.
    return [text for text in (str(item).strip() for item in items) if text]


def _window(text: str) -> Window:
    match = _WINDOW.fullmatch(text)
    if match is None:
        raise WindowError(f"the window {text!r} is not valid: {_FORM}")
    days, *clock, zone = match.groups()
    begin, end = _minutes(text, clock[0], clock[1]), _minutes(text, clock[2], clock[3])
    if begin == end or begin == 24 * 60:
        raise WindowError(f"the window {text!r} is empty: for the whole day, use 00:00-24:00")
    return Window(_days(text, days or "mon-sun"), begin, end, None if zone is None else _zone(zone))


def _minutes(text: str, hour: str, minute: str) -> int:
    minutes = int(hour) * 60 + int(minute)
    if int(minute) > 59 or minutes > 24 * 60:
        raise WindowError(f"the window {text!r} has the time {hour}:{minute}: use times from 00:00 to 24:00")
    return minutes


def _days(text: str, listed: str) -> frozenset[int]:
    """Return the days of a list such as ``Mon-Fri`` or ``Sat,Sun``. A range can pass the end of the week."""
    found: set[int] = set()
    for part in listed.split(","):
        first, *rest = (_day(text, name.strip()) for name in part.split("-"))
        if len(rest) > 1:
            raise WindowError(f"the window {text!r} is not valid: {_FORM}")
        last = rest[0] if rest else first
        found |= {(first + number) % 7 for number in range((last - first) % 7 + 1)}
    return frozenset(found)


def _day(text: str, name: str) -> int:
    for number, day in enumerate(_DAYS):
        if name.lower() in (day, day[:3]):
            return number
    known = ", ".join(day[:3].title() for day in _DAYS)
    raise WindowError(f"the window {text!r} has the unknown weekday {name}: use {known}")


def _zone(name: str) -> zoneinfo.ZoneInfo:
    message = f"the time zone {name:.64} is unknown on this machine: use a name such as Europe/Berlin or UTC"
    if not _ZONE.fullmatch(name):
        raise WindowError(message)
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise WindowError(message) from error


def _freeze(text: str) -> Freeze:
    first, separator, last = text.partition("..")
    begin = parse_date(first.strip())
    end = parse_date(last.strip()) if separator else begin
    if begin is None or end is None:
        message = f"the freeze date {text!r} is not valid: use 2026-12-24, or a range such as 2026-12-20..2027-01-05"
        raise WindowError(message)
    if end < begin:
        raise WindowError(f"the freeze {text!r} ends before it begins")
    return Freeze(begin, end)
