# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Spans of time in which a host stayed the same: the form in which a history is stored."""

from __future__ import annotations

import collections.abc as c
import typing as t

from .._record import State


class Kind(t.NamedTuple):
    """What a host was at a sighting, as far as a history wants to know. `unpatched`: what its client says is open."""

    state: State
    kernel: str | None = None
    release: str | None = None
    patch: str | None = None
    unpatched: tuple[str, ...] = ()


class Sighting(t.NamedTuple):
    """A host was this at that time. It is known by its host and its time."""

    host: str
    at: int
    kind: Kind


class Span(t.NamedTuple):
    """A host was the same at all sightings from the one at `begin` to the one at `end`."""

    begin: int
    end: int
    kind: Kind


def placed(spans: c.Sequence[Span], at: int, kind: Kind) -> list[Span]:
    """The spans of a host, in order, with a sighting more, whenever it was. One that is known changes nothing."""
    before = [span for span in spans if span.end < at]
    within = [span for span in spans if span.begin <= at <= span.end]
    after = [span for span in spans if span.begin > at]
    if within:
        [span] = within
        if span.kind == kind or at in (span.begin, span.end):
            return list(spans)
        # Only what is known of the span is kept: its two ends.
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
