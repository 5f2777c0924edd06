# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The age of the records of a report."""

from __future__ import annotations

import datetime as dt

from ansible_collections.kernelops.livepatch.plugins.module_utils._report.summary.coverage import Coverage, coverage_of

STARTED = dt.datetime(2026, 3, 1, 4, 0, tzinfo=dt.timezone.utc)
NOW = "2026-03-01T04:30:00Z"


def test_hosts_are_counted_by_age() -> None:
    times = ["2026-03-01T04:00:00Z", "2026-03-01T03:59:59Z", "2026-02-28T04:30:00Z", "2026-02-28T04:29:59Z", None, "?"]
    found = coverage_of(times, NOW, STARTED)
    assert found == Coverage(this_run=1, last_day=2, older=1, none=2)
    assert found.sentence() == "Records: 1 of this run, 2 of the last 24 hours, 1 older, 2 missing."


def test_a_complete_run_needs_no_sentence() -> None:
    assert coverage_of([NOW, None], NOW, STARTED).sentence() is None


def test_without_a_begin_no_record_is_of_this_run() -> None:
    assert coverage_of([NOW], NOW, None) == Coverage(0, 1, 0, 0)
