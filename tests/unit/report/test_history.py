# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The history of a fleet: spans of sightings, states by day, and exposures to vulnerabilities."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._records.cve_history import CveCounts, CvePeriod
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spans import Kind, Span
from ansible_collections.kernelops.livepatch.plugins.module_utils._report import history as history_module
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.history import (
    Exposure,
    History,
    NoticeCoverage,
    PublishedNotice,
    TimeToPatch,
    build_cve_history,
    build_history,
)

WELL, OLD, GONE = Kind("protected", patch="2.1"), Kind("protected", patch="1.1"), Kind("no_answer")
HOUR = 3600 * 1_000_000
DAY = 24 * HOUR
JANUARY = 20_454 * DAY  # 2026-01-01


def at(day: float) -> int:
    """Return the moment this number of days after the start of 2026."""
    return JANUARY + int(day * DAY)


def history(*spans: Span, host: str = "web1", until: int = at(300), **notices: t.Any) -> History:
    return build_history([(host, spans)], until, **notices)


# --- days


def test_a_host_counts_between_its_sightings() -> None:
    spans = [Span(at(0.5), at(1.5), WELL), Span(at(1.9), at(1.95), GONE), Span(at(3.1), at(4.1), WELL)]
    days = history(*spans).days
    assert [day.date for day in days] == [f"2026-01-0{number}" for number in range(1, 6)]
    states = [{"protected": 1}, {"no_answer": 1}, {"no_answer": 1}, {"protected": 1}, {"protected": 1}]
    assert [day.states for day in days] == states


def test_the_days_of_hosts_are_added() -> None:
    two = [("web1", [Span(at(0), at(1), WELL)]), ("web2", [Span(at(1), at(1), WELL)])]
    assert [day.states for day in build_history(two, at(300)).days] == [{"protected": 1}, {"protected": 2}]


def test_the_number_of_days_is_limited() -> None:
    spans = [Span(at(-500_000), at(-499_999), OLD), Span(at(-10), at(900_000), WELL)]
    days = history(*spans, until=at(2)).days
    assert len(days) == 400
    assert days[-1] == ("2026-01-03", {"protected": 1})
    assert build_history([], at(2)).days == []
    assert history(Span(at(5), at(6), WELL), until=at(2)).days == []


# --- exposures

NOTICES = [
    PublishedNotice("LSN-1", at(10), ("CVE-1", "CVE-2")),
    PublishedNotice("LSN-2", at(20), ("CVE-3",)),
    PublishedNotice("LSN-3", at(21), ("CVE-3", "CVE-4")),
]
CONCERNED = frozenset({"LSN-1", "LSN-2"})


def standing(kind: Kind) -> NoticeCoverage:
    """Return the open notices: patches close the notices up to their number, and LSN-3 is for another kernel."""
    if kind.kernel == "other":
        return NoticeCoverage(frozenset({"LSN-3"}), frozenset())
    closed = {"1.1": {"LSN-1"}, "2.1": {"LSN-1", "LSN-2"}}.get(kind.patch or "", set())
    return NoticeCoverage(CONCERNED, frozenset(closed))


def exposures(*spans: Span) -> list[Exposure]:
    return history(*spans, notices=NOTICES, coverage=standing).exposures


NONE = Kind("protected")


def test_a_protected_record_closes_an_exposure() -> None:
    stale = WELL._replace(state="stale")
    spans = [
        Span(at(5), at(11), NONE),
        Span(at(12), at(22), OLD),
        Span(at(23), at(24), stale),
        Span(at(25), at(26), WELL),
    ]
    assert exposures(*spans) == [
        Exposure("web1", ("CVE-1", "CVE-2"), at(10), at(12)),
        Exposure("web1", ("CVE-3",), at(20), at(25)),
    ]


def test_an_exposure_without_closing_record_is_open() -> None:
    assert exposures(Span(at(5), at(30), OLD)) == [
        Exposure("web1", ("CVE-1", "CVE-2"), at(10), at(10)),
        Exposure("web1", ("CVE-3",), at(20), None),
    ]


def test_a_reopened_exposure_was_closed_once() -> None:
    spans = [Span(at(5), at(11), NONE), Span(at(12), at(22), WELL), Span(at(23), at(24), NONE)]
    assert exposures(*spans)[0].closed_at == at(12)


def test_earlier_closures_are_only_counted() -> None:
    result = history(Span(at(15), at(30), WELL), notices=NOTICES, coverage=standing)
    assert result.exposures == [Exposure("web1", ("CVE-3",), at(20), at(20))]
    assert result.unwatched == 2
    # It was open at the first sighting of the host, so the day of its closure is known.
    first = exposures(Span(at(15), at(16), NONE), Span(at(18), at(30), WELL))[0]
    assert first == Exposure("web1", ("CVE-1", "CVE-2"), at(10), at(18))


def test_a_kernel_without_the_notice_closes_exposures() -> None:
    other = Kind("protected", "other")
    spans = [Span(at(5), at(11), NONE), Span(at(12), at(30), other)]
    assert exposures(*spans) == [
        Exposure("web1", ("CVE-1", "CVE-2"), at(10), at(12)),
        # LSN-2 and LSN-3 both name it: known since the first one, and closed once, for one kernel.
        Exposure("web1", ("CVE-3",), at(20), at(20)),
        Exposure("web1", ("CVE-4",), at(21), None),
    ]


def test_without_notices_there_are_no_exposures() -> None:
    result = history(Span(at(5), at(30), WELL))
    assert (result.exposures, result.with_notices, result.time_to_patch(), result.cves()) == ([], False, None, [])
    assert result.summary() == {
        "begins_at": "2026-01-06T00:00:00Z",
        "time_to_patch": None,
        "open_exposures": None,
        "closed_before": None,
    }


def an_exposure(days: float | None, host: str = "web1", *cves: str) -> Exposure:
    return Exposure(host, cves or ("CVE-1",), at(10), None if days is None else at(10 + days))


def a_history(*exposures: Exposure) -> History:
    published = {cve: each.published for each in exposures for cve in each.cves}
    return History("2026-01-01T00:00:00Z", [], list(exposures), 3, with_notices=True, published=published)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ([4], TimeToPatch(1, 4.0, 4.0)),
        ([1] * 19 + [21], TimeToPatch(20, 2.0, 1.0)),
        ([1] * 18 + [2, 20], TimeToPatch(20, 2.0, 2.0)),
        ([0.5, 1, 1.5], TimeToPatch(3, 1.0, 1.5)),
        ([0], TimeToPatch(1, 0.0, 0.0)),
    ],
)
def test_the_time_to_patch_has_mean_and_percentile(days: list[float], expected: TimeToPatch) -> None:
    assert a_history(*map(an_exposure, days), an_exposure(None)).time_to_patch() == expected


def test_each_vulnerability_of_an_exposure_is_counted() -> None:
    result = a_history(an_exposure(1, "web1", "CVE-1", "CVE-2", "CVE-3"), an_exposure(5), an_exposure(None, "web2"))
    assert result.time_to_patch() == TimeToPatch(4, 2.0, 5.0)
    assert result.open == 1
    assert result.summary() == {
        "begins_at": "2026-01-01T00:00:00Z",
        "time_to_patch": {"exposures": 4, "mean_days": 2.0, "p95_days": 5.0},
        "open_exposures": 1,
        "closed_before": 3,
    }


def test_the_latest_vulnerabilities_come_first() -> None:
    later = Exposure("web1", ("CVE-9",), at(11), None)
    assert a_history(an_exposure(1), an_exposure(3, "web2"), an_exposure(None, "web3"), later).cves() == [
        {
            "cve": "CVE-9",
            "published": "2026-01-12T00:00:00Z",
            "hosts_open": 1,
            "hosts_closed": 0,
            "mean_days": None,
            "p95_days": None,
        },
        {
            "cve": "CVE-1",
            "published": "2026-01-11T00:00:00Z",
            "hosts_open": 1,
            "hosts_closed": 2,
            "mean_days": 2.0,
            "p95_days": 3.0,
        },
    ]


def test_the_cache_of_courses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "_CACHED_TIMELINES", 2)
    hosts = [(f"web{number}", [Span(at(5), at(11), NONE), Span(at(number), at(60), OLD)]) for number in range(12, 40)]
    result = build_history(hosts, at(300), NOTICES, standing)
    closed = {each.host: each.closed_at for each in result.exposures if each.closed_at is not None}
    assert closed == {f"web{number}": at(number) for number in range(12, 40)}


# --- open vulnerabilities


def test_the_last_report_of_a_day_counts() -> None:
    counts = [CveCounts(at(day), 9, 0, {"high": number}) for day, number in ((0, 3), (0.5, 2), (1, 1))]
    found = build_cve_history(counts, [])
    assert found is not None
    assert [(day.date, day.open) for day in found.days] == [("2026-01-01", {"high": 2}), ("2026-01-02", {"high": 1})]
    assert build_cve_history([], []) is None


def test_the_time_to_close_is_by_priority() -> None:
    periods = [
        CvePeriod("CVE-2026-1001", "critical", at(0), at(2)),
        CvePeriod("CVE-2026-1002", "critical", at(0), at(4)),
        CvePeriod("CVE-2026-1003", "critical", at(0), None),
        CvePeriod("CVE-2026-1004", "high", at(0), None),
    ]
    found = build_cve_history([CveCounts(at(4), 9, 0, {})], periods)
    assert found is not None
    assert found.time_to_close == {
        "critical": {"open": 1, "closed": 2, "mean_days": 3.0},
        "high": {"open": 1, "closed": 0, "mean_days": None},
    }
