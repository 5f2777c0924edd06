# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Spans of time in which a host stayed the same: the form in which a history is stored."""

from __future__ import annotations

import collections.abc as c
import json
import typing as t

from .._record import FORMER_STATES, State


class Kind(t.NamedTuple):
    """The facts of a host that a history stores. `unpatched` lists the CVEs that its client reports as not patched."""

    state: State
    kernel: str | None = None
    release: str | None = None
    patch: str | None = None
    unpatched: tuple[str, ...] = ()


def parse_kind(facts: object) -> Kind:
    """Return the facts of a row, which is JSON. Columns of SQLite can have values of any type. Raises `ValueError`."""
    try:
        state, kernel, release, patch, unpatched = json.loads(t.cast("str", facts))
        kind = Kind(FORMER_STATES.get(state, state), kernel, release, patch, tuple(unpatched))
    except (TypeError, RecursionError) as error:
        raise ValueError("the table kind is damaged") from error
    texts = (kind.state, *kind.unpatched, *(each for each in kind[1:4] if each is not None))
    if not all(isinstance(each, str) for each in texts):
        raise ValueError("the table kind is damaged")
    return kind


class Sighting(t.NamedTuple):
    """The facts of a host at a time, in microseconds since 1970. Host and time identify a sighting."""

    host: str
    at: int
    kind: Kind


class Span(t.NamedTuple):
    """A host had the same facts at all sightings from `begin` to `end`."""

    begin: int
    end: int
    kind: Kind


def with_sighting(spans: c.Sequence[Span], at: int, kind: Kind) -> list[Span]:
    """Return the spans of a host with one more sighting, at any time. A known sighting changes nothing."""
    before = [span for span in spans if span.end < at]
    within = [span for span in spans if span.begin <= at <= span.end]
    after = [span for span in spans if span.begin > at]
    if within:
        [span] = within
        if span.kind == kind or at in (span.begin, span.end):
            return list(spans)
        # Only the two ends of a span are certain.
        within = [Span(span.begin, span.begin, span.kind), Span(at, at, kind), Span(span.end, span.end, span.kind)]
    elif before and before[-1].kind == kind:
        before[-1] = before[-1]._replace(end=at)
    elif after and after[0].kind == kind:
        after[0] = after[0]._replace(begin=at)
    else:
        within = [Span(at, at, kind)]
    joined: list[Span] = []
    for span in (*before, *within, *after):
        if joined and joined[-1].kind == span.kind:
            joined[-1] = joined[-1]._replace(end=span.end)
        else:
            joined.append(span)
    return joined


class CveCounts(t.NamedTuple):
    """The open vulnerabilities of a fleet at a time, as number by priority. `lost` hosts have no usable record."""

    at: int
    hosts: int
    lost: int
    open: dict[str, int]


def counts_of_row(at: object, row: object) -> CveCounts:
    """Return the counts that a history has stored as the list of hosts, lost and open. Raises `ValueError`."""
    match row:
        case [int() as hosts, int() as lost, dict() as found] if isinstance(at, int):
            if all(isinstance(number, int) for number in found.values()):
                return CveCounts(at, hosts, lost, found)
    raise ValueError("the table exposure is damaged")


class CvePeriod(t.NamedTuple):
    """A vulnerability was open on a host from the report at `opened` until that at `closed`, or still is."""

    cve: str
    priority: str
    opened: int
    closed: int | None


class SpanTable(t.Protocol):
    """Where a history stores spans, within one transaction."""

    def last_spans(self) -> dict[str, Span]:
        """Return the last span of each host."""

    def spans_of(self, host: str) -> list[Span]:
        """Return the spans of a host in order."""

    def replace(self, host: str, spans: c.Sequence[Span]) -> None:
        """Replace the spans of a host."""

    def write(self, new: c.Sequence[tuple[str, Span]], ends: c.Mapping[tuple[str, int], int]) -> None:
        """Store new spans, and new ends of known spans by host and begin."""


def add_to_table(table: SpanTable, sightings: c.Iterable[Sighting]) -> bool:
    """Add sightings to a history. Return True if any of them is new."""
    last = table.last_spans()
    changed = False
    # Written together at the end.
    new: dict[tuple[str, int], Span] = {}
    ends: dict[tuple[str, int], int] = {}

    def write() -> None:
        nonlocal changed
        changed = changed or bool(new or ends)
        table.write([(host, span) for (host, _begin), span in new.items()], ends)
        new.clear()
        ends.clear()

    for host, at, kind in sightings:
        span = last.get(host)
        if span is None or (at > span.end and kind != span.kind):
            last[host] = new[host, at] = Span(at, at, kind)
        elif at > span.end:
            last[host] = span._replace(end=at)
            ends[host, span.begin] = at
        elif at < span.begin or kind != span.kind:
            # Not the latest of its host, for example from a report on an old folder.
            write()
            before = table.spans_of(host)
            after = with_sighting(before, at, kind)
            if after != before:
                table.replace(host, after)
                changed = True
            last[host] = after[-1]
    write()
    return changed
