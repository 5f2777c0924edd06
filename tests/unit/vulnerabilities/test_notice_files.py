# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of reading notices from folders, files and archives."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import typing as t
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities import documents, notice_files
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notices import NoticeError
from tests.samples.notices import affected, notice

DOCUMENTS = {
    "osv/lsn/LSN-0100-1.json": notice("0100-1", published="2031-01-01T00:00:00Z"),
    "osv/lsn/LSN-101-1.json": notice("0101-1"),
    "osv/usn/USN-1-1.json": {"id": "USN-1-1", "affected": []},
}
EXTRA = {"README.md": b"no JSON", "osv/broken.JSON": b'{"id": "LSN-0102-1"', "osv/deep.json": b'"LSN-' + b"[" * 100_000}
FILES = {**{name: json.dumps(document).encode() for name, document in DOCUMENTS.items()}, **EXTRA}


def in_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / "all" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "all" / name).write_bytes(content)
    return folder / "all"


def in_tar(folder: Path, files: dict[str, bytes], packing: str) -> Path:
    path = folder / f"all.tar.{packing}"
    with tarfile.open(path, f"w:{packing}") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def in_zip(folder: Path, files: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> Path:
    path = folder / "all.zip"
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    "pack",
    [in_folder, in_zip]
    + [lambda folder, files, packing=packing: in_tar(folder, files, packing) for packing in ("bz2", "gz", "xz")],
    ids=["folder", "zip", "bz2", "gz", "xz"],
)
def test_notices_are_found_by_their_content(tmp_path: Path, pack: t.Callable[[Path, dict[str, bytes]], Path]) -> None:
    found = notice_files.read_notices(pack(tmp_path, FILES))
    assert [one.id for one in found.notices] == ["LSN-0100-1", "LSN-0101-1"]
    assert {(one.name, one.reason.partition(":")[0]) for one in found.unreadable} == {
        ("osv/broken.JSON", "this is not JSON"),
        ("osv/deep.json", "this is not JSON"),
    }


def test_a_file_may_contain_several_notices(tmp_path: Path) -> None:
    path = tmp_path / "notices"
    path.write_text(json.dumps(notice()), encoding="utf-8")
    assert [one.id for one in notice_files.read_notices(path).notices] == ["LSN-0101-1"]
    path.write_text(json.dumps([notice(), notice("0102-1", affected(regex="("), affected())]), encoding="utf-8")
    found = notice_files.read_notices(path)
    assert [one.id for one in found.notices] == ["LSN-0101-1", "LSN-0102-1"]
    assert [one.name for one in found.unreadable] == ["notices, LSN-0102-1"]


def test_an_unusable_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        notice_files.read_notices(tmp_path / "missing")
    whole = in_tar(tmp_path, FILES, "gz").read_bytes()
    for content in (
        whole[:-20],
        whole[:40] + bytes(8) + whole[48:],
        in_zip(tmp_path, FILES).read_bytes()[:-30],
        b"PK\3\4",
    ):
        (tmp_path / "cut").write_bytes(content)
        with pytest.raises(NoticeError, match=r"archive|compressed"):
            notice_files.read_notices(tmp_path / "cut")


def test_links_and_outside_paths_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "links.tar.gz", "w:gz") as archive:
        link = tarfile.TarInfo("LSN-0101-1.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    for path in (tmp_path / "links.tar.gz", in_tar(tmp_path, {"../x.json": b"{}"}, "gz")):
        with pytest.raises(NoticeError, match=r"neither a regular file|not a plain path"):
            notice_files.read_notices(path)


@pytest.mark.parametrize("zip64", [False, True])
def test_a_zip_with_huge_directory_is_refused(tmp_path: Path, zip64: bool) -> None:
    size = 1 << 30
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 0xFFFFFFFF if zip64 else size, 0, 0)
    if zip64:
        record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, size, 0)
        end = record + struct.pack("<4sLQL", b"PK\6\7", 0, size, 1) + end
    with (tmp_path / "all.zip").open("wb") as file:
        file.write(b"PK\3\4")
        file.seek(size)
        file.write(end)
    with pytest.raises(NoticeError, match="a directory of 1024 MiB"):
        notice_files.read_notices(tmp_path / "all.zip")


def test_a_zip_with_too_many_entries_is_refused(tmp_path: Path) -> None:
    """All its entries fit into the limit of the directory."""
    entry, count = struct.pack("<4s42x", b"PK\1\2"), 1_290_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(entry) * count, 4, 0)
    (tmp_path / "all.zip").write_bytes(b"PK\3\4" + entry * count + end)
    with pytest.raises(NoticeError, match="more than 300000 entries"):
        notice_files.read_notices(tmp_path / "all.zip")


def test_a_zip_with_another_compression_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoticeError, match="compression method that is not supported"):
        notice_files.read_notices(in_zip(tmp_path, FILES, zipfile.ZIP_LZMA))


def test_a_huge_document_is_skipped(tmp_path: Path) -> None:
    huge = b" " * (documents.DOCUMENT_LIMIT + 1)
    for path in (in_zip(tmp_path, {**FILES, "huge.json": huge}), in_tar(tmp_path, {**FILES, "huge.json": huge}, "gz")):
        assert len(notice_files.read_notices(path).notices) == 2


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, bytes]:
    folder = tmp_path_factory.mktemp("fuzz")
    return {path: path.read_bytes() for path in (in_zip(folder, FILES), in_tar(folder, FILES, "gz"))}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_archive_crashes_the_reader(archives: dict[Path, bytes], data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(archives)))
    content = bytearray(archives[path])
    for _change in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + 4] = data.draw(st.binary(max_size=4))
    path.write_bytes(content)
    try:
        found = notice_files.read_notices(path)
    except NoticeError as error:
        assert str(error)
    else:
        assert {one.id for one in found.notices} <= {"LSN-0100-1", "LSN-0101-1"}
