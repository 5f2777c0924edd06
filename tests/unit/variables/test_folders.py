# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Folders and files of a run on the controller: writable, readable, with room."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._variables import folders


def set_disk(monkeypatch: pytest.MonkeyPatch, **values: int) -> None:
    disk = {"f_blocks": 100, "f_bavail": 10**6, "f_frsize": 4096, "f_files": 10, "f_favail": 10}
    monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(**{**disk, **values}))


def test_a_folder_that_can_be_created_is_usable(tmp_path: Path) -> None:
    assert folders.unwritable(tmp_path / "new" / "deep", 10) is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert folders.unwritable(tmp_path / "file" / "below", 1) == f"{tmp_path / 'file'} is not a folder"


def test_a_folder_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert folders.unwritable(tmp_path, 1) == f"{tmp_path} is not writable for the user who runs Ansible"


@pytest.mark.parametrize(
    ("disk", "hosts", "text"),
    [
        ({"f_bavail": 10}, 0, "has 40 KiB left, of 1024 needed"),
        ({"f_bavail": 1000}, 1000, "has 4000 KiB left, of 17024 needed"),
        ({"f_favail": 0}, 0, "has no inodes left"),
        ({"f_blocks": 0, "f_bavail": 0}, 0, None),
        ({"f_files": 0, "f_favail": 0}, 0, None),
    ],
)
def test_a_full_disk_is_found(
    disk: dict[str, int], hosts: int, text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_disk(monkeypatch, **disk)
    found = folders.unwritable(tmp_path, hosts)
    assert found is None if text is None else found is not None and text in found


def test_a_file_to_write_is_checked(tmp_path: Path) -> None:
    assert folders.unwritable_file(tmp_path / "new" / "h.sqlite") is None
    assert folders.unwritable_file(tmp_path) == f"{tmp_path} is a folder, not a file"


def test_a_file_to_read_is_checked(tmp_path: Path) -> None:
    (tmp_path / "tasks.yml").touch()
    assert folders.unreadable_file(tmp_path / "tasks.yml") is None
    assert folders.unreadable_file(tmp_path / "none.yml") == f"{tmp_path / 'none.yml'} is not a file on the controller"


def test_a_name_that_is_too_long_is_a_reason(tmp_path: Path) -> None:
    for check in (folders.unwritable_file, lambda path: folders.unwritable(path, 1)):
        found = check(tmp_path / ("x" * 300))
        assert found is not None
        assert found.endswith("cannot be used: File name too long")
