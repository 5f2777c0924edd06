# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of reading records and notes of failed attempts: invalid files, other formats, and parsing by section."""

from __future__ import annotations

import json
import socket
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._records import reader
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import (
    Document,
    Problem,
    Recorded,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.folder_store import (
    load,
    note_attempt,
    store,
)
from tests.samples.records import COLLECTED_AT, make_record
from tests.samples.reports import text_of


def _load_one(*folders: Path) -> Document:
    [document] = load(folders)
    return document


def _problem(folder: Path) -> Problem:
    document = _load_one(folder)
    assert isinstance(document, Problem)
    return document


def _write_sections(path: Path, document: t.Mapping[str, object]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n")


@pytest.mark.parametrize(
    ("content", "identifier", "message"),
    [
        (b"", "invalid_json", "truncated"),
        (b'{"schema": "kernelops.livepatch/rec', "invalid_json", "truncated"),
        (b"\xff\xfe{}", "invalid_json", "utf-8"),
        (b"[" * 100_000, "invalid_json", "truncated"),
        (b'{"number": NaN}', "invalid_json", "NaN"),
        (b'{"number": -1e999}', "invalid_json", "too large"),
        (b'{"number": ' + b"9" * 5000 + b"}", "invalid_json", "not JSON"),
        (b"[]", "malformed_record", "expected a record"),
        (b"{}", "malformed_record", "schema"),
        (b'{"schema": "kernelops.livepatch/record/1", "host": 3}', "malformed_record", "host"),
        (b'{"schema": "kernelops.livepatch/record/2"}', "newer_schema", "upgrade kernelops.livepatch"),
        (b'{"schema": "kernelops.livepatch/attempt/1"}', "malformed_record", "host"),
        (
            b'{"schema": "kernelops.livepatch/attempt/1", "host": "a", "attempted_at": "yesterday", "reasons": []}',
            "malformed_record",
            "attempted_at",
        ),
        (
            b'{"schema": "kernelops.livepatch/attempt/1", "host": "a", "attempted_at": "2026-01-01T00:00:00Z"}',
            "malformed_record",
            "reasons",
        ),
        (
            json.dumps(
                {
                    "schema": "kernelops.livepatch/attempt/1",
                    "host": "a",
                    "attempted_at": COLLECTED_AT,
                    "reasons": [{"id": "no_answer", "message": "without a remedy"}],
                }
            ).encode(),
            "malformed_record",
            "reasons",
        ),
    ],
)
def test_an_unusable_file_does_not_hide_others(tmp_path: Path, content: bytes, identifier: str, message: str) -> None:
    (tmp_path / "db%2F1.json").write_bytes(content)
    store(tmp_path, make_record("web1"))
    problem, found = load([tmp_path])
    assert isinstance(problem, Problem)
    assert (problem.id, problem.path, problem.host) == (identifier, str(tmp_path / "db%2F1.json"), "db/1")
    assert message in problem.message
    assert isinstance(found, Recorded)


def test_an_unusable_note_names_its_host(tmp_path: Path) -> None:
    note_attempt(tmp_path, "web1", COLLECTED_AT, []).write_text("{")
    assert _problem(tmp_path).host == "web1"


@pytest.mark.parametrize("collected_at", ["yesterday", "2026-01-10 06:00:00Z", "2026-01-10T06:00:00+02:00"])
def test_a_time_in_another_format_is_refused(tmp_path: Path, collected_at: str) -> None:
    store(tmp_path, make_record(collected_at=collected_at))
    assert "collected_at" in _problem(tmp_path).message


def test_only_regular_files_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The test uses a socket instead of a pipe, because opening a pipe blocks forever.
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.json")
    (tmp_path / "folder.json").mkdir()
    store(tmp_path, make_record())
    assert isinstance(_load_one(tmp_path), Recorded)


def test_records_of_other_programs_become_ascii(tmp_path: Path) -> None:
    record = make_record(patch__support='line\nend, \x7f, 漢, "quote"')
    texts = [
        json.dumps(record, indent=4, ensure_ascii=False),
        json.dumps(record, indent="\t").replace("\n", "\r\n"),
        json.dumps({**record, "added_later": 1.5}),
        json.dumps(make_record()).replace("Ubuntu", "Ubuntu\x7f"),
    ]
    for text in texts:
        (tmp_path / "web1.json").write_bytes(text.encode())
        found = _load_one(tmp_path)
        assert isinstance(found, Recorded)
        line = text_of(found)
        assert line.isascii()
        assert not set(line) & {*"\r\n\x7f"}
        assert json.loads(line) == json.loads(text)


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        (("client", None), "client"),
        (("client", {"installed": True}), "client"),
        (("schema", "kernelops.livepatch/record/01"), "schema"),
        (("collected_at", "yesterday"), "collected_at"),
    ],
)
def test_an_invalid_section_is_named(tmp_path: Path, wrong: tuple[str, object], place: str) -> None:
    """Stored records are parsed by section, and repeated sections are parsed once."""
    record: dict[str, t.Any] = {**make_record("web2"), wrong[0]: wrong[1]}
    absent = {key: value for key, value in make_record("web3").items() if key != place}
    _write_sections(tmp_path / "web1.json", make_record("web1"))
    _write_sections(tmp_path / "web2.json", record)
    _write_sections(tmp_path / "web3.json", absent)
    _write_sections(tmp_path / "web4.json", make_record("web4"))
    documents = list(load([tmp_path]))
    assert [document.record["host"] for document in documents if isinstance(document, Recorded)] == ["web1", "web4"]
    assert [document.host for document in documents if isinstance(document, Problem)] == ["web2", "web3"]
    assert all(place in document.message for document in documents if isinstance(document, Problem))


@pytest.mark.parametrize(
    "text",
    [
        '{\n  "host": "a",\n  "patch": 1 "x",\n  "client": {}\n}\n',
        '{\n  "host": "a",\n  \n}\n',
        '{\n  "host": "a"},\n  "patch": {\n}\n',
        '{\n  "host": "a",\n  "host\n}\n',
    ],
)
def test_invalid_json_is_invalid_in_sections(tmp_path: Path, text: str) -> None:
    (tmp_path / "web1.json").write_text(text)
    assert _problem(tmp_path).id == "invalid_json"


def test_the_last_of_repeated_keys_is_used(tmp_path: Path) -> None:
    _write_sections(tmp_path / "web1.json", make_record())
    text = (tmp_path / "web1.json").read_text()
    (tmp_path / "web1.json").write_text(text.replace("{", '{\n  "patch": null,', 1))
    found = _load_one(tmp_path)
    assert isinstance(found, Recorded)
    assert found.record == make_record()
    assert json.loads(text_of(found)) == make_record()


def test_a_large_record_is_read_completely(tmp_path: Path) -> None:
    for size in (65_000, 65_536, 66_000, 200_000):
        record = make_record(patch__support="x" * size)
        for length in (size, size + (-len(json.dumps(record, indent=2)) - 1) % 65536):
            record = make_record(patch__support="x" * length)
            _write_sections(tmp_path / "web1.json", record)
            found = _load_one(tmp_path)
            assert isinstance(found, Recorded)
            assert found.record == record


def test_the_cache_of_sections_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_MEMORY", 4000)
    records = [make_record(f"web{number:02}", patch__version=str(number % 5)) for number in range(20)]
    for record in records:
        store(tmp_path, record)
    assert [document.record for document in load([tmp_path]) if isinstance(document, Recorded)] == records


def test_individual_values_are_read_and_written(tmp_path: Path) -> None:
    """Sections of similar hosts are parsed once. The values that each host has alone stay apart."""
    records = {
        "web1": make_record("web1"),
        "web2": make_record("web2", client__last_check=None, system__machine_id_sha256="00"),
        "web3": make_record("web3", client__last_check="ä", system__kernel__booted_at='"'),
        "web4": make_record("web4", client__last_check="\x7f", system__kernel__booted_at=None),
    }
    for name, record in records.items():
        _write_sections(tmp_path / f"{name}.json", record)
    for found in load([tmp_path]):
        assert isinstance(found, Recorded)
        expected = records[found.record["host"]]
        assert found.record == expected
        assert json.loads(text_of(found)) == expected


def test_files_that_differ_in_individual_values_are_read_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not parsed again. Any other difference is noticed."""
    first = make_record("web1")
    same = [
        make_record("web22", collected_at="2026-01-10T07:00:00Z", client__last_check="2026-01-10T06:59:59Z"),
        make_record("web3", system__machine_id_sha256="00" * 32, system__kernel__booted_at="2026-01-02T00:00:00Z"),
        make_record("web5", client__last_check=None),
    ]
    other = [
        make_record("web4", client__last_check=None),
        make_record("web6", patch__version="65.2"),
        make_record("web7\u00e4"),
    ]
    for record in (first, *same, *other):
        store(tmp_path, record)
    whole: list[bytes] = []
    by_sections = reader.RecordReader._by_sections

    def counted(of: reader.RecordReader, content: bytes) -> Recorded | None:
        whole.append(content)
        return by_sections(of, content)

    monkeypatch.setattr(reader.RecordReader, "_by_sections", counted)
    found = {document.record["host"]: document for document in load([tmp_path]) if isinstance(document, Recorded)}
    for record in (first, *same, *other):
        document = found[record["host"]]
        assert document.record == record == json.loads(text_of(document))
    assert len(whole) == 1 + len(other)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"2026-01-10T06:00:00Z"', '"yesterday"', "malformed_record"),
        ('"2026-01-10T06:00:00Z"', "null", "malformed_record"),
        ('"web2"', "null", "malformed_record"),
        ('"web2"', '"web\\"', "invalid_json"),
        ("\n}\n", "\n}", None),
        ("\n}\n", '",\n}\n', "invalid_json"),
        ("{\n", "{\r\n", None),
        ('"kernel": {', '"kernel": {"booted_at": "2020-01-01T00:00:00Z", ', None),
    ],
)
def test_a_file_that_is_nearly_alike_is_parsed(tmp_path: Path, old: str, new: str, problem: str | None) -> None:
    store(tmp_path, make_record("web1"))
    text = store(tmp_path, make_record("web2")).read_text()
    assert old in text
    (tmp_path / "web2.json").write_text(text.replace(old, new), newline="")
    first, second = load([tmp_path])
    assert isinstance(first, Recorded)
    assert first.record == make_record("web1")
    if problem is not None:
        assert isinstance(second, Problem)
        assert second.id == problem
    else:
        assert isinstance(second, Recorded)
        assert second.record == make_record("web2")
        assert json.loads(text_of(second)) == make_record("web2")


def test_an_invalid_individual_value_is_refused(tmp_path: Path) -> None:
    text = json.dumps(make_record("web1"), indent=2)
    (tmp_path / "web1.json").write_text(text + "\n")
    for number, wrong in enumerate(('"2026\n"', "5", "nullx", '"a" "b"', '"a", "last_check": 5')):
        (tmp_path / f"web2-{number}.json").write_text(text.replace('"2026-01-10T05:31:02Z"', wrong) + "\n")
    first, *others = load([tmp_path])
    assert isinstance(first, Recorded)
    assert [type(other) for other in others] == [Problem] * 5


def test_a_large_file_is_no_record(tmp_path: Path) -> None:
    with (tmp_path / "web1.json").open("wb") as file:
        file.truncate(1 << 40)
    problem = _problem(tmp_path)
    assert (problem.id, problem.host) == ("malformed_record", "web1")
    assert "larger than 4 MiB" in problem.message
