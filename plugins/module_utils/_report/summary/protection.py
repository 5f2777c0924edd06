# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The one number of a report: protected hosts of eligible ones."""

from __future__ import annotations

import datetime
import functools
import typing as t

from ..._time import format_time, parse_time

if t.TYPE_CHECKING:
    from ..report import HostLine, Report

OUTDATED = "outdated"
"""Condition of a host whose last record has the state ``protected`` and is too old to prove it."""

LONGEST_AGE_HOURS = 24
"""Age of a record above which it proves no protection, as in the default rule ``not_protected``."""

_SECONDS = 19  # characters of an RFC 3339 time without fractions and zone


class Protection(t.NamedTuple):
    """Numbers of hosts. `eligible` are all except those that are known to be ineligible.

    `protected` are protected in a record that is recent, `outdated` in one that is too old.
    """

    protected: int
    outdated: int
    eligible: int

    def sentence(self) -> str:
        """Return the numbers as a sentence."""
        verb = "is" if self.protected == 1 else "are"
        text = f"{self.protected} of {self.eligible} eligible hosts {verb} protected{self.share}."
        if self.outdated:
            were = "was" if self.outdated == 1 else "were"
            text += f" {self.outdated} more {were} protected in a record that is older than {LONGEST_AGE_HOURS} hours."
        return text

    @property
    def share(self) -> str:
        """Return the share in parentheses, rounded as on the page: only none is 0%, and only all is 100%."""
        if not self.eligible:
            return ""
        percentage = 100 * self.protected / self.eligible
        if 0 < percentage < 1:
            return " (<1%)"
        return f" ({99 if 99 < percentage < 100 else int(percentage + 0.5)}%)"


def protection_of(report: Report) -> Protection:
    """Count the hosts of a report."""
    conditions = [condition(line, report.generated_at) for line in report.lines]
    ineligible = conditions.count("ineligible")
    return Protection(conditions.count("protected"), conditions.count(OUTDATED), len(conditions) - ineligible)


def condition(line: HostLine, generated_at: str) -> str:
    """Return the state of a host, or `OUTDATED` for a protected one whose record is too old to prove it."""
    if line.state == "protected" and (line.collected_at or "")[:_SECONDS] < _oldest(generated_at):
        return OUTDATED
    return line.state


@functools.lru_cache(8)
def _oldest(generated_at: str) -> str:
    """Return the time of the oldest record that proves protection. In RFC 3339 and UTC, texts compare like times."""
    now = parse_time(generated_at)
    return "" if now is None else format_time(now - datetime.timedelta(hours=LONGEST_AGE_HOURS))[:_SECONDS]
