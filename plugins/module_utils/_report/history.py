# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What became of a fleet over time: states by day, and how long hosts were exposed to which vulnerabilities.

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
from .._records.spans import Kind, Span
from .._time import format_time, from_microseconds

_DAY = 24 * 3600 * 1_000_000
_SHARE = 0.95
_MOST_DAYS = 400
_REMEMBERED = 4096  # courses


class PublishedNotice(t.NamedTuple):
    """These vulnerabilities were made known at that time."""

    id: str
    published: int
    cves: tuple[str, ...]


class NoticeCoverage(t.NamedTuple):
    """The numbers of the notices that are for a kernel, and those of them that its patch, or itself, closes."""

    concerned: frozenset[str]
    closed: frozenset[str]


class Exposure(t.NamedTuple):
    """A host was exposed to vulnerabilities from the publication of a notice until `closed_at`, or still is.

    Those that are open stand together, and `published` is when the first of them was.
    """

    host: str
    cves: tuple[str, ...]
    published: int
    closed_at: int | None


class Day(t.NamedTuple):
    """How many hosts were in which state at the end of a day (``YYYY-MM-DD``, UTC). States that no host has are out."""

    date: str
    states: dict[State, int]


@dataclasses.dataclass(frozen=True)
class TimeToPatch:
    """How long vulnerabilities stayed open, in days, over all exposures that were closed while they were watched."""

    exposures: int
    mean_days: float
    p95_days: float


@dataclasses.dataclass(frozen=True)
class History:
    """The history of a fleet, as a report shows it.

    `exposures` are those that are open, and those that were closed while they were watched: where the first sighting
    of a host shows a vulnerability as closed that was known before, nobody knows since when. `unwatched` counts these.
    It has none of all that, and `with_notices` is false, where no notices were given. `published` says when each
    vulnerability was made known.
    """

    begins_at: str | None
    days: list[Day]
    exposures: list[Exposure]
    unwatched: int
    with_notices: bool
    published: c.Mapping[str, int]

    @property
    def open(self) -> int:
        """How many pairs of a host and a vulnerability are open."""
        return sum(len(each.cves) for each in self.exposures if each.closed_at is None)

    def time_to_patch(self) -> TimeToPatch | None:
        """Mean and 95th percentile (nearest rank) of the time to patch, where any is known."""
        times = collections.Counter[int]()
        for each in self.exposures:
            if each.closed_at is not None:
                times[_length(each)] += len(each.cves)
        return _time_to_patch(times)

    def cves(self) -> list[dict[str, t.Any]]:
        """What is known of each vulnerability that is open or was closed, the latest first, as plain data."""
        # Hosts that are alike have the same vulnerabilities: each set of them is looked through once.
        alike: dict[tuple[tuple[str, ...], int | None], int] = collections.Counter(
            (each.cves, None if each.closed_at is None else _length(each)) for each in self.exposures
        )
        still_open: collections.Counter[str] = collections.Counter()
        lengths: dict[str, collections.Counter[int]] = collections.defaultdict(collections.Counter)
        for (cves, length), hosts in alike.items():
            for cve in cves:
                if length is None:
                    still_open[cve] += hosts
                else:
                    lengths[cve][length] += hosts
        found = [_of_cve(cve, self.published[cve], still_open[cve], lengths[cve]) for cve in {**still_open, **lengths}]
        return sorted(found, key=lambda each: (each["published"], each["cve"]), reverse=True)

    def summary(self) -> dict[str, t.Any]:
        """The figures, as plain data; those on exposures are null where no notices were given."""
        patched = self.time_to_patch()
        return {
            "begins_at": self.begins_at,
            "time_to_patch": dataclasses.asdict(patched) if patched else None,
            "open_exposures": self.open if self.with_notices else None,
            "closed_before": self.unwatched if self.with_notices else None,
        }

    def as_dict(self) -> dict[str, t.Any]:
        """All but the exposures of each host, as plain data."""
        return {**self.summary(), "days": [day._asdict() for day in self.days], "cves": self.cves()}


def build_history(
    spans: c.Iterable[tuple[str, c.Sequence[Span]]],
    until: int,
    notices: c.Sequence[PublishedNotice] | None = None,
    standing: c.Callable[[Kind], NoticeCoverage] | None = None,
) -> History:
    """Make the history of hosts, each with its spans in order, as it looks at the time `until`.

    `standing` says how notices stand on a kind of host.
    """
    courses = _Timelines(notices, standing) if notices and standing else None
    changes: dict[int, collections.Counter[State]] = collections.defaultdict(collections.Counter)
    exposures: list[Exposure] = []
    unwatched = 0
    begins_at: int | None = None
    for host, of_host in spans:
        begins_at = of_host[0].begin if begins_at is None else min(begins_at, of_host[0].begin)
        _count_days(of_host, changes)
        if courses is not None:
            course = courses.of(of_host)
            exposures += _exposures(host, of_host, course)
            unwatched += course.unwatched
    published: dict[str, int] = {}
    for notice in sorted(notices or (), key=lambda notice: notice.published, reverse=True):
        published.update(dict.fromkeys(notice.cves, notice.published))
    began = None if begins_at is None else format_time(from_microseconds(begins_at))
    return History(began, _days(changes, until // _DAY), exposures, unwatched, standing is not None, published)


def _count_days(spans: c.Sequence[Span], changes: dict[int, collections.Counter[State]]) -> None:
    """Note on which days a host enters and leaves a state. It is gone on the day after its last sighting."""
    for span, following in zip(spans, [*spans[1:], None], strict=True):
        leaves = following.begin // _DAY if following else span.end // _DAY + 1
        if leaves > span.begin // _DAY:
            changes[span.begin // _DAY][span.kind.state] += 1
            changes[leaves][span.kind.state] -= 1


def _days(changes: c.Mapping[int, collections.Counter[State]], last: int) -> list[Day]:
    """What was so at the end of each day, up to the last one, and no more days than a picture can show."""
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
    """What became of vulnerabilities on a host: open, closed by a span (of that index), or closed before the first.

    `closed` has vulnerabilities with when they were published, together where they share that and the span.
    """

    open: tuple[str, ...]
    open_since: int
    closed: tuple[tuple[tuple[str, ...], int, int], ...]
    unwatched: int


class _Timelines:
    """The courses of hosts. They are few: hosts that were alike, before and after the same notices, have the same."""

    def __init__(self, notices: c.Sequence[PublishedNotice], standing: c.Callable[[Kind], NoticeCoverage]) -> None:
        self._notices = {notice.id: notice for notice in sorted(notices, key=lambda notice: notice.published)}
        self._published = [notice.published for notice in self._notices.values()]
        self._standing = standing
        self._known: dict[tuple[tuple[Kind, int], ...], _HostTimeline] = {}

    def of(self, spans: c.Sequence[Span]) -> _HostTimeline:
        alike = tuple((span.kind, bisect.bisect_left(self._published, span.begin)) for span in spans)
        course = self._known.get(alike)
        if course is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            course = self._known[alike] = self._course(spans)
        return course

    def _course(self, spans: c.Sequence[Span]) -> _HostTimeline:
        first = spans[0].begin
        of_cve: dict[str, tuple[int, int | None]] = {}
        for notice, by in self._closings(spans):
            for cve in notice.cves:
                # Of several notices on it, the first one made it known, and the first one that is closed closes it.
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
        """The notices that concern a host, in the order of their publication, each with the span that closed it."""
        opened: set[str] = set()
        closed: dict[str, int] = {}
        for index, span in enumerate(spans):
            now = self._standing(span.kind)
            if span.kind.state == "protected":
                # On a kernel that a notice is not for, it has nothing open any more.
                for identifier in (now.closed | (opened - now.concerned)) - closed.keys():
                    closed[identifier] = index
            opened |= now.concerned
        yield from ((notice, closed.get(notice.id)) for notice in self._notices.values() if notice.id in opened)


def _exposures(host: str, spans: c.Sequence[Span], course: _HostTimeline) -> c.Iterator[Exposure]:
    for cves, published, by in course.closed:
        yield Exposure(host, cves, published, max(published, spans[by].begin))
    if course.open:
        yield Exposure(host, course.open, course.open_since, None)


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
    """From lengths of exposures, each with how many exposures have it."""
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
