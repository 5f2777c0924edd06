# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the temporary files with the complete records of a fleet."""

from __future__ import annotations

import json

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._records import spool
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spool import Spool, sections_of
from tests.samples.records import make_record

RECORDS = [make_record(f"web{number}", patch__version=f"{number % 3}.1") for number in range(12)]


@pytest.mark.parametrize("memory", [0, 1, 3000, 1 << 20])
def test_documents_are_as_they_were_written(monkeypatch: pytest.MonkeyPatch, memory: int) -> None:
    monkeypatch.setattr(spool, "_MEMORY", memory)
    kept = Spool()
    writers = [kept.writer(), kept.writer()]
    places = [writers[number % 2].append(sections_of(record)) for number, record in enumerate(RECORDS)]
    for writer in writers:
        writer.flush()
    assert [json.loads(kept.document(place)) for place in places] == RECORDS
    assert [kept.sections(place) for place in reversed(places)] == [
        [section.decode() for section in sections_of(record)] for record in reversed(RECORDS)
    ]


def test_a_common_section_is_written_once() -> None:
    kept = Spool()
    writer = kept.writer()
    sizes = [writer.append(sections_of(record)).size for record in RECORDS]
    assert sizes[-1] < sum(map(len, sections_of(RECORDS[-1]))) / 2
    assert max(sizes) - min(sizes) < 20, "the sections themselves are beside the documents"
