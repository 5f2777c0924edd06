# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Derive the history of a fleet: states by day, and how long hosts were exposed to which vulnerabilities.

Of each host only changes are kept, as spans. A span begins and ends with a sighting (a record, or an attempt that got
no answer), and what was seen between them was the same. Times are whole microseconds since 1970, UTC.
"""

from __future__ import annotations

import bisect
import collections
import collections.abc as c
import dataclasses
import math
import typing as t

from .._record import STATES, State
from .._records.spans import CveCounts, CvePeriod, Kind, Span
from .._time import format_time, from_microseconds

_DAY = 24 * 3600 * 1_000_000
_SHARE = 0.95
_MOST_DAYS = 400
_CACHED_TIMELINES = 4096


class PublishedNotice(t.NamedTuple):
    """A notice, its CVEs, and the time of its publication in microseconds since 1970."""

    id: str
    published: int
    cves: tuple[str, ...]


class NoticeCoverage(t.NamedTuple):
    """The ids of the notices that concern a kernel, and of those that the kernel or its patch fixes."""

    concerned: frozenset[str]
    closed: frozenset[str]


class Exposure(t.NamedTuple):
    """A host was exposed to vulnerabilities from the publication of a notice until `closed_at`, or still is.

    Open vulnerabilities are grouped, and `published` is the time of the first of them.
    """

    host: str
    cves: tuple[str, ...]
    published: int
    closed_at: int | None


class Day(t.NamedTuple):
    """The number of hosts in each state at the end of a day (``YYYY-MM-DD``, UTC), without states that no host has."""

    date: str
    states: dict[State, int]


@dataclasses.dataclass(frozen=True)
class TimeToPatch:
    """The time to patch in days, over all exposures that were observed until their end."""

    exposures: int
    mean_days: float
    p95_days: float


class CveDay(t.NamedTuple):
    """The number of open vulnerabilities by priority in the last report of a day (``YYYY-MM-DD``, UTC)."""

    date: str
    open: dict[str, int]


@dataclasses.dataclass(frozen=True)
class CveHistory:
    """Open vulnerabilities by day, and by priority how long they were open.

    `time_to_close` has for each priority the number of vulnerabilities that are still open, the number of closed ones,
    and the mean time between the report that first showed them and the first that did not, in days.
    """

    days: list[CveDay]
    time_to_close: dict[str, dict[str, t.Any]]

    def as_dict(self) -> dict[str, t.Any]:
        """Return plain data."""
        return {"days": [day._asdict() for day in self.days], "time_to_close": self.time_to_close}


def build_cve_history(counts: c.Sequence[CveCounts], periods: c.Sequence[CvePeriod]) -> CveHistory | None:
    """Return the history of open vulnerabilities; None if no report has stored any. `counts` are in order of time."""
    if not counts:
        return None
    by_day = {from_microseconds(each.at).date().isoformat(): each.open for each in counts}
    days = [CveDay(date, found) for date, found in by_day.items()][-_MOST_DAYS:]
    lengths: dict[str, list[int | None]] = collections.defaultdict(list)
    for each in periods:
        lengths[each.priority].append(None if each.closed is None else each.closed - each.opened)
    figures = {}
    for priority, of_priority in sorted(lengths.items()):
        closed = [length for length in of_priority if length is not None]
        mean = round(sum(closed) / len(closed) / _DAY, 2) if closed else None
        figures[priority] = {"open": len(of_priority) - len(closed), "closed": len(closed), "mean_days": mean}
    return CveHistory(days, figures)


@dataclasses.dataclass(frozen=True)
class History:
    """The history of a fleet, as a report shows it.

    `exposures` holds open exposures and those that were observed until their end. If the first sighting of a host shows
    a published vulnerability as fixed, the time of the fix is unknown; `unwatched` counts these. Without notices there
    are no exposures, and `with_notices` is false. `published` maps each CVE to the time of its publication.
    `vulnerabilities` is None if no report with vulnerability data was stored.
    """

    begins_at: str | None
    days: list[Day]
    exposures: list[Exposure]
    unwatched: int
    with_notices: bool
    published: c.Mapping[str, int]
    vulnerabilities: CveHistory | None = None

    @property
    def open(self) -> int:
        """Return the number of open pairs of a host and a vulnerability."""
        return sum(len(each.cves) for each in self.exposures if each.closed_at is None)

    def time_to_patch(self) -> TimeToPatch | None:
        """Return mean and 95th percentile (nearest rank) of the time to patch, or None without observed exposures."""
        times = collections.Counter[int]()
        for each in self.exposures:
            if each.closed_at is not None:
                times[_length(each)] += len(each.cves)
        return _time_to_patch(times)

    def cves(self) -> list[dict[str, t.Any]]:
        """Return each vulnerability that is or was open, the latest first, as plain data."""
        # Similar hosts have the same vulnerabilities: each set is processed once.
        same_facts: dict[tuple[tuple[str, ...], int | None], int] = collections.Counter(
            (each.cves, None if each.closed_at is None else _length(each)) for each in self.exposures
        )
        still_open: collections.Counter[str] = collections.Counter()
        lengths: dict[str, collections.Counter[int]] = collections.defaultdict(collections.Counter)
        for (cves, length), hosts in same_facts.items():
            for cve in cves:
                if length is None:
                    still_open[cve] += hosts
                else:
                    lengths[cve][length] += hosts
        found = [_of_cve(cve, self.published[cve], still_open[cve], lengths[cve]) for cve in {**still_open, **lengths}]
        return sorted(found, key=lambda each: (each["published"], each["cve"]), reverse=True)

    def summary(self) -> dict[str, t.Any]:
        """Return the figures as plain data; figures of exposures are None without notices."""
        patched = self.time_to_patch()
        return {
            "begins_at": self.begins_at,
            "time_to_patch": dataclasses.asdict(patched) if patched else None,
            "open_exposures": self.open if self.with_notices else None,
            "closed_before": self.unwatched if self.with_notices else None,
        }

    def as_dict(self) -> dict[str, t.Any]:
        """Return everything except the exposures of each host, as plain data."""
        found = self.vulnerabilities.as_dict() if self.vulnerabilities else None
        days = [day._asdict() for day in self.days]
        return {**self.summary(), "days": days, "cves": self.cves(), "vulnerabilities": found}


def build_history(
    spans: c.Iterable[tuple[str, c.Sequence[Span]]],
    until: int,
    notices: c.Sequence[PublishedNotice] | None = None,
    coverage: c.Callable[[Kind], NoticeCoverage] | None = None,
) -> History:
    """Build the history of hosts, each with its spans in order, up to the time `until`.

    `coverage` returns which notices concern and are fixed on a kind of host.
    """
    timelines = _Timelines(notices, coverage) if notices and coverage else None
    changes: dict[int, collections.Counter[State]] = collections.defaultdict(collections.Counter)
    exposures: list[Exposure] = []
    unwatched = 0
    begins_at: int | None = None
    for host, of_host in spans:
        begins_at = of_host[0].begin if begins_at is None else min(begins_at, of_host[0].begin)
        _count_days(of_host, changes)
        if timelines is not None:
            timeline = timelines.of(of_host)
            exposures += _exposures(host, of_host, timeline)
            unwatched += timeline.unwatched
    published: dict[str, int] = {}
    for notice in sorted(notices or (), key=lambda notice: notice.published, reverse=True):
        published.update(dict.fromkeys(notice.cves, notice.published))
    began = None if begins_at is None else format_time(from_microseconds(begins_at))
    return History(began, _days(changes, until // _DAY), exposures, unwatched, coverage is not None, published)


def _count_days(spans: c.Sequence[Span], changes: dict[int, collections.Counter[State]]) -> None:
    """Count the days on which a host enters and leaves a state. It leaves on the day after its last sighting."""
    for span, following in zip(spans, [*spans[1:], None], strict=True):
        leaves = following.begin // _DAY if following else span.end // _DAY + 1
        if leaves > span.begin // _DAY:
            changes[span.begin // _DAY][span.kind.state] += 1
            changes[leaves][span.kind.state] -= 1


def _days(changes: c.Mapping[int, collections.Counter[State]], last: int) -> list[Day]:
    """Return the states at the end of each day up to `last`, for at most as many days as a chart can show."""
    if not changes:
        return []
    last = min(last, max(changes) - 1)
    first = max(min(changes), last - _MOST_DAYS + 1)
    counts: collections.Counter[State] = collections.Counter()
    for day in changes:
        if day < first:
            counts.update(changes[day])
    days = []
    for day in range(first, last + 1):
        counts.update(changes.get(day, {}))
        date = from_microseconds(day * _DAY).date().isoformat()
        days.append(Day(date, {state: counts[state] for state in STATES if counts[state]}))
    return days


class _HostTimeline(t.NamedTuple):
    """The vulnerabilities of a host: open, closed by a span (given by its index), or closed before the first span.

    `closed` groups vulnerabilities that share their time of publication and the span.
    """

    open: tuple[str, ...]
    open_since: int
    closed: tuple[tuple[tuple[str, ...], int, int], ...]
    unwatched: int


class _Timelines:
    """The timelines of hosts. Hosts with the same facts before and after the same notices share one."""

    def __init__(self, notices: c.Sequence[PublishedNotice], coverage: c.Callable[[Kind], NoticeCoverage]) -> None:
        self._notices = {notice.id: notice for notice in sorted(notices, key=lambda notice: notice.published)}
        self._published = [notice.published for notice in self._notices.values()]
        self._coverage = coverage
        self._known: dict[tuple[tuple[Kind, int], ...], _HostTimeline] = {}

    def of(self, spans: c.Sequence[Span]) -> _HostTimeline:
        same_facts = tuple((span.kind, bisect.bisect_left(self._published, span.begin)) for span in spans)
        timeline = self._known.get(same_facts)
        if timeline is None:
            if len(self._known) >= _CACHED_TIMELINES:
                self._known.clear()
            timeline = self._known[same_facts] = self._build(spans)
        return timeline

    def _build(self, spans: c.Sequence[Span]) -> _HostTimeline:
        first = spans[0].begin
        of_cve: dict[str, tuple[int, int | None]] = {}
        for notice, by in self._closings(spans):
            for cve in notice.cves:
                # Of several notices about a CVE, the first one publishes it, and the first fixed one closes it.
                published, known_by = of_cve.get(cve, (notice.published, None))
                of_cve[cve] = published, min((span for span in (known_by, by) if span is not None), default=None)
        together: dict[tuple[int, int], list[str]] = collections.defaultdict(list)
        still_open = [cve for cve, (_published, by) in of_cve.items() if by is None]
        unwatched = 0
        for cve, (published, by) in of_cve.items():
            if by == 0 and published < first:
                unwatched += 1
            elif by is not None:
                together[published, by].append(cve)
        return _HostTimeline(
            tuple(sorted(still_open)),
            min((of_cve[cve][0] for cve in still_open), default=0),
            tuple((tuple(sorted(cves)), published, by) for (published, by), cves in together.items()),
            unwatched,
        )

    def _closings(self, spans: c.Sequence[Span]) -> c.Iterator[tuple[PublishedNotice, int | None]]:
        """Yield the notices that concern a host, by publication, each with the index of the span that closed it."""
        opened: set[str] = set()
        closed: dict[str, int] = {}
        for index, span in enumerate(spans):
            now = self._coverage(span.kind)
            if span.kind.state in ("protected", "exposed"):
                # A notice that does not concern the new kernel is closed too.
                for identifier in (now.closed | (opened - now.concerned)) - closed.keys():
                    closed[identifier] = index
            opened |= now.concerned
        yield from ((notice, closed.get(notice.id)) for notice in self._notices.values() if notice.id in opened)


def _exposures(host: str, spans: c.Sequence[Span], timeline: _HostTimeline) -> c.Iterator[Exposure]:
    for cves, published, by in timeline.closed:
        yield Exposure(host, cves, published, max(published, spans[by].begin))
    if timeline.open:
        yield Exposure(host, timeline.open, timeline.open_since, None)


def _of_cve(cve: str, published: int, still_open: int, lengths: collections.Counter[int]) -> dict[str, t.Any]:
    patched = _time_to_patch(lengths)
    return {
        "cve": cve,
        "published": format_time(from_microseconds(published)),
        "hosts_open": still_open,
        "hosts_closed": patched.exposures if patched else 0,
        "mean_days": patched.mean_days if patched else None,
        "p95_days": patched.p95_days if patched else None,
    }


def _length(exposure: Exposure) -> int:
    return (exposure.closed_at or exposure.published) - exposure.published


def _time_to_patch(times: collections.Counter[int]) -> TimeToPatch | None:
    """Return the figures of exposures, given as the number of exposures of each length."""
    count = times.total()
    if not count:
        return None
    mean = sum(length * exposures for length, exposures in times.items()) / count
    rank = math.ceil(count * _SHARE)
    for length in sorted(times):
        rank -= times[length]
        if rank <= 0:
            return TimeToPatch(count, round(mean / _DAY, 2), round(length / _DAY, 2))
    raise AssertionError("a share of all is never more than all")
