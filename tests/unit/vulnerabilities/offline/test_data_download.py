# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Downloads of vulnerability data into a folder, from a server on this machine."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
import threading
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._io import lock_within, open_lock
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.download import (
    Downloader,
    DownloadOptions,
    ServerError,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.offline import data_download
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.offline.data_download import (
    DataDownload,
    data_urls,
    download_data,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.offline.manifest import (
    MANIFEST,
    read_manifest,
    verify_files,
)
from tests.lab.livepatch_server import Server, State
from tests.lab.livepatch_server.faults import write_faults

XENIAL, NOTICES = "com.ubuntu.xenial.pkg.json.xz", "osv-all.tar.xz"
CONTENT = bytes(range(256)) * 1024
MONDAY = datetime.datetime(2026, 1, 12, 6, tzinfo=datetime.timezone.utc)
TUESDAY = MONDAY + datetime.timedelta(days=1)


class Site:
    """A server with package data and notices."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://localhost:{listener.getsockname()[1]}/files/"
        server = Server(listener, None, folder)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        stack.callback(server.shutdown)
        self.put(XENIAL, CONTENT)
        self.put(NOTICES, b"notices")

    def put(self, name: str, content: bytes) -> None:
        State(self.folder).put_file(name, content)

    def fail(self, **fault: t.Any) -> None:
        write_faults(self.folder, [fault] if fault else [])

    def download(self, folder: Path, now: datetime.datetime = MONDAY, *, check_mode: bool = False) -> DataDownload:
        urls = data_urls(["xenial"], self.url, f"{self.url}{NOTICES}", fips=False)
        downloader = Downloader(DownloadOptions(retries=0))
        return download_data(folder, urls, downloader, now, check_mode=check_mode)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        (tmp_path / "server").mkdir()
        yield Site(tmp_path / "server", stack)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in (".lock", MANIFEST)}


def test_all_files_and_a_manifest_are_there(site: Site, tmp_path: Path) -> None:
    found = site.download(tmp_path / "data")
    assert found.changed == [XENIAL, NOTICES]
    assert contents(tmp_path / "data") == {XENIAL: CONTENT, NOTICES: b"notices"}
    files = read_manifest(tmp_path / "data")
    assert files == found.files
    verify_files(tmp_path / "data", files)
    assert {each.checked_at for each in files.values()} == {"2026-01-12T06:00:00Z"}
    assert (tmp_path / "data" / XENIAL).stat().st_mode & 0o777 == 0o644


def test_only_changed_files_are_downloaded_again(site: Site, tmp_path: Path) -> None:
    site.download(tmp_path / "data")
    site.put(NOTICES, b"newer notices")
    found = site.download(tmp_path / "data", TUESDAY)
    assert found.changed == [NOTICES]
    assert contents(tmp_path / "data")[NOTICES] == b"newer notices"
    assert {each.checked_at for each in found.files.values()} == {"2026-01-13T06:00:00Z"}


def test_a_damaged_file_is_downloaded_again(site: Site, tmp_path: Path) -> None:
    site.download(tmp_path / "data")
    (tmp_path / "data" / XENIAL).write_bytes(b"damaged")
    assert site.download(tmp_path / "data").changed == [XENIAL]
    assert contents(tmp_path / "data")[XENIAL] == CONTENT


def test_an_interrupted_download_is_continued(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    site.fail(cut=50_000)
    with pytest.raises(ServerError):
        site.download(folder)
    assert not (folder / XENIAL).exists()
    received = (folder / f".{XENIAL}.part").stat().st_size
    assert 0 < received <= 50_000
    site.fail()
    assert site.download(folder).changed == [XENIAL, NOTICES]
    assert contents(folder) == {XENIAL: CONTENT, NOTICES: b"notices"}
    requests = [json.loads(line) for line in (site.folder / "requests.jsonl").read_text().splitlines()]
    assert f"bytes={received}-" in [each.get("range") for each in requests]


def test_a_part_of_an_older_file_is_not_continued(site: Site, tmp_path: Path) -> None:
    site.fail(cut=50_000)
    with pytest.raises(ServerError):
        site.download(tmp_path / "data")
    site.fail()
    site.put(XENIAL, CONTENT[::-1])
    site.download(tmp_path / "data")
    assert contents(tmp_path / "data")[XENIAL] == CONTENT[::-1]


def test_a_failed_update_leaves_the_old_data(site: Site, tmp_path: Path) -> None:
    before = site.download(tmp_path / "data")
    site.put(XENIAL, b"newer data")
    site.fail(status=503)
    with pytest.raises(ServerError):
        site.download(tmp_path / "data", TUESDAY)
    assert contents(tmp_path / "data")[XENIAL] == CONTENT
    assert read_manifest(tmp_path / "data") == before.files


def test_check_mode_only_asks(site: Site, tmp_path: Path) -> None:
    assert site.download(tmp_path / "data", check_mode=True).changed == [XENIAL, NOTICES]
    assert not (tmp_path / "data").exists()
    site.download(tmp_path / "data")
    assert site.download(tmp_path / "data", TUESDAY, check_mode=True).changed == []


def test_files_of_other_releases_stay(site: Site, tmp_path: Path) -> None:
    site.put("com.ubuntu.noble.pkg.json.xz", b"noble")
    urls = data_urls(["24.04"], site.url, None, fips=False)
    download_data(tmp_path / "data", urls, Downloader(DownloadOptions()), MONDAY, check_mode=False)
    found = site.download(tmp_path / "data")
    assert sorted(found.files) == ["com.ubuntu.noble.pkg.json.xz", XENIAL, NOTICES]


def test_a_large_file_is_refused(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_download, "FILE_LIMIT", 1000)
    with pytest.raises(ServerError, match="larger than 1000 bytes"):
        site.download(tmp_path / "data")


def test_two_runs_do_not_mix(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_download, "_LOCK_SECONDS", 0)
    (tmp_path / "data").mkdir()
    with open_lock(tmp_path / "data" / ".lock") as lock:
        assert lock_within(lock.fileno(), 0)
        with pytest.raises(LivepatchError) as caught:
            site.download(tmp_path / "data")
    assert caught.value.id == "data_folder_locked"


def test_credentials_are_not_stored(site: Site, tmp_path: Path) -> None:
    url = site.url.replace("http://", "http://user:secret@")
    urls = data_urls(["16.04"], url, None, fips=False)
    for _run in range(2):
        found = download_data(tmp_path / "data", urls, Downloader(DownloadOptions()), MONDAY, check_mode=False)
    assert found.changed == []
    assert "secret" not in (tmp_path / "data" / MANIFEST).read_text()


def test_releases_are_numbers_or_codenames() -> None:
    urls = data_urls(["24.04", "noble", "xenial"], "https://x.test/oval", "https://x.test/osv.tar.xz?a=b", fips=True)
    assert list(urls) == [
        f"com.ubuntu.{realm}{codename}.pkg.json.xz"
        for codename in ("noble", "xenial")
        for realm in ("", "fips_", "fips-updates_")
    ] + ["osv.tar.xz"]
    assert urls["com.ubuntu.noble.pkg.json.xz"] == "https://x.test/oval/com.ubuntu.noble.pkg.json.xz"


@pytest.mark.parametrize("release", ["24.10", "nobel", "", "../x"])
def test_an_unknown_release_is_an_error(release: str) -> None:
    with pytest.raises(LivepatchError, match="not a long-term release") as caught:
        data_urls([release], "https://x.test/", None, fips=False)
    assert caught.value.id == "bad_option"


def test_the_folder_and_its_files_are_public(site: Site, tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        site.download(tmp_path / "site" / "data")
    finally:
        os.umask(mask)
    folder = tmp_path / "site" / "data"
    modes = [path.stat().st_mode & 0o777 for path in (folder.parent, folder, folder / XENIAL, folder / NOTICES)]
    assert modes == [0o755, 0o755, 0o644, 0o644]


def test_a_planted_link_is_not_followed(site: Site, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("unchanged")
    (tmp_path / "target").chmod(0o600)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / XENIAL).symlink_to(tmp_path / "target")
    part = tmp_path / "data" / f".{XENIAL}.part"
    part.symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="not a regular file"):
        site.download(tmp_path / "data")
    part.unlink()
    site.download(tmp_path / "data")
    assert contents(tmp_path / "data")[XENIAL] == CONTENT
    assert (tmp_path / "target").read_text() == "unchanged"
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "name", ["..", ".lock", "a+b.tar.xz", "%2e%2e", "x" * 200, MANIFEST, "com.ubuntu.xenial.pkg.json.xz"]
)
def test_the_name_of_notices_is_a_file_name(name: str) -> None:
    with pytest.raises(LivepatchError, match="cannot be the name of its file") as caught:
        data_urls(["xenial"], "https://x.test/", f"https://x.test/{name}", fips=False)
    assert caught.value.id == "bad_option"
