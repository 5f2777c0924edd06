# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Documents in folders and archives. The tests of notices have the damaged and hostile ones."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.documents import (
    DocumentError,
    read_documents,
)

FILES = {"a/one.json": b"1", "a/b/two.JSON": b"2", "com.ubuntu.xenial.pkg.json": b"3", "README.md": b"4"}


def in_folder(path: Path) -> Path:
    for name, content in FILES.items():
        (path / "all" / name).parent.mkdir(parents=True, exist_ok=True)
        (path / "all" / name).write_bytes(content)
    return path / "all"


def in_tar(path: Path) -> Path:
    with tarfile.open(path / "all.tar", "w") as archive:
        for name, content in FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path / "all.tar"


def in_zip(path: Path) -> Path:
    with zipfile.ZipFile(path / "all.zip", "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    return path / "all.zip"


@pytest.mark.parametrize("pack", [in_folder, in_tar, in_zip])
def test_documents_are_read_without_package_data(tmp_path: Path, pack: Callable[[Path], Path]) -> None:
    assert dict(read_documents(pack(tmp_path))) == {"a/one.json": b"1", "a/b/two.JSON": b"2"}


def test_one_file_is_one_document(tmp_path: Path) -> None:
    (tmp_path / "any.name").write_bytes(b"{}")
    assert list(read_documents(tmp_path / "any.name")) == [("any.name", b"{}")]


def test_a_tar_that_is_cut_off_is_damaged(tmp_path: Path) -> None:
    path = in_tar(tmp_path)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DocumentError, match="ends too early"):
        list(read_documents(path))


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        list(read_documents(tmp_path / "missing"))
