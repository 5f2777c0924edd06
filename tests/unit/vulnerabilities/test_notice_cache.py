# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the cache of notices."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._io import UnsafeFolderError
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.download import (
    Downloader,
    DownloadOptions,
    ServerError,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._vulnerabilities.notice_cache import cached_notices

URL = "https://notices.example.com/lsn.tar.xz"


class Server(Downloader):
    """A downloader for one file with an ETag."""

    def __init__(self, content: bytes, etag: str | None = '"1"') -> None:
        super().__init__(DownloadOptions())
        self.content = content
        self.etag = etag
        self.asked: list[str | None] = []

    def download_if_changed(self, url: str, path: Path, limit: int, etag: str | None) -> tuple[bool, str | None]:
        assert url.partition("//")[2].rpartition("@")[2].startswith("notices.example.com/")
        assert len(self.content) <= limit
        self.asked.append(etag)
        if etag is not None and etag == self.etag:
            return False, etag
        path.write_bytes(self.content)
        return True, self.etag


def test_content_is_downloaded_once(tmp_path: Path) -> None:
    server = Server(b"notices")
    path, is_new = cached_notices(URL, tmp_path / "cache", server)
    assert (path.read_bytes(), is_new) == (b"notices", True)
    assert cached_notices(URL, tmp_path / "cache", server) == (path, False)
    assert server.asked == [None, '"1"']
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def test_changed_content_is_downloaded_again(tmp_path: Path) -> None:
    server = Server(b"old")
    cached_notices(URL, tmp_path, server)
    server.content, server.etag = b"new", '"2"'
    path, is_new = cached_notices(URL, tmp_path, server)
    assert (path.read_bytes(), is_new) == (b"new", True)


def test_without_an_etag_content_is_always_downloaded(tmp_path: Path) -> None:
    server = Server(b"notices", etag=None)
    for _run in range(2):
        assert cached_notices(URL, tmp_path, server)[1]
    assert server.asked == [None, None]


def test_each_url_has_its_own_file(tmp_path: Path) -> None:
    server = Server(b"notices")
    one, other = (cached_notices(f"https://notices.example.com/{name}", tmp_path, server)[0] for name in "ab")
    assert one != other
    assert server.asked == [None, None]


@pytest.mark.parametrize("stamp", [b"", b"[]", b"{}", b'{"url": 7}', b"[" * 100_000, b"\xff"])
def test_an_unusable_stamp_costs_a_download(tmp_path: Path, stamp: bytes) -> None:
    server = Server(b"notices")
    path, _is_new = cached_notices(URL, tmp_path, server)
    path.with_name(f"{path.name}.json").write_bytes(stamp)
    assert cached_notices(URL, tmp_path, server)[1]


def test_modified_content_is_not_used(tmp_path: Path) -> None:
    server = Server(b"notices")
    path, _is_new = cached_notices(URL, tmp_path, server)
    path.write_bytes(b"forged")
    assert cached_notices(URL, tmp_path, server)[1]
    assert path.read_bytes() == b"notices"


def test_the_stamp_of_another_url_is_not_used(tmp_path: Path) -> None:
    server = Server(b"notices")
    path, _is_new = cached_notices(URL, tmp_path, server)
    stamp = path.with_name(f"{path.name}.json")
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "url": "https://other.example.com/"}))
    assert cached_notices(URL, tmp_path, server)[1]


def test_a_failed_download_leaves_the_old_content(tmp_path: Path) -> None:
    class Broken(Server):
        def download_if_changed(self, url: str, path: Path, limit: int, etag: str | None) -> tuple[bool, str | None]:
            path.write_bytes(b"a part")
            raise ServerError(f"{url}: {limit} {etag}")

    path, _is_new = cached_notices(URL, tmp_path, Server(b"notices"))
    with pytest.raises(ServerError):
        cached_notices(URL, tmp_path, Broken(b""))
    assert path.read_bytes() == b"notices"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775])
def test_a_cache_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    server = Server(b"notices")
    tmp_path.chmod(mode)
    with pytest.raises(UnsafeFolderError):
        cached_notices(URL, tmp_path, server)
    assert server.asked == []


def test_a_planted_link_or_pipe_is_replaced(tmp_path: Path) -> None:
    server, target = Server(b"notices"), tmp_path / "target"
    target.write_text("unchanged")
    for plant in (lambda path: path.symlink_to(target), os.mkfifo):
        path, _is_new = cached_notices(URL, tmp_path / "cache", server)
        stamp = path.with_name(f"{path.name}.json")
        stamp.unlink()
        plant(stamp)
        assert cached_notices(URL, tmp_path / "cache", server)[1]
        assert stamp.is_file()
        assert not stamp.is_symlink()
    assert target.read_text() == "unchanged"


def test_no_password_is_stored(tmp_path: Path) -> None:
    url = URL.replace("https://notices", "https://user:secret@notices")
    server = Server(b"notices")
    for _run in range(2):
        path, is_new = cached_notices(url, tmp_path, server)
    assert not is_new
    assert "secret" not in path.with_name(f"{path.name}.json").read_text()
