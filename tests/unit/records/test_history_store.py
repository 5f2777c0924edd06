# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What every history does: a file, and a database."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.history_store import (
    HistoryStore,
    open_history,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import (
    DatabaseAddress,
    StorePlace,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spans import (
    CveCounts,
    CvePeriod,
    Kind,
    Sighting,
    Span,
)

GOOD, BAD = Kind("protected", "4.4", "16.04", "65.1"), Kind("failed", None, None, None, ("CVE-2024-1",))
SECOND = 1_000_000


@pytest.fixture
def history(place: StorePlace) -> HistoryStore:
    return open_history(place)


def test_equal_sightings_make_one_span(history: HistoryStore) -> None:
    assert history.add_sightings(Sighting("web1", at * SECOND, GOOD) for at in (1, 2, 3))
    assert history.read_spans() == [("web1", [Span(SECOND, 3 * SECOND, GOOD)])]


def test_a_known_sighting_changes_nothing(history: HistoryStore) -> None:
    found = [Sighting("web1", SECOND, GOOD), Sighting("web1", 5 * SECOND, BAD), Sighting("web\udcff", 2, GOOD)]
    assert history.add_sightings(found)
    before = history.read_spans()
    assert not history.add_sightings(found)
    assert history.read_spans() == before
    assert {host for host, _spans in before} == {"web1", "web\udcff"}


def test_a_late_sighting_is_placed_in_order(history: HistoryStore) -> None:
    history.add_sightings([Sighting("web1", 1, GOOD), Sighting("web1", 9, GOOD)])
    assert history.add_sightings([Sighting("web1", 5, BAD)])
    assert history.read_spans() == [("web1", [Span(1, 1, GOOD), Span(5, 5, BAD), Span(9, 9, GOOD)])]


def test_old_spans_are_dropped(history: HistoryStore) -> None:
    history.add_sightings([Sighting("web1", 1, GOOD), Sighting("web2", 9, GOOD)])
    assert history.add_sightings([], 5)
    assert [host for host, _spans in history.read_spans()] == ["web2"]
    assert not history.add_sightings([], 5)


def test_a_vulnerability_closes_with_enough_hosts(history: HistoryStore) -> None:
    assert history.add_counts(CveCounts(1, 5, 0, {"high": 2}), {"CVE-1": "high", "CVE-2": "high"})
    assert not history.add_counts(CveCounts(1, 5, 0, {"high": 2}), {"CVE-1": "high", "CVE-2": "high"})
    history.add_counts(CveCounts(2, 4, 1, {"high": 1}), {"CVE-1": "high"})
    counts, periods = history.read_counts()
    assert counts == [CveCounts(1, 5, 0, {"high": 2}), CveCounts(2, 4, 1, {"high": 1})]
    assert periods == [CvePeriod("CVE-1", "high", 1, None), CvePeriod("CVE-2", "high", 1, None)]
    history.add_counts(CveCounts(3, 5, 0, {"high": 1}), {"CVE-1": "high"})
    assert history.read_counts()[1][1] == CvePeriod("CVE-2", "high", 1, 3)


def test_old_counts_are_dropped(history: HistoryStore) -> None:
    history.add_counts(CveCounts(1, 5, 0, {}), {"CVE-1": "low"})
    history.add_counts(CveCounts(3, 5, 0, {}), {})
    history.add_counts(CveCounts(9, 5, 0, {}), {}, forget_before=5)
    assert history.read_counts() == ([CveCounts(9, 5, 0, {})], [])


def test_an_empty_history_has_nothing(history: HistoryStore, place: StorePlace) -> None:
    history.add_sightings([])
    assert (history.read_spans(), history.read_counts()) == ([], ([], []))
    assert history.restrict_access()


@pytest.mark.parametrize(
    ("damage", "read"),
    [
        ("UPDATE {}kind SET facts = 'x'", "read_spans"),
        ("UPDATE {}kind SET facts = '[1]'", "read_spans"),
        ("UPDATE {}exposure SET counts = '7'", "read_counts"),
        ("UPDATE {}exposure SET counts = '[1, 2]'", "read_counts"),
        ("UPDATE {}exposure SET counts = '[1, 2, [3]]'", "read_counts"),
        ("""UPDATE {}exposure SET counts = '[1, 2, {{"high": "x"}}]'""", "read_counts"),
        ("UPDATE {}exposure SET counts = '" + "[" * 3000 + "]" * 3000 + "'", "read_counts"),
    ],
)
def test_a_damaged_row_is_an_error(
    history: HistoryStore, place: StorePlace, request: pytest.FixtureRequest, damage: str, read: str
) -> None:
    """A report is then made without its history."""
    history.add_sightings([Sighting("web1", 1, GOOD)])
    history.add_counts(CveCounts(1, 5, 0, {"high": 2}), {"CVE-1": "high"})
    if isinstance(place, DatabaseAddress):
        request.getfixturevalue("server").sql(damage.format("livepatch."), place.url)
    else:
        with contextlib.closing(sqlite3.connect(place)) as database:
            database.execute(damage.format(""))
            database.commit()
    with pytest.raises(LivepatchError):
        getattr(history, read)()
    if read == "read_spans":
        with pytest.raises(LivepatchError):
            history.add_sightings([Sighting("web1", 2, BAD)])
