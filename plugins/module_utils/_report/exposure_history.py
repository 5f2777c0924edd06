# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The history of a fleet for a report: kept in a file, and held against the notices that were published."""

from __future__ import annotations

import collections.abc as c
import datetime
import functools
from pathlib import Path

from .._records import history_db, spans
from .._time import to_microseconds
from .._vulnerabilities.notices import Notice, UbuntuKernel
from . import history as _history
from .report import Report

_CLOSED = ("patched", "in_kernel")
_REMEMBERED = 4096  # kinds of hosts


def store_sightings(report: Report, path: Path, retention: int | None, now: datetime.datetime) -> bool:
    """Add what a report has seen to a history, and tell whether anything of it is new.

    With `retention`, what ended more than so many days ago is dropped.
    """
    forget_before = None if retention is None else to_microseconds(now - datetime.timedelta(days=retention))
    return history_db.add_sightings(path, report.sightings(), forget_before)


def read_history(path: Path, notices: c.Sequence[Notice] | None, now: datetime.datetime) -> _history.History:
    """Read a history, and reckon exposures where there are notices."""
    spans = history_db.read_spans(path)
    if notices is None:
        return _history.build_history(spans, to_microseconds(now))
    published = [
        _history.PublishedNotice(notice.id, to_microseconds(notice.published), notice.cves) for notice in notices
    ]
    # Hosts of a fleet are few kinds, and to hold one against all notices takes milliseconds.
    standing = functools.lru_cache(_REMEMBERED)(functools.partial(_coverage, notices))
    return _history.build_history(spans, to_microseconds(now), published, standing)


def _coverage(notices: c.Sequence[Notice], kind: spans.Kind) -> _history.NoticeCoverage:
    try:
        kernel = UbuntuKernel.parse(kind.kernel or "", kind.release)
    except ValueError:
        return _history.NoticeCoverage(frozenset(), frozenset())
    words = [(notice, notice.status_for(kernel, kind.patch)) for notice in notices]
    return _history.NoticeCoverage(
        frozenset(notice.id for notice, word in words if word is not None),
        frozenset(
            notice.id
            for notice, word in words
            # What the client says is open is open, whatever the version of the patch promises.
            if word in _CLOSED and not set(notice.cves).intersection(kind.unpatched)
        ),
    )
