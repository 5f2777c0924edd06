# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Open vulnerabilities over time: counts of reports, and when a vulnerability was closed."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._records import history_db
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.cve_history import (
    CveCounts,
    CvePeriod,
    add_counts,
    read_counts,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spans import Kind, Sighting

A, B = "CVE-2031-1001", "CVE-2031-1002"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


def add(path: Path, at: int, *cves: str, lost: int = 0, **options: int) -> bool:
    counts = CveCounts(at, 10, lost, {"high": len(cves)})
    return add_counts(path, counts, dict.fromkeys(cves, "high"), **options)


def test_counts_and_periods_are_read_back(path: Path) -> None:
    assert read_counts(path) == ([], [])
    assert add(path, 1, A, B)
    assert add(path, 2, B)
    counts, periods = read_counts(path)
    assert counts == [CveCounts(1, 10, 0, {"high": 2}), CveCounts(2, 10, 0, {"high": 1})]
    assert periods == [CvePeriod(A, "high", 1, 2), CvePeriod(B, "high", 1, None)]


def test_the_same_report_changes_nothing(path: Path) -> None:
    add(path, 1, A)
    assert not add(path, 1, A)
    add(path, 2)
    before = read_counts(path)
    assert not add(path, 2)
    assert read_counts(path) == before


def test_a_vulnerability_can_open_again(path: Path) -> None:
    for at, cves in enumerate(([A], [], [A])):
        add(path, at, *cves)
    assert read_counts(path)[1] == [CvePeriod(A, "high", 0, None)]


def test_lost_hosts_close_nothing(path: Path) -> None:
    add(path, 1, A)
    add(path, 2, lost=1)
    assert read_counts(path)[1] == [CvePeriod(A, "high", 1, None)], "the lost host may still have it"
    add(path, 3)
    assert read_counts(path)[1] == [CvePeriod(A, "high", 1, 3)]


def test_a_host_that_was_lost_before_does_not_matter(path: Path) -> None:
    add(path, 1, A, lost=1)
    add(path, 2, lost=1)
    assert read_counts(path)[1] == [CvePeriod(A, "high", 1, 2)]


def test_an_older_report_adds_its_counts_only(path: Path) -> None:
    add(path, 5, A)
    assert add(path, 3)
    counts, periods = read_counts(path)
    assert [each.at for each in counts] == [3, 5]
    assert periods == [CvePeriod(A, "high", 5, None)]


def test_old_counts_are_removed(path: Path) -> None:
    add(path, 1, A, B)
    add(path, 2, B)
    add(path, 9, B, forget_before=5)
    counts, periods = read_counts(path)
    assert [each.at for each in counts] == [9]
    assert [each.cve for each in periods] == [B], "one that is still open stays"


def test_a_history_of_the_first_schema_is_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(history_db, "MIGRATIONS", history_db.MIGRATIONS[:1])
        history_db.add_sightings(path, [Sighting("web1", 1, Kind("protected"))])
    assert read_counts(path) == ([], [])
    assert len(history_db.read_spans(path)) == 1, "a run in check mode reads it without a migration"
    assert add(path, 1, A)
    assert len(history_db.read_spans(path)) == 1


def test_a_year_is_small(path: Path) -> None:
    names = [f"CVE-2031-{number}" for number in range(1000, 1300)]
    for report in range(60):
        add(path, report, *names[report : report + 200])
    assert path.stat().st_size < 100_000
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM cve").fetchone() == (259,)


@pytest.mark.parametrize(
    "change",
    [
        """UPDATE exposure SET counts = '[1, 2]'""",
        """UPDATE exposure SET counts = '{}'""",
        """UPDATE exposure SET counts = '[1, 2, []]'""",
        """UPDATE exposure SET counts = '[1, "2", {"high": 1}]'""",
        """UPDATE exposure SET counts = '[1, 2, {"high": null}]'""",
        """UPDATE exposure SET counts = x'ff'""",
        """UPDATE cve SET opened = 'yesterday'""",
        """UPDATE cve SET priority = x'00'""",
        """UPDATE cve SET closed = 'never'""",
    ],
)
def test_a_damaged_row_is_an_error(path: Path, change: str) -> None:
    add(path, 1, A)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(change)
        database.commit()
    with pytest.raises(history_db.HistoryError, match="cannot be used: "):
        read_counts(path)
    assert add(path, 2, A), "later reports are stored"
