# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of safe access to files."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._io import (
    UnsafeFolderError,
    expand_user,
    has_content,
    lock_within,
    make_own_folder,
    open_for_writing,
    open_lock,
    open_owned,
    open_regular,
    read_bounded,
    remove_unfinished,
    write_atomically,
)

MEBIBYTE = 1 << 20
NOON = 1_772_366_400


def test_reads_a_regular_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    assert read_bounded(str(path), 7) == b"content"
    with open_regular(str(path)) as file:
        assert file.read() == b"content"


def test_a_file_beyond_the_limit_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(MEBIBYTE + 1))
    with pytest.raises(OSError, match="the file is larger than 1 MiB"):
        read_bounded(str(path), MEBIBYTE)


def test_other_kinds_of_files_are_errors(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match="not a regular file"):
            read_bounded(str(path), MEBIBYTE)
    with pytest.raises(FileNotFoundError):
        read_bounded(str(tmp_path / "absent"), MEBIBYTE)


@pytest.mark.parametrize("durable", [True, False])
def test_a_written_file_and_its_folders_are_private(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "a" / "b" / "file"
    mask = os.umask(0)
    try:
        write_atomically(path, ["one\n", "zwei Ä\n"], durable=durable)
    finally:
        os.umask(mask)
    assert path.read_bytes() == "one\nzwei Ä\n".encode()
    assert [each.stat().st_mode & 0o777 for each in (path.parent.parent, path.parent, path)] == [0o700, 0o700, 0o600]


@pytest.mark.parametrize(
    ("folder", "mask", "mode"),
    [(0o755, 0, 0o644), (0o750, 0, 0o640), (0o2775, 0, 0o644), (0o755, 0o077, 0o600), (0o711, 0, 0o600)],
)
def test_a_file_is_as_readable_as_its_folder(tmp_path: Path, folder: int, mask: int, mode: int) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder").chmod(folder)
    previous = os.umask(mask)
    try:
        write_atomically(tmp_path / "folder" / "file", ["content"])
    finally:
        os.umask(previous)
    assert (tmp_path / "folder" / "file").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("durable", [True, False])
def test_only_a_durable_file_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_size))
    write_atomically(tmp_path / "file", ["content"], durable=durable)
    assert flushed == ([len("content")] if durable else [])


@pytest.mark.parametrize(
    ("folder", "mode"), [(0o755, 0o600), (0o700, 0o600), (0o2770, 0o660), (0o777, 0o666), (0o775, 0o660)]
)
def test_only_writers_of_the_folder_can_lock(tmp_path: Path, folder: int, mode: int) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder").chmod(folder)
    path = tmp_path / "folder" / "lock"
    for _time in range(2):
        open_lock(path).close()
        assert path.stat().st_mode & 0o777 == mode
        path.chmod(0o644)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file"):
        open_lock(path)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, ["old"])

    def chunks() -> Iterator[str]:
        yield "new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, chunks())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_old_unfinished_files_are_removed(tmp_path: Path) -> None:
    names = [f".{'0a' * 8}.tmp", f".{'0b' * 8}.tmp", ".hidden.tmp", f"{'0c' * 8}.tmp", f".{'0d' * 8}.tmp"]
    for name in names[:4]:
        (tmp_path / name).touch()
    (tmp_path / names[4]).mkdir()
    day = 86_400
    for name in (names[0], *names[2:]):
        os.utime(tmp_path / name, (NOON - day - 1,) * 2)
    os.utime(tmp_path / names[1], (NOON - day + 1,) * 2)
    remove_unfinished(tmp_path, NOON)
    assert {path.name for path in tmp_path.iterdir()} == set(names[1:])
    remove_unfinished(tmp_path / "missing", NOON)


def test_a_write_replaces_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("untouched")
    link.symlink_to(target)
    write_atomically(link, ["new"])
    assert target.read_text() == "untouched"
    assert (link.is_symlink(), link.read_text()) == (False, "new")


def test_content_may_differ_in_one_chunk(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert not has_content(path, [])
    path.write_text("one\ntwo\nthree\n")
    assert has_content(path, ["one\n", "two\n", "three\n"])
    assert has_content(path, ["one\n", "2wo\n", "three\n"], ignore=1)
    assert not has_content(path, ["one\n", "2wo\n", "three\n"])
    assert not has_content(path, ["one\n", "2wo\n", "3hree\n"], ignore=1)
    assert not has_content(path, ["one\n", "two\n"])
    assert not has_content(path, ["one\n", "two\n", "three\n", "four\n"])
    path.write_text("")
    assert not has_content(path, ["one\n"])
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file"):
        has_content(path, ["one\n"])


def test_a_file_for_writing_is_empty_and_private(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"longer", b"new"):
        with open_for_writing(path) as file:
            file.write(content)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o600)


def test_links_and_pipes_are_not_opened_for_writing(tmp_path: Path) -> None:
    target, link, pipe = tmp_path / "target", tmp_path / "link", tmp_path / "pipe"
    target.write_text("untouched")
    link.symlink_to(target)
    os.mkfifo(pipe)
    for path in (link, pipe):
        with pytest.raises(OSError, match="not a regular file"):
            open_for_writing(path)
    assert target.read_text() == "untouched"


def test_a_lock_is_awaited_for_a_limited_time(tmp_path: Path) -> None:
    pauses: list[float] = []
    with (tmp_path / "lock").open("w") as first, (tmp_path / "lock").open("w") as second:
        assert lock_within(first.fileno(), 0)
        assert not lock_within(second.fileno(), 1.0, sleep=pauses.append, clock=lambda: sum(pauses))
        assert 0.9 < sum(pauses) < 1.2

        def release(_seconds: float) -> None:
            fcntl.flock(first, fcntl.LOCK_UN)

        assert lock_within(second.fileno(), 1.0, sleep=release, clock=lambda: 0.0)


def test_a_user_is_expanded_or_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    assert expand_user("~/records") == Path("/home/anna/records")
    assert expand_user("~no-such-user/records") == Path("~no-such-user/records")


def test_an_own_folder_is_private(tmp_path: Path) -> None:
    make_own_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    (tmp_path / "a" / "b").chmod(0o720)
    with pytest.raises(UnsafeFolderError, match="another user could replace its files"):
        make_own_folder(tmp_path / "a" / "b")


def test_a_folder_of_this_user_is_opened(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(FileNotFoundError):
        open_owned(tmp_path / "link" / "below", None)
    descriptor = open_owned(tmp_path / "target" / "below", 0o750)
    os.close(descriptor)
    assert (tmp_path / "target" / "below").stat().st_mode & 0o777 == 0o750
    os.close(open_owned(tmp_path / "link" / "below", None))
    tmp_path.chmod(0o777)
    with pytest.raises(UnsafeFolderError, match="its group or others may write to it"):
        open_owned(tmp_path / "target", None)
