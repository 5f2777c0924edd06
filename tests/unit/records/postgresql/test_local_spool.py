# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The spool of a store: bounded, and safe while it is written and sent at the same time."""

from __future__ import annotations

import os
import types
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._io import UnsafeFolderError
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import Problem
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import DatabaseAddress
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.local_spool import LocalSpool
from tests.samples.records import make_record

EARLY, LATE = "2026-01-10T06:00:00Z", "2026-01-10T18:00:00Z"


def test_each_store_has_its_own_folder(tmp_path: Path) -> None:
    found = {
        LocalSpool.of(DatabaseAddress(url), {"LIVEPATCH_SPOOL_DIR": str(tmp_path)}).folder
        for url in (
            "postgresql://a/x",
            "postgresql://b/x",
            "postgresql://anna:secret@b/x",
            "postgresql://anna:other@b/x",
        )
    }
    assert len(found) == 3, "a changed password does not change the spool"
    assert {folder.parent for folder in found} == {tmp_path}


def test_the_home_of_an_unknown_user_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in other paths: a container may run as a user without an entry in the list of users."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/anna")
    address = DatabaseAddress("postgresql://a/x")
    assert LocalSpool.of(address, {}).folder.is_relative_to("/home/anna/.local/state")
    assert LocalSpool.of(address, {"LIVEPATCH_SPOOL_DIR": "~nobody-has-this-name/x"}).folder.is_relative_to(tmp_path)


def test_a_host_has_one_record_in_the_spool(tmp_path: Path) -> None:
    spool = LocalSpool(tmp_path / "spool")
    for time in (EARLY, LATE):
        spool.keep_record(make_record("web1", collected_at=time))
        spool.keep_attempt("web1", LATE, [])
    assert len(spool.find()) == 2


def test_what_was_not_sent_stays(tmp_path: Path) -> None:
    spool = LocalSpool(tmp_path / "spool")
    spool.keep_record(make_record("web1"))
    (spool.folder / "broken.json").write_text("{", encoding="utf-8")
    with pytest.raises(ZeroDivisionError):
        spool.send(lambda _records, _attempts: 1 // 0)
    assert len(spool.find()) == 2
    assert spool.send(lambda _records, _attempts: None) == 1
    assert [name for _folder, name in spool.find()] == ["broken.json"]


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_folder_that_others_can_write_is_not_sent(tmp_path: Path, mode: int) -> None:
    """Another user can know its name, and forge records in it."""
    spool = LocalSpool(tmp_path / "spool")
    spool.keep_record(make_record("web1"))
    spool.folder.chmod(mode)
    [problem] = spool.find()
    assert isinstance(problem, Problem)
    assert (problem.id, problem.path) == ("unsafe_folder", str(spool.folder))
    assert spool.last_record("web1") is None
    with pytest.raises(UnsafeFolderError):
        spool.send(lambda _records, _attempts: None)
    with pytest.raises(LivepatchError) as caught:
        spool.keep_record(make_record("web2"))
    assert caught.value.id == "record_not_stored"
    assert f"{spool.folder} has the mode" in caught.value.message
    assert [path.name for path in spool.folder.glob("*.json")] == ["web1.json"]


def test_a_link_in_the_spool_is_not_followed(tmp_path: Path) -> None:
    spool, target = LocalSpool(tmp_path / "spool"), tmp_path / "target"
    target.write_text("precious", encoding="utf-8")
    spool.folder.mkdir(0o700)
    (spool.folder / "store.down").symlink_to(target)
    spool.note_down()
    assert target.read_text(encoding="utf-8") == "precious"


def test_the_spool_leaves_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = types.SimpleNamespace(f_blocks=1, f_bavail=1, f_frsize=1024)
    monkeypatch.setattr(os, "statvfs", lambda _path: full)
    with pytest.raises(LivepatchError, match="less than 64 MiB left") as caught:
        LocalSpool(tmp_path / "spool").keep_record(make_record("web1"))
    assert caught.value.id == "record_not_stored"


def test_a_store_is_asked_again_after_a_while(tmp_path: Path) -> None:
    spool = LocalSpool(tmp_path / "spool")
    assert not spool.is_down()
    spool.note_down()
    [marker] = spool.folder.iterdir()
    written = marker.stat().st_mtime
    assert [spool.is_down(written + seconds) for seconds in (-1, 0, 29, 31)] == [False, True, True, False]
    spool.note_up()
    assert not spool.is_down()
