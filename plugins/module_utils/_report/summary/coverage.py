# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The age of the records that a report is made of."""

from __future__ import annotations

import collections
import collections.abc as c
import datetime
import typing as t

from ..._time import parse_time

_DAY = datetime.timedelta(days=1)


class Coverage(t.NamedTuple):
    """Numbers of hosts by the age of their last record: of this run, of the last 24 hours, older, or no record."""

    this_run: int
    last_day: int
    older: int
    none: int

    def sentence(self) -> str | None:
        """Return the numbers as a sentence; None if all records are of this run: another one counts the missing."""
        if not (self.last_day or self.older):
            return None
        return (
            f"Records: {self.this_run} of this run, {self.last_day} of the last 24 hours, {self.older} older, "
            f"{self.none} missing."
        )


def coverage_of(times: c.Iterable[str | None], generated_at: str, run_started: datetime.datetime | None) -> Coverage:
    """Return the coverage of hosts with these times of their last records (RFC 3339, UTC), None for no record."""
    now = parse_time(generated_at)
    counts = [0, 0, 0, 0]
    for text, hosts in collections.Counter(times).items():
        time = parse_time(text)
        if time is None or now is None:
            counts[3] += hosts
        elif run_started is not None and time >= run_started:
            counts[0] += hosts
        else:
            counts[1 if time >= now - _DAY else 2] += hosts
    return Coverage(*counts)
