# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of folders that only their owner can change, with the links that an attacker would plant."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._io import UnsafeFolderError
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror import sync
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.folder import Folder, open_folder
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import trust
from tests.samples.mirror import listed, name_of

from .test_sync import archives, fill, task

STRANGER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can create files of another user")


def refused(path: Path, *, create: bool = True) -> str:
    with pytest.raises(UnsafeFolderError) as caught, open_folder(path, create=create):
        pass
    assert caught.value.id == "unsafe_folder"
    return caught.value.as_result()["msg"]


# --- the folder and those above it


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757, 0o1777])
def test_a_folder_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    folder.chmod(mode)
    message = refused(folder)
    assert f"has the mode {mode:04o}" in message
    assert f"Run chmod go-w '{folder}', or use another folder." in message


def test_a_folder_below_a_writable_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    tmp_path.chmod(0o777)
    assert f"chmod go-w {tmp_path}," in refused(tmp_path / "mirror")
    assert f"chmod go-w {tmp_path}," in refused(tmp_path / "absent", create=False)
    tmp_path.chmod(0o1777)
    with open_folder(tmp_path / "mirror"):
        """In a folder like /tmp, others cannot replace it."""


@as_root
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    os.chown(tmp_path / "mirror", STRANGER, STRANGER)
    assert f"belongs to the user with the id {STRANGER}" in refused(tmp_path / "mirror")


@as_root
def test_a_link_of_another_user_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    with open_folder(tmp_path / "link") as folder:
        assert folder.names() == []
    os.chown(tmp_path / "link", STRANGER, STRANGER, follow_symlinks=False)
    assert f"run chown 0 {tmp_path}/link" in refused(tmp_path / "link").replace("Run", "run")


def test_links_of_the_owner_lead_to_checked_folders(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "mirror").mkdir()
    (tmp_path / "link").symlink_to("open/../open/mirror")
    (tmp_path / "absolute").symlink_to(tmp_path / "link")
    (tmp_path / "open" / "mirror" / "file").touch()
    with open_folder(tmp_path / "absolute") as folder:
        assert folder.names() == ["file"]
    (tmp_path / "open").chmod(0o777)
    assert f"{tmp_path}/open" in refused(tmp_path / "absolute")


def test_a_circle_of_links_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        open_folder(tmp_path / "a")


def test_a_new_folder_is_safe_whatever_the_umask(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        with open_folder(tmp_path / "a" / "b", create=True, mode=0o700) as folder:
            folder.write("file", b"content", 0o644)
    finally:
        os.umask(mask)
    modes = [
        path.stat().st_mode & 0o777 for path in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "file")
    ]
    assert modes == [0o755, 0o700, 0o644]


def test_an_absent_folder_has_no_files(tmp_path: Path) -> None:
    with open_folder(tmp_path / "a" / "b") as folder:
        assert (folder.names(), folder.read("file", 10)) == ([], None)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for create in (True, False):
        with pytest.raises(NotADirectoryError, match="file"):
            open_folder(tmp_path / "file", create=create)


# --- files


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target"
    path.write_bytes(b"untouched")
    path.chmod(0o640)
    return path


def untouched(target: Path) -> bool:
    return (target.read_bytes(), target.stat().st_mode & 0o777) == (b"untouched", 0o640)


def planted(tmp_path: Path, target: Path) -> Folder:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(target)
    os.mkfifo(tmp_path / "folder" / "pipe")
    return open_folder(tmp_path / "folder")


@pytest.mark.parametrize("name", ["link", "pipe"])
def test_only_regular_files_are_opened(tmp_path: Path, target: Path, name: str) -> None:
    with planted(tmp_path, target) as folder:
        for use in (
            lambda: folder.read(name, 10),
            lambda: folder.open_unfinished(name),
            lambda: folder.locked(name, 0).__enter__(),
            lambda: folder.move(name, folder, "moved", 0o600),
        ):
            with pytest.raises(OSError, match=rf"not a regular file: '.*/folder/{name}'"):
                use()
        with pytest.raises(OSError, match="folder/link"):
            folder.subfolder("link")
    assert untouched(target)


@pytest.mark.parametrize("name", ["link", "pipe"])
def test_links_and_pipes_are_replaced_and_removed(tmp_path: Path, target: Path, name: str) -> None:
    with planted(tmp_path, target) as folder:
        folder.write(name, b"new", 0o600)
        assert folder.read(name, 10) == b"new"
    with open_folder(tmp_path / "folder") as folder:
        folder.remove(name)
        folder.remove(name)
        assert name not in folder.names()
    assert untouched(target)


def test_a_large_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123")
    with open_folder(tmp_path) as folder:
        assert folder.read("file", 4) == b"0123"
        with pytest.raises(OSError, match="larger than"):
            folder.read("file", 3)


def test_an_interrupted_write_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with open_folder(tmp_path) as folder:
        folder.write("file", b"old", 0o600)
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space left"):
            folder.write("file", b"new", 0o600)
        assert (folder.names(), folder.read("file", 10)) == (["file"], b"old")


def test_leftovers_of_killed_runs_are_removed(tmp_path: Path) -> None:
    for name in (".0123456789abcdef.tmp", ".hidden", ".lock", "file.tmp"):
        (tmp_path / name).touch()
    with open_folder(tmp_path) as folder:
        folder.remove_temporary_files()
        assert folder.names() == [".hidden", ".lock", "file.tmp"]


def test_a_file_moves_to_another_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.rename

    def other_device(source: str, target: str, **folders: int) -> None:
        if source == "file":
            raise OSError(18, "Invalid cross-device link")
        rename(source, target, **folders)

    monkeypatch.setattr(os, "rename", other_device)
    (tmp_path / "file").write_bytes(b"content")
    with open_folder(tmp_path) as folder, open_folder(tmp_path / "other", create=True) as other:
        folder.move("file", other, "moved", 0o600)
        assert (folder.names(), other.names(), other.read("moved", 10)) == (["other"], ["moved"], b"content")
    assert (tmp_path / "other" / "moved").stat().st_mode & 0o777 == 0o600


def test_a_lock_is_private_and_not_truncated(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b"content")
    (tmp_path / "lock").chmod(0o644)
    with open_folder(tmp_path) as folder, folder.locked("lock", 0) as first, folder.locked("lock", 0) as second:
        assert (first, second) == (True, False)
    assert (tmp_path / "lock").read_bytes() == b"content"
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


# --- a run in a folder with planted links


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    sync.run_mirror(task(folder, fill(tmp_path / "source", archives("64.1", "65.1"))))
    return folder


def plant(path: Path, target: Path) -> None:
    path.parent.mkdir(exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


UNTRUSTED = trust.TrustAnchors([])


@pytest.mark.parametrize(
    "name",
    [
        ".lock",
        "index.json",
        ".index.json",
        name_of("65.1"),
        name_of("99.1"),
        f".unfinished/{sync.unfinished_name(listed('65.1'))}",
        f".quarantine/{name_of('65.1')}",
        f".quarantine/{name_of('65.1')}.reason.json",
    ],
)
@pytest.mark.parametrize("anchors", [None, UNTRUSTED])
def test_a_run_never_follows_planted_links(
    tmp_path: Path, mirror: Path, target: Path, name: str, anchors: trust.TrustAnchors | None
) -> None:
    for archive in mirror.glob("livepatch-*"):
        archive.unlink()
    plant(mirror / name, target)
    options = task(mirror, tmp_path / "source")
    options = dataclasses.replace(options, anchors=anchors or options.anchors)
    try:
        sync.run_mirror(options)
    except OSError as error:
        assert str(mirror / name) in str(error)
    assert untouched(target)


@pytest.mark.parametrize("name", [".unfinished", ".quarantine"])
def test_a_run_never_empties_a_linked_folder(tmp_path: Path, mirror: Path, name: str) -> None:
    others = fill(tmp_path / "others", {"file": b"untouched", name_of("65.1"): b"untouched"})
    others.chmod(0o777)
    fill(tmp_path / "source", archives("65.1", "66.1"))
    plant(mirror / name, others)
    with pytest.raises((OSError, UnsafeFolderError)):
        sync.run_mirror(task(mirror, tmp_path / "source"))
    assert {path.name: path.read_bytes() for path in others.iterdir()} == {
        "file": b"untouched",
        name_of("65.1"): b"untouched",
    }


@pytest.mark.parametrize("name", ["mirror", "mirror/.quarantine"])
def test_a_shared_folder_stops_runs_and_predictions(tmp_path: Path, mirror: Path, name: str) -> None:
    (mirror / ".quarantine").mkdir(mode=0o700)
    (tmp_path / name).chmod(0o777)
    before = sorted(path.stat().st_mtime_ns for path in mirror.iterdir())
    for run in (sync.run_mirror, sync.predict_mirror):
        with pytest.raises(UnsafeFolderError):
            run(task(mirror, tmp_path / "source"))
    assert sorted(path.stat().st_mtime_ns for path in mirror.iterdir()) == before


def test_served_files_are_readable_and_others_private(tmp_path: Path, mirror: Path) -> None:
    (mirror / name_of("1.1")).write_bytes(b"unknown")
    sync.run_mirror(task(mirror, tmp_path / "source"))
    modes = {str(path.relative_to(mirror)): path.stat().st_mode & 0o777 for path in mirror.rglob("*")}
    assert modes == {
        name_of("64.1"): 0o644,
        name_of("65.1"): 0o644,
        "index.json": 0o644,
        ".lock": 0o600,
        ".verified.json": 0o600,
        ".quarantine": 0o700,
        f".quarantine/{name_of('1.1')}": 0o600,
        f".quarantine/{name_of('1.1')}.reason.json": 0o600,
    }
