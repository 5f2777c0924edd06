# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the temporary files with the complete records of a fleet."""

from __future__ import annotations

import json

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._records import spool
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spool import (
    Spool,
    sections_of,
    split_section,
)
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


def _section(key: str, **places: object) -> str:
    return f'"{key}": {json.dumps(dict(make_record(**places))[key])}'


def test_similar_hosts_have_the_same_common_text() -> None:
    one = split_section(_section("system"))
    other = split_section(_section("system", system__machine_id_sha256=None, system__kernel__booted_at="2026-01-02"))
    assert one is not None
    assert other is not None
    assert one.common == other.common
    assert one.individual == {"machine_id_sha256": "5f" * 32, "booted_at": "2026-01-01T00:00:00Z"}
    assert other.individual == {"machine_id_sha256": None, "booted_at": "2026-01-02"}


def test_other_differences_are_in_the_common_text() -> None:
    one, other = (split_section(_section("client", client__tier=tier)) for tier in ("free", "stable"))
    assert one is not None
    assert other is not None
    assert one.common != other.common
    assert one.individual == other.individual == {"last_check": "2026-01-10T05:31:02Z"}


@pytest.mark.parametrize(
    "text",
    [
        _section("patch"),
        _section("client", client__server='a \\ "last_check": "b"'),
        _section("client", client__server="last_check"),
        _section("client").replace(": ", ":"),
        _section("client").replace("last_check", "checked"),
        _section("client").replace('"2026-01-10T05:31:02Z"', "5"),
        _section("client").replace("05:31", "05\n31"),
        _section("client").replace("{", '{"last_check": null, '),
        _section("system").replace("booted_at", "last_check"),
        '"client": {"last_check": ',
        "",
    ],
)
def test_doubtful_sections_are_not_split(text: str) -> None:
    assert split_section(text) is None
