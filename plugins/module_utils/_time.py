# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Times as text: one parser and one formatter of RFC 3339, and whole microseconds since 1970.

Parsed times are aware and in UTC. Fractions below microseconds are cut off. `datetime.fromisoformat` alone is not
enough: Python 3.10 reads less than RFC 3339, and later versions read other forms of ISO 8601 too.
"""

from __future__ import annotations

import datetime as dt
import functools
import re

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})(?P<separator>[Tt ])(?P<clock>(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9])"
    r"(?:\.(?P<fraction>[0-9]{1,32}))?"
    r"(?P<zone>[Zz]|(?P<sign>[+-])(?P<hours>[01][0-9]|2[0-3])(?P<colon>:?)(?P<minutes>[0-5][0-9]))"
)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_MICROSECOND = dt.timedelta(microseconds=1)
_EARLIEST = dt.datetime.min.replace(tzinfo=dt.timezone.utc)
_LONGEST = 64  # characters; the longest time that the pattern takes has 58
_REMEMBERED = 16_384


def parse_time(
    value: object, *, utc_only: bool = False, basic_offset: bool = False, date_only: bool = False
) -> dt.datetime | None:
    """Parse an RFC 3339 time with any offset and any fraction; ``None`` for anything else.

    `utc_only` takes only the form with ``T`` and ``Z``, as `format_time` writes it. `basic_offset` also takes an offset
    without a colon (``+0530``). `date_only` also takes a date, as its midnight.
    """
    if not isinstance(value, str) or len(value) > _LONGEST:
        return None
    return _moment(value, utc_only, basic_offset, date_only)


# The times of a fleet repeat: a report parses each of them several times, and hosts are checked in the same seconds.
@functools.lru_cache(_REMEMBERED)
def _moment(text: str, utc_only: bool, basic_offset: bool, date_only: bool) -> dt.datetime | None:
    match = _TIME.fullmatch(text)
    if match is None:
        day = parse_date(text) if date_only else None
        return None if day is None else dt.datetime(day.year, day.month, day.day, tzinfo=dt.timezone.utc)
    if match["sign"] and not match["colon"] and not basic_offset:
        return None
    if utc_only and (match["separator"], match["zone"]) != ("T", "Z"):
        return None
    fraction = (match["fraction"] or "")[:6].ljust(6, "0")
    try:
        moment = dt.datetime.fromisoformat(f"{match['date']}T{match['clock']}.{fraction}+00:00")
        if match["sign"]:
            offset = dt.timedelta(hours=int(match["hours"]), minutes=int(match["minutes"]))
            moment = moment + offset if match["sign"] == "-" else moment - offset
    except (ValueError, OverflowError):
        return None
    return moment


def parse_date(value: object, *, of_time: bool = False) -> dt.date | None:
    """Parse a date, ``YYYY-MM-DD``; ``None`` for anything else.

    `of_time` also takes a time, whatever its form after the ``T``, and returns its date as written.
    """
    if not isinstance(value, str):
        return None
    if of_time and value[10:11] in ("T", "t", " "):
        value = value[:10]
    try:
        return dt.date.fromisoformat(value) if _DATE.fullmatch(value) else None
    except ValueError:
        return None


def format_time(moment: dt.datetime, *, exact: bool = False) -> str:
    """Return an aware time as RFC 3339 in UTC, in whole seconds: ``2026-01-10T05:31:02Z``.

    `exact` keeps the microseconds, always six digits.
    """
    utc = moment.astimezone(dt.timezone.utc).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='microseconds' if exact else 'seconds')}Z"


def sort_key(text: str | None) -> dt.datetime:
    """Return a key by which RFC 3339 texts sort. A missing or invalid time sorts before all others."""
    return parse_time(text) or _EARLIEST


def to_microseconds(moment: dt.datetime) -> int:
    """Return an aware time as whole microseconds since 1970, UTC."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> dt.datetime:
    """Return the aware time of a number of microseconds since 1970, UTC."""
    return _EPOCH + microseconds * _MICROSECOND
