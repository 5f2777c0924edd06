# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Folders of records: stored records are read back, and an unusable file does not hide the others."""

from __future__ import annotations

import json
import os
import stat
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import (
    Document,
    FailedAttempt,
    Problem,
    Recorded,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.folder_store import (
    RecordStoreError,
    last_record,
    load,
    note_attempt,
    store,
)
from tests.samples.records import COLLECTED_AT, make_record
from tests.samples.reports import text_of

AWKWARD_HOSTS = [
    "web1",
    "web1.unreachable",
    ".hidden",
    "..",
    "../../etc/passwd",
    "a/b",
    "a b\n{{ c }}",
    "%2Fa",
    "wéb-漢字",
    "\udc80",
    "x" * 300,
    "x" * 299 + "y",
]


def _load_one(*folders: Path) -> Document:
    [document] = load(folders)
    return document


def test_a_stored_record_is_read_back(tmp_path: Path) -> None:
    record = make_record()
    path = store(tmp_path / "made" / "on demand", record)
    assert path == tmp_path / "made" / "on demand" / "web1.json"
    found = _load_one(path.parent)
    assert isinstance(found, Recorded)
    assert found.record == record
    assert json.loads(text_of(found)) == record


@pytest.mark.parametrize("host", AWKWARD_HOSTS)
def test_the_last_record_of_a_host_is_found(host: str, tmp_path: Path) -> None:
    assert last_record(tmp_path, host) is None
    record = {**make_record(), "host": host}
    path = store(tmp_path, t.cast("t.Any", record))
    note_attempt(tmp_path, host, COLLECTED_AT, [])
    found = last_record(tmp_path, host)
    assert found is not None
    assert found["host"] == host
    path.write_text("{", encoding="utf-8")
    assert last_record(tmp_path, host) is None


def test_the_record_of_another_host_does_not_count(tmp_path: Path) -> None:
    store(tmp_path, make_record()).rename(tmp_path / "web2.json")
    assert last_record(tmp_path, "web2") is None
    assert last_record(tmp_path / "missing", "web1") is None


def test_host_names_neither_collide_nor_escape(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    for host in AWKWARD_HOSTS:
        assert store(folder, make_record(host)).parent == folder
        note_attempt(folder, host, "2026-01-11T00:00:00Z", [])
    documents = list(load([folder]))
    assert sorted(found.record["host"] for found in documents if isinstance(found, Recorded)) == sorted(AWKWARD_HOSTS)
    assert sorted(found.host for found in documents if isinstance(found, FailedAttempt)) == sorted(AWKWARD_HOSTS)
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


def test_a_note_exists_until_the_next_record(tmp_path: Path) -> None:
    store(tmp_path, make_record())
    reasons: t.Any = [{"id": "no_answer", "message": "connection refused", "remedy": None}]
    note_attempt(tmp_path, "web1", "2026-01-11T00:00:00Z", reasons)
    kinds = {type(document): document for document in load([tmp_path])}
    assert set(kinds) == {Recorded, FailedAttempt}
    assert kinds[FailedAttempt] == FailedAttempt("web1", "2026-01-11T00:00:00Z", reasons)
    store(tmp_path, make_record())
    assert [type(document) for document in load([tmp_path])] == [Recorded]


@pytest.mark.parametrize(
    ("identifier", "cause"),
    [
        ("connection_failed", "unreachable"),
        ("become_password_wrong", "permission"),
        ("timed_out", "timed_out"),
        ("script_did_not_run", "answer_unusable"),
        ("internal_error", "answer_unusable"),
        ("record_not_stored", "not_stored"),
    ],
)
def test_an_attempt_has_a_cause(tmp_path: Path, identifier: str, cause: str) -> None:
    note = note_attempt(tmp_path, "web1", COLLECTED_AT, [{"id": identifier, "message": "x", "remedy": None}])
    found = _load_one(tmp_path)
    assert isinstance(found, FailedAttempt)
    assert (json.loads(note.read_text())["cause"], found.cause) == (cause, cause)


def test_an_attempt_without_a_cause_is_read(tmp_path: Path) -> None:
    """Release 1 stored none."""
    note = note_attempt(tmp_path, "web1", COLLECTED_AT, [{"id": "timed_out", "message": "x", "remedy": None}])
    note.write_text(json.dumps({key: value for key, value in json.loads(note.read_text()).items() if key != "cause"}))
    found = _load_one(tmp_path)
    assert isinstance(found, FailedAttempt)
    assert found.cause == "timed_out"


@pytest.mark.parametrize("as_a_whole", [False, True])
def test_a_former_name_of_a_state_is_read(tmp_path: Path, as_a_whole: bool) -> None:
    path = store(tmp_path, make_record(state="no_answer"))
    text = path.read_text().replace('"state": "no_answer"', '"state": "unreachable"')
    path.write_text(f"{text}\n" if as_a_whole else text)
    found = _load_one(tmp_path)
    assert isinstance(found, Recorded)
    assert found.record["assessment"]["state"] == "no_answer"
    assert "unreachable" not in text_of(found)


def test_a_replaced_record_leaves_no_other_file(tmp_path: Path) -> None:
    store(tmp_path, make_record(state="disabled"))
    store(tmp_path, make_record(state="protected"))
    assert [path.name for path in tmp_path.iterdir()] == ["web1.json"]
    found = _load_one(tmp_path)
    assert isinstance(found, Recorded)
    assert found.record["assessment"]["state"] == "protected"


def test_a_record_is_as_readable_as_its_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for mask, mode in ((0o022, 0o644), (0o077, 0o600)):
        previous = os.umask(mask)
        try:
            path = store(tmp_path, make_record())
        finally:
            os.umask(previous)
        assert stat.S_IMODE(path.stat().st_mode) == mode
    private = store(tmp_path / "new" / "records", make_record())
    assert [stat.S_IMODE(each.stat().st_mode) for each in (private, private.parent)] == [0o600, 0o700]


def test_a_file_contains_only_harmless_characters(tmp_path: Path) -> None:
    path = store(tmp_path, make_record(patch__support="\x1b[2J\u202e\x7f\u009b漢"))
    assert all(character.isprintable() or character == "\n" for character in path.read_text("ascii"))


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("untouched")
    link = tmp_path / "web1.json"
    link.symlink_to(target)
    store(tmp_path, make_record())
    assert target.read_text() == "untouched"
    assert not link.is_symlink()


def test_files_of_a_killed_run_are_ignored(tmp_path: Path) -> None:
    (tmp_path / ".0123456789abcdef.tmp").write_text('{"schema": ')
    (tmp_path / ".0123456789abcdef.json").write_text('{"schema": ')
    (tmp_path / "notes.txt").write_text("no record")
    assert list(load([tmp_path])) == []


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: store(folder, make_record("web1")),
        lambda folder: note_attempt(folder, "web1", COLLECTED_AT, []),
    ],
    ids=["record", "note"],
)
def test_an_unwritable_folder_has_a_remedy(tmp_path: Path, write: t.Callable[[Path], Path]) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "records"
    with pytest.raises(RecordStoreError) as caught:
        write(folder)
    message = caught.value.as_result()["msg"]
    assert str(folder) in message
    assert "host web1" in message
    assert "Not a directory" in message
    assert "choose another record_dir" in message


def test_a_missing_folder_does_not_hide_others(tmp_path: Path) -> None:
    store(tmp_path / "there", make_record())
    missing, found = load([tmp_path / "missing", tmp_path / "there"])
    assert isinstance(missing, Problem)
    assert (missing.id, missing.path, missing.host) == ("folder_unreadable", str(tmp_path / "missing"), None)
    assert isinstance(found, Recorded)
