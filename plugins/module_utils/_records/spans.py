# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Spans of time in which a host stayed the same: the form in which a history is stored."""

from __future__ import annotations

import collections.abc as c
import typing as t

from .._record import State


class Kind(t.NamedTuple):
    """The facts of a host that a history stores. `unpatched` lists the CVEs that its client reports as not patched."""

    state: State
    kernel: str | None = None
    release: str | None = None
    patch: str | None = None
    unpatched: tuple[str, ...] = ()


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
