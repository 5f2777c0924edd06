# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The manifest of a folder of vulnerability data: damaged copies are found."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.offline.manifest import (
    MANIFEST,
    DataFile,
    manifest_text,
    oldest_check,
    read_manifest,
    verify_files,
)

CONTENT = b"data"
ENTRY = DataFile("https://x.test/a", hashlib.sha256(CONTENT).hexdigest(), 4, "2026-01-10T06:00:00Z", '"1"')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.xz").write_bytes(CONTENT)
    (tmp_path / MANIFEST).write_text(manifest_text({"a.xz": ENTRY}))
    return tmp_path


def test_a_manifest_is_read_as_it_was_written(folder: Path) -> None:
    files = read_manifest(folder)
    assert files == {"a.xz": ENTRY}
    verify_files(folder, files)


def test_a_folder_without_a_manifest_has_none(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None


@pytest.mark.parametrize("content", [b"DATA", b"data2", None])
def test_a_damaged_copy_is_an_error(folder: Path, content: bytes | None) -> None:
    if content is None:
        (folder / "a.xz").unlink()
    else:
        (folder / "a.xz").write_bytes(content)
    with pytest.raises(LivepatchError, match=r"a\.xz") as caught:
        verify_files(folder, {"a.xz": ENTRY})
    assert caught.value.id == "vulnerability_data_unusable"


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "x"},
        {"size": "4"},
        {"checked_at": "yesterday"},
        {"url": None},
        {"etag": 7},
        {"more": 1},
    ],
)
def test_an_invalid_entry_is_an_error(folder: Path, change: dict[str, t.Any]) -> None:
    document = json.loads((folder / MANIFEST).read_text())
    document["files"]["a.xz"].update(change)
    (folder / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(LivepatchError, match=MANIFEST):
        read_manifest(folder)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", "[" * 100_000, '{"schema": "another/9", "files": {}}', '{"files": 7}'],
)
def test_an_unusable_manifest_is_an_error(folder: Path, content: str) -> None:
    (folder / MANIFEST).write_text(content)
    with pytest.raises(LivepatchError, match=MANIFEST):
        read_manifest(folder)


def test_no_file_outside_the_folder_is_named(folder: Path) -> None:
    (folder / MANIFEST).write_text(manifest_text({"../a.xz": ENTRY}))
    with pytest.raises(LivepatchError, match="not valid"):
        read_manifest(folder)


def test_the_oldest_check_counts() -> None:
    newer = dataclasses.replace(ENTRY, checked_at="2026-01-11T06:00:00Z")
    assert oldest_check([newer, ENTRY]) == datetime.datetime(2026, 1, 10, 6, tzinfo=datetime.timezone.utc)
    assert oldest_check([]) is None
