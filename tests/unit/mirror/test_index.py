# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the index of a mirror."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.folder import open_folder
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.index import (
    Index,
    MirrorIndexError,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.index import read_index as read_index_of
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.index import write_index as write_index_of
from tests.samples.mirror import NOW, index_of, listed, mirrored, name_of


def read_index(path: Path) -> Index:
    with open_folder(path) as folder:
        return read_index_of(folder)


def write_index(path: Path, index: Index) -> None:
    with open_folder(path) as folder:
        write_index_of(folder, index)


def test_an_index_is_reproducible(tmp_path: Path) -> None:
    one, other = mirrored("65.1"), mirrored("66.1")
    assert index_of(one, other).text() == index_of(other, one).text()
    write_index(tmp_path, index_of(other, one))
    assert read_index(tmp_path) == index_of(one, other)
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]


@pytest.mark.parametrize(
    "change",
    [
        {"filename": "../../etc/passwd"},
        {"filename": name_of("99.1")},
        {"sha256": "0"},
        {"size": "1"},
        {"fetched_at": "yesterday"},
        {"fetched_at": "2031-01-01T00:00:00"},
        {"fetched_at": 7},
        {"another": 1},
    ],
)
def test_a_modified_index_is_refused(tmp_path: Path, change: dict[str, t.Any]) -> None:
    document = json.loads(index_of(mirrored("65.1")).text())
    document["patches"][0].update(change)
    (tmp_path / "index.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(MirrorIndexError, match=r"cannot use the index .*index\.json"):
        read_index(tmp_path)


def test_no_index_is_an_empty_index(tmp_path: Path) -> None:
    assert read_index(tmp_path) == Index({})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot use the index"),
        ("[" * 100_000, "cannot use the index"),
        ("[]", "it is not the index of a mirror"),
        ('{"schema": "kernelops.livepatch/record/1"}', "it is not the index of a mirror"),
        ('{"schema": "kernelops.livepatch/mirror/2"}', "which this version does not support"),
        ('{"schema": "kernelops.livepatch/mirror/1"}', "an entry is not valid: 'patches'"),
    ],
)
def test_another_file_is_not_an_index(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "index.json").write_text(text, encoding="utf-8")
    with pytest.raises(MirrorIndexError) as caught:
        read_index(tmp_path)
    assert caught.value.id == "bad_index"
    assert message in str(caught.value)


def test_archives_that_are_removed_are_remembered(tmp_path: Path) -> None:
    index = Index(index_of(mirrored("65.1")).patches, leaving=(name_of("64.1"), "../escape"))
    write_index(tmp_path, index)
    assert read_index(tmp_path).leaving == (name_of("64.1"),)


def test_an_entry_names_a_patch_and_a_time() -> None:
    patch = mirrored("65.1")
    assert patch.listed == listed("65.1")
    assert patch.fetched_time == NOW
    assert index_of(patch).lines() == f"{patch.filename} {patch.sha256}\n"
