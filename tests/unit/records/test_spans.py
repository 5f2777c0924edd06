# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of spans of sightings."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spans import Kind, Span, with_sighting

WELL, OLD, GONE = Kind("protected", patch="2.1"), Kind("protected", patch="1.1"), Kind("no_answer")


@pytest.mark.parametrize("order", list(itertools.permutations([(1, WELL), (2, WELL), (3, GONE), (4, WELL)])))
def test_the_order_of_sightings_makes_no_difference(order: tuple[tuple[int, Kind], ...]) -> None:
    spans: list[Span] = []
    for time, kind in order:
        spans = with_sighting(spans, time, kind)
    # If a span turns out to be two spans, an end within it is lost, because only its ends are stored.
    assert spans in (
        [Span(1, 2, WELL), Span(3, 3, GONE), Span(4, 4, WELL)],
        [Span(1, 1, WELL), Span(3, 3, GONE), Span(4, 4, WELL)],
    )
    for time, kind in order:
        assert with_sighting(spans, time, kind)[0].begin == 1
        assert with_sighting(spans, time, kind)[1:] == spans[1:]


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from([WELL, OLD, GONE])), max_size=40))
def test_adjacent_spans_differ(sightings: list[tuple[int, Kind]]) -> None:
    spans: list[Span] = []
    seen: dict[int, Kind] = {}
    for time, kind in sightings:
        known = seen.setdefault(time, kind)
        spans = with_sighting(spans, time, known)
        assert with_sighting(spans, time, known) == spans
        assert all(span.begin <= span.end for span in spans)
        for one, other in itertools.pairwise(spans):
            assert one.end < other.begin
            assert one.kind != other.kind
        for span in spans:
            assert seen[span.begin] == seen[span.end] == span.kind


@given(st.lists(st.sampled_from([WELL, OLD, GONE]), max_size=40))
def test_ordered_sightings_are_all_kept(kinds: list[Kind]) -> None:
    spans: list[Span] = []
    for time, kind in enumerate(kinds):
        spans = with_sighting(spans, time, kind)
    assert [span.kind for span in spans for _time in range(span.begin, span.end + 1)] == kinds


def test_the_first_sighting_of_a_moment_is_used() -> None:
    spans = [Span(1, 5, WELL)]
    assert with_sighting(spans, 1, GONE) == with_sighting(spans, 5, GONE) == spans
