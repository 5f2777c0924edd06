# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Vulnerability data in folders, files and at URLs, and its compiled form in the cache."""

from __future__ import annotations

import bz2
import datetime
import gzip
import io
import json
import lzma
import tarfile
import threading
import typing as t
import zipfile
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.download import (
    Downloader,
    DownloadOptions,
    ServerError,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities import data_files
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.data_files import (
    DataFiles,
    VulnerabilityData,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.offline.manifest import (
    MANIFEST,
    DataFile,
    file_digest,
    manifest_text,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.package_data import Advice
from tests.samples.notices import notice
from tests.samples.vulnerabilities import osv_cve, osv_row, package, raw_notice, release_data

NOW = datetime.datetime(2031, 6, 2, tzinfo=datetime.timezone.utc)
XENIAL = {("16.04", "")}
NAME = "com.ubuntu.xenial.pkg.json"
DATA = json.dumps(release_data({"linux": package({"CVE-2031-1001": "4.4.0-200.232"}, "4.4.0-168.197")})).encode()
DOCUMENTS = {
    "osv/cve/2031/UBUNTU-CVE-2031-1001.json": osv_cve(
        "CVE-2031-1001",
        osv_row("Ubuntu:Pro:16.04:LTS", "linux", "4.4.0-200.232", "4.4.0-168.197"),
        osv_row("Ubuntu:24.04:LTS", "linux", None, "6.8.0-31.31"),
    ),
    "osv/cve/2031/UBUNTU-CVE-2031-1002.json": osv_cve(
        "CVE-2031-1002", osv_row("Ubuntu:24.04:LTS", "linux", "6.8.0-50.51", "6.8.0-31.31")
    ),
    "osv/cve/2031/UBUNTU-CVE-2031-1003.json": osv_cve("CVE-2031-1003", osv_row("Ubuntu:24.04:LTS", "bash", "1-1")),
    "osv/cve/2031/broken.json": osv_cve("CVE-2031-1004", osv_row("Ubuntu:24.04:LTS", "linux", "no version")),
    "osv/lsn/LSN-0101-1.json": notice("0101-1"),
    "lsn/LSN-120-1.json": raw_notice("120-1", {}),
}


class Web(Downloader):
    """A server with files by name, which have an ETag each."""

    def __init__(self, **files: bytes) -> None:
        super().__init__(DownloadOptions())
        self.files = files
        self.asked: list[str] = []

    def download_if_changed(self, url: str, path: Path, limit: int, etag: str | None) -> tuple[bool, str | None]:
        name = url.rpartition("/")[2]
        self.asked.append(name)
        if name not in self.files or len(self.files[name]) > limit:
            raise ServerError(f"cannot download {url}: the server answered 404")
        current = f'"{len(self.files[name])}"'
        if current == etag:
            return False, etag
        path.write_bytes(self.files[name])
        return True, current


def opened(
    tmp_path: Path, *places: Path | str, releases: set[tuple[str, str]] | None = None, web: Web | None = None
) -> VulnerabilityData:
    files = DataFiles(tmp_path / "cache", web or Web(), NOW)
    return files.open([str(place) for place in places], XENIAL if releases is None else releases)


def folder(path: Path, **more: bytes) -> Path:
    for name, document in {**{name: json.dumps(each).encode() for name, each in DOCUMENTS.items()}, **more}.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(document)
    return path


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("", bytes), (".xz", lzma.compress), (".bz2", bz2.compress), (".gz", gzip.compress)],
)
def test_the_data_of_a_release_is_read(tmp_path: Path, suffix: str, pack: t.Callable[[bytes], bytes]) -> None:
    (tmp_path / f"{NAME}{suffix}").write_bytes(pack(DATA))
    found = opened(tmp_path, tmp_path / f"{NAME}{suffix}")
    (packages,) = found.indexes[0].packages
    assert (packages.release, packages.realm, packages.published) == ("16.04", "", "2031-06-01")
    assert packages.advice("linux", "CVE-2031-1001") == Advice("fixed", "4.4.0-200.232")
    assert found.sources[0] == {
        "name": f"{NAME}{suffix}",
        "sha256": found.sources[0]["sha256"],
        "releases": ["16.04"],
        "published": "2031-06-01",
        "cves": 1,
        "notices": 0,
        "newest_notice": None,
        "checked_at": None,
    }


def in_zip(path: Path) -> Path:
    with zipfile.ZipFile(path / "all.zip", "w") as archive:
        for name, document in DOCUMENTS.items():
            archive.writestr(name, json.dumps(document))
    return path / "all.zip"


def in_tar(path: Path, packing: str = "") -> Path:
    with tarfile.open(path / "all.tar", f"w:{packing}") as archive:  # type: ignore[call-overload]  # any packing
        for name, document in DOCUMENTS.items():
            content = json.dumps(document).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path / "all.tar"


@pytest.mark.parametrize("pack", [lambda path: folder(path / "all"), in_zip, in_tar, lambda path: in_tar(path, "xz")])
def test_osv_documents_cover_all_releases(tmp_path: Path, pack: t.Callable[[Path], Path]) -> None:
    (index,) = opened(tmp_path, pack(tmp_path)).indexes
    by_release = {packages.release: packages for packages in index.packages}
    assert by_release["16.04"].cves == by_release["24.04"].cves == ["CVE-2031-1001", "CVE-2031-1002"]
    assert by_release["16.04"].advice("linux", "CVE-2031-1002") is None
    assert by_release["24.04"].advice("linux", "CVE-2031-1001") == Advice("vulnerable")
    assert [each.id for each in index.notices.notices] == ["LSN-120-1", "LSN-0101-1"]
    assert [each.name.rpartition("/")[2] for each in index.notices.unreadable] == ["broken.json"]


def test_a_folder_can_have_everything(tmp_path: Path) -> None:
    path = folder(tmp_path / "data", **{f"oval/{NAME}": DATA, "oval/com.ubuntu.fips_xenial.pkg.json": DATA})
    found = opened(tmp_path, path)
    assert [each["name"] for each in found.sources] == [NAME, "data"]
    both = opened(tmp_path, path, releases={("16.04", ""), ("16.04", "fips")})
    assert [[each.realm for each in index.packages] for index in both.indexes] == [["fips"], [""], ["", ""]]


def test_data_of_other_releases_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "com.ubuntu.noble.pkg.json").write_bytes(b"damaged")
    assert opened(tmp_path, tmp_path / "data").indexes == []


def test_data_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder(tmp_path / "data", **{NAME: DATA})
    first = opened(tmp_path, path)
    monkeypatch.setattr(data_files, "_compile", lambda _name, _path: pytest.fail("it is compiled again"))
    assert opened(tmp_path, path) == first


def test_changed_data_is_compiled_again(tmp_path: Path) -> None:
    path = folder(tmp_path / "data", **{NAME: DATA})
    opened(tmp_path, path)
    (path / NAME).write_bytes(DATA.replace(b"4.4.0-200.232", b"4.4.0-201.233"))
    changed = opened(tmp_path, path).indexes[0].packages[0]
    assert changed.advice("linux", "CVE-2031-1001") == Advice("fixed", "4.4.0-201.233")


def test_the_cache_does_not_grow_without_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_files, "_KEPT_INDEXES", 2)
    for number in range(5):
        path = tmp_path / NAME
        path.write_bytes(DATA.replace(b"4.4.0-200.232", f"4.4.0-20{number}.233".encode()))
        opened(tmp_path, path)
    assert len(list((tmp_path / "cache").iterdir())) == 2
    monkeypatch.setattr(data_files, "_compile", lambda _name, _path: pytest.fail("the newest was removed"))
    opened(tmp_path, path)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 100_000])
def test_a_damaged_cache_is_replaced(tmp_path: Path, content: bytes) -> None:
    path = folder(tmp_path / "data")
    first = opened(tmp_path, path)
    (stored,) = (tmp_path / "cache").iterdir()
    stored.write_bytes(content)
    assert opened(tmp_path, path) == first
    assert stored.read_bytes() != content


def test_the_cache_is_for_its_owner_only(tmp_path: Path) -> None:
    opened(tmp_path, folder(tmp_path / "data"))
    (stored,) = (tmp_path / "cache").iterdir()
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
    assert stored.stat().st_mode & 0o777 == 0o600


def test_two_runs_compile_at_the_same_time(tmp_path: Path) -> None:
    path = folder(tmp_path / "data", **{NAME: DATA})
    found: list[VulnerabilityData] = []
    threads = [threading.Thread(target=lambda: found.append(opened(tmp_path, path))) for _run in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(each == found[0] for each in found)
    assert len(found) == 4
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_url_is_downloaded_once(tmp_path: Path) -> None:
    web = Web(**{f"{NAME}.xz": lzma.compress(DATA)})
    url = f"https://data.example.com/oval/{NAME}.xz"
    first, second = (opened(tmp_path, url, web=web) for _run in range(2))
    assert (first.downloaded, second.downloaded) == (True, False)
    assert first.indexes == second.indexes
    assert first.sources[0]["name"] == f"{NAME}.xz"


def test_the_releases_of_the_hosts_are_downloaded(tmp_path: Path) -> None:
    packed = lzma.compress(DATA)
    names = ["xenial", "noble", "fips_noble", "fips-updates_noble"]
    web = Web(**{f"com.ubuntu.{name}.pkg.json.xz": packed for name in names})
    releases = {("16.04", ""), ("24.04", "fips"), ("16.10", "")}
    found = opened(tmp_path, "https://data.example.com/oval/", releases=releases, web=web)
    assert web.asked == [f"com.ubuntu.{name}.pkg.json.xz" for name in ("xenial", "fips-updates_noble", "fips_noble")]
    assert [each.packages[0].realm for each in found.indexes] == ["", "fips", "fips"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (NAME, b"{}"),
        (NAME, DATA[:-40]),
        (f"{NAME}.xz", lzma.compress(DATA)[:-40]),
        (f"{NAME}.xz", b"\xfd7zXZ\0 damaged"),
        ("all.zip", b"PK\3\4 damaged"),
        ("index.html", b"<!DOCTYPE html>"),
        ("UBUNTU-CVE-2031-1003.json", json.dumps(DOCUMENTS["osv/cve/2031/UBUNTU-CVE-2031-1003.json"]).encode()),
    ],
)
def test_damaged_data_is_an_error(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LivepatchError, match="cannot be used") as caught:
        opened(tmp_path, tmp_path / name)
    assert caught.value.id == "vulnerability_data_unusable"
    assert not (tmp_path / "cache").exists()


def test_names_can_have_any_suffix(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.2031-06-01.copy").write_bytes(gzip.compress(DATA))
    assert opened(tmp_path, tmp_path / f"{NAME}.2031-06-01.copy").indexes[0].packages[0].release == "16.04"


def test_data_without_kernels_has_no_source(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(json.dumps(release_data({"bash": package({"CVE-2031-1001": None})})).encode())
    (packages,) = opened(tmp_path, tmp_path / NAME).indexes[0].packages
    assert (packages.sources, packages.cves) == ({}, [])


def test_a_folder_without_data_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(LivepatchError, match="neither data of a release nor OSV documents"):
        opened(tmp_path, tmp_path / "empty")


def test_a_release_file_is_limited_in_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_files, "_RELEASE_DATA_LIMIT", len(DATA) - 1)
    (tmp_path / f"{NAME}.xz").write_bytes(lzma.compress(DATA))
    with pytest.raises(LivepatchError, match="unpacks to more than"):
        opened(tmp_path, tmp_path / f"{NAME}.xz")


def test_archives_in_a_folder_are_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / f"{NAME}.xz").write_bytes(lzma.compress(DATA))
    with tarfile.open(tmp_path / "data" / "osv-all.tar.xz", "w:xz") as archive:
        entry = tarfile.TarInfo("osv/lsn/LSN-0101-1.json")
        content = json.dumps(notice("0101-1")).encode()
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    found = opened(tmp_path, tmp_path / "data")
    assert [(each["name"], each["notices"]) for each in found.sources] == [(f"{NAME}.xz", 0), ("osv-all.tar.xz", 1)]


def test_a_folder_with_a_manifest_shows_when_it_was_current(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / NAME
    path.write_bytes(DATA)
    entry = DataFile("https://x.test/", *file_digest(path), "2031-06-01T12:00:00Z")
    (tmp_path / "data" / MANIFEST).write_text(manifest_text({NAME: entry}))
    assert opened(tmp_path, tmp_path / "data").sources[0]["checked_at"] == "2031-06-01T12:00:00Z"
    path.write_bytes(DATA + b" ")
    with pytest.raises(LivepatchError, match=f"{NAME} is not the file of the manifest"):
        opened(tmp_path, tmp_path / "data")


def test_downloaded_data_is_current(tmp_path: Path) -> None:
    web = Web(**{f"{NAME}.xz": lzma.compress(DATA)})
    sources = opened(tmp_path, "https://x.test/oval/", web=web).sources
    assert [each["checked_at"] for each in sources] == ["2031-06-02T00:00:00Z"]


def test_a_cache_that_others_can_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(DATA)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o1777)
    with pytest.raises(LivepatchError) as caught:
        opened(tmp_path, tmp_path / NAME)
    assert caught.value.id == "unsafe_folder"
    assert list((tmp_path / "cache").iterdir()) == []
