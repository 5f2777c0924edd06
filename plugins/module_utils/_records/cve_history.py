# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Open vulnerabilities of a fleet over time, in the file of its history.

A report adds one row of counts, and each vulnerability has one row, whatever the number of hosts. Times are whole
microseconds since 1970, UTC.
"""

from __future__ import annotations

import collections.abc as c
import json
import typing as t
from pathlib import Path

from .history_db import history_writer, read_rows
from .spans import CveCounts, CvePeriod, counts_of_row


def add_counts(path: Path, counts: CveCounts, open_cves: c.Mapping[str, str], forget_before: int | None = None) -> bool:
    """Add the vulnerabilities of one report, given with their priorities. Return True if anything is new.

    A vulnerability that is no longer open is closed, unless more hosts are lost than when it was last seen open. A
    report that is older than another one adds its counts only. Raises `HistoryError`.
    """
    with history_writer(path) as database:
        row = json.dumps([counts.hosts, counts.lost, counts.open])
        newest = database.execute("SELECT max(at) FROM exposure").fetchone()[0]
        known = database.execute("SELECT counts FROM exposure WHERE at = ?", (counts.at,)).fetchone()
        if known is not None and known[0] == row:
            return False
        database.execute("INSERT OR REPLACE INTO exposure (at, counts) VALUES (?, ?)", (counts.at, row))
        if newest is None or counts.at >= newest:
            database.executemany(
                "INSERT INTO cve (name, priority, opened, lost) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                "priority = excluded.priority, lost = excluded.lost, closed = NULL",
                [(cve, priority, counts.at, counts.lost) for cve, priority in open_cves.items()],
            )
            still = database.execute("SELECT name FROM cve WHERE closed IS NULL AND lost >= ?", (counts.lost,))
            gone = [(counts.at, name) for (name,) in still if name not in open_cves]
            database.executemany("UPDATE cve SET closed = ? WHERE name = ?", gone)
        if forget_before is not None:
            database.execute("DELETE FROM exposure WHERE at < ?", (forget_before,))
            database.execute("DELETE FROM cve WHERE closed < ?", (forget_before,))
        return True


def read_counts(path: Path) -> tuple[list[CveCounts], list[CvePeriod]]:
    """Read the counts in order of time, and the vulnerabilities. Raises `HistoryError`."""
    counts = read_rows(path, 2, "SELECT at, counts FROM exposure ORDER BY at", _counts)
    return counts, read_periods(path)


def read_periods(path: Path) -> list[CvePeriod]:
    """Read the vulnerabilities, sorted by name. Raises `HistoryError`."""
    return read_rows(path, 2, "SELECT name, priority, opened, closed FROM cve ORDER BY name", _period)


def _counts(at: object, text: object) -> CveCounts:
    """Return the counts of a row. Columns of SQLite can have values of any type. Raises `ValueError`."""
    try:
        return counts_of_row(at, json.loads(t.cast("str", text)))
    except (TypeError, RecursionError) as error:
        raise ValueError("the table exposure is damaged") from error


def _period(name: object, priority: object, opened: object, closed: object) -> CvePeriod:
    """Return the period of a row. Raises `ValueError`."""
    if not isinstance(name, str) or not isinstance(priority, str):
        raise ValueError("the table cve is damaged")
    if not isinstance(opened, int) or not isinstance(closed, int | None):
        raise ValueError("the table cve is damaged")
    return CvePeriod(name, priority, opened, closed)
