# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the temporary files with the complete records of a fleet."""

from __future__ import annotations

import json

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._records import spool
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spool import (
    Spool,
    lines_of,
    split_document,
    split_individual,
    split_like,
    split_section,
)
from tests.samples.records import make_record

RECORDS = [make_record(f"web{number}", patch__version=f"{number % 3}.1") for number in range(12)]


@pytest.mark.parametrize("memory", [0, 1, 3000, 1 << 20])
def test_documents_are_as_they_were_written(monkeypatch: pytest.MonkeyPatch, memory: int) -> None:
    monkeypatch.setattr(spool, "_MEMORY", memory)
    kept = Spool()
    writers = [kept.writer(), kept.writer()]
    places = [writers[number % 2].append(split_document(record)) for number, record in enumerate(RECORDS)]
    for writer in writers:
        writer.flush()
    assert [json.loads(kept.document(place)) for place in places] == RECORDS
    assert [json.loads(kept.document(place)) for place in reversed(places)] == RECORDS[::-1]


def test_a_common_section_is_written_once() -> None:
    kept = Spool()
    writer = kept.writer()
    sizes = [writer.append(split_document(record)).size for record in RECORDS]
    assert sizes[-1] < sum(map(len, lines_of(RECORDS[-1]))) / 2
    assert max(sizes) - min(sizes) < 20, "the sections themselves are beside the documents"


def test_similar_documents_have_the_same_kind() -> None:
    kept = Spool()
    writer = kept.writer()
    places = [writer.append(split_document(record)) for record in RECORDS]
    writer.flush()
    kinds = [kept.parts(place)[0] for place in places]
    assert kinds == kinds[:3] * 4
    assert len(set(kinds)) == 3
    assert dict(zip(kinds[0].value_names, kept.parts(places[3])[1], strict=True)) == {
        ("host", "host"): '"web3"',
        ("collected_at", "collected_at"): '"2026-01-10T06:00:00Z"',
        ("system", "machine_id_sha256"): f'"{"5f" * 32}"',
        ("system", "booted_at"): '"2026-01-01T00:00:00Z"',
        ("client", "last_check"): '"2026-01-10T05:31:02Z"',
    }


def test_a_section_of_an_unknown_kind_is_a_value() -> None:
    assert split_section(b'"added_later": {"a": "b: c"}') == ((b'"added_later": ', b""), (b'{"a": "b: c"}',))


def test_a_key_can_contain_what_separates_it_from_its_value() -> None:
    assert split_section(b'"a: b\\": c": 1') == ((b'"a: b\\": c": ', b""), (b"1",))


def _section(key: str, **places: object) -> bytes:
    return f'"{key}": {json.dumps(dict(make_record(**places))[key])}'.encode("ascii")


def test_similar_hosts_have_the_same_common_text() -> None:
    one = split_individual(_section("system"))
    line = _section("system", system__machine_id_sha256=None, system__kernel__booted_at="2026-01-02")
    other = split_individual(line)
    assert one is not None
    assert other is not None
    assert one.shared == other.shared
    assert one.texts() == ["5f" * 32, "2026-01-01T00:00:00Z"]
    assert other.texts() == [None, "2026-01-02"]
    assert split_like(one.shared, line) == other


def test_other_differences_are_in_the_common_text() -> None:
    lines = [_section("client", client__tier=tier) for tier in ("free", "stable")]
    one, other = map(split_individual, lines)
    assert one is not None
    assert other is not None
    assert one.shared != other.shared
    assert one.texts() == other.texts() == ["2026-01-10T05:31:02Z"]
    assert split_like(one.shared, lines[1]) is None


def test_a_text_with_the_name_of_a_key_is_no_key() -> None:
    split = split_individual(_section("client", client__server="last_check"))
    assert split is not None
    assert split.texts() == ["2026-01-10T05:31:02Z"]


@pytest.mark.parametrize(
    "line",
    [
        _section("patch"),
        _section("client", client__server='a \\ "last_check": "b"'),
        _section("client").replace(b": ", b":"),
        _section("client").replace(b"last_check", b"checked"),
        _section("client").replace(b'"2026-01-10T05:31:02Z"', b"5"),
        _section("client").replace(b"05:31", b"05\n31"),
        _section("client").replace(b"05:31", b"05\x7f31"),
        _section("client").replace(b"05:31", "ä".encode()),
        _section("client").replace(b"{", b'{"last_check": null, '),
        _section("system").replace(b"booted_at", b"last_check"),
        b'"system": {"booted_at": null, "machine_id_sha256": null}',
        b'"client": {"last_check": ',
        b"",
    ],
)
def test_doubtful_sections_are_not_split(line: bytes) -> None:
    assert split_individual(line) is None
    whole = split_section(line) if b": " in line else None
    assert whole is None or b"".join((*whole.shared[:1], *whole.values, *whole.shared[1:])) == line


@pytest.mark.parametrize(
    "value", [b"5", b'"a', b'"a\nb"', b'"a\\"', b'"a", "tier": "b"', b"nulls", b"", '"ä"'.encode()]
)
def test_a_line_with_another_value_is_not_alike(value: bytes) -> None:
    line = _section("client")
    split = split_individual(line)
    assert split is not None
    assert split_like(split.shared, line) == split
    assert split_like(split.shared, line.replace(split.values[0], value)) is None
    assert split_like(split.shared, line + b" ") is None
