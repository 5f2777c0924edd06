# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The history of a fleet for a report: sightings stored in a file, and exposures derived from published notices."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import functools

from .._records import spans
from .._records.history_store import HistoryStore
from .._time import format_time, from_microseconds, parse_time, to_microseconds
from .._vulnerabilities.notices import Notice, UbuntuKernel
from . import history as _history
from .fleet_exposure import UNRATED
from .report import Report

_CLOSED = ("patched", "in_kernel")
_CACHED_KINDS = 4096
_DATE = 10  # characters of a date


def store_sightings(report: Report, history: HistoryStore, retention: int | None, now: datetime.datetime) -> bool:
    """Add the hosts of a report to a history. Return True if any sighting is new.

    With `retention`, spans that ended more than that number of days ago are dropped.
    """
    forget_before = None if retention is None else to_microseconds(now - datetime.timedelta(days=retention))
    added = history.add_sightings(report.sightings(), forget_before)
    return _store_counts(report, history, forget_before) or added


def _store_counts(report: Report, history: HistoryStore, forget_before: int | None) -> bool:
    """Add the open vulnerabilities of a report, unless it is on a part of the fleet: others may still have them."""
    newest = parse_time(report.summary()["newest_record"])
    if report.exposure is None or newest is None or report.left_out:
        return False
    lost = sum(line.exposure is None for line in report.lines)
    counts = spans.CveCounts(to_microseconds(newest), len(report.lines), lost, report.exposure.open_by_priority())
    open_cves = {each.cve: each.details.priority or UNRATED for each in report.exposure.cves}
    return history.add_counts(counts, open_cves, forget_before)


def first_seen(stored: HistoryStore) -> dict[str, str]:
    """Return the date of the first report in which each vulnerability was open, from a history that may not exist."""
    _counts, periods = stored.read_counts()
    return {each.cve: format_time(from_microseconds(each.opened))[:_DATE] for each in periods}


def read_history(stored: HistoryStore, notices: c.Sequence[Notice] | None, now: datetime.datetime) -> _history.History:
    """Read a history, and compute exposures if there are notices."""
    found_spans = stored.read_spans()
    if notices is None:
        history = _history.build_history(found_spans, to_microseconds(now))
    else:
        published = [
            _history.PublishedNotice(notice.id, to_microseconds(notice.published), notice.cves) for notice in notices
        ]
        # A fleet has few distinct kinds of hosts, and evaluating all notices for one takes milliseconds.
        coverage = functools.lru_cache(_CACHED_KINDS)(functools.partial(_coverage, notices))
        history = _history.build_history(found_spans, to_microseconds(now), published, coverage)
    found = _history.build_cve_history(*stored.read_counts())
    return dataclasses.replace(history, vulnerabilities=found)


def _coverage(notices: c.Sequence[Notice], kind: spans.Kind) -> _history.NoticeCoverage:
    try:
        kernel = UbuntuKernel.parse(kind.kernel or "", kind.release)
    except ValueError:
        return _history.NoticeCoverage(frozenset(), frozenset())
    statuses = [(notice, notice.status_for(kernel, kind.patch)) for notice in notices]
    return _history.NoticeCoverage(
        frozenset(notice.id for notice, status in statuses if status is not None),
        frozenset(
            notice.id
            for notice, status in statuses
            # A CVE that the client reports as open is open, whatever the notice says about the patch version.
            if status in _CLOSED and not set(notice.cves).intersection(kind.unpatched)
        ),
    )
