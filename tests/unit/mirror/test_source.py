# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the sources of a mirror."""

from __future__ import annotations

import datetime as dt
import json
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.listing import PatchListError
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.source import (
    PatchSource,
    as_path,
    is_url,
    make_source,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.download import Downloader, DownloadOptions
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.patch_file import FILE_LIMIT
from tests.samples.mirror import NOW, listed, name_of

PATCH = listed("65.1")
LIST = json.dumps([{"filename": PATCH.filename, "hash": PATCH.sha256}]).encode()


class Recorder(Downloader):
    """A downloader that returns a list and remembers URLs."""

    def __init__(self, answer: bytes = LIST) -> None:
        super().__init__(DownloadOptions())
        self.answer = answer
        self.modified: str | None = None
        self.urls: list[str] = []

    def read_dated(self, url: str, limit: int) -> tuple[bytes, str | None]:
        self.urls.append(url)
        assert len(self.answer) <= limit
        return self.answer, self.modified

    def download(self, url: str, file: t.BinaryIO, limit: int) -> None:
        self.urls.append(url)
        assert limit == FILE_LIMIT
        file.write(b"content")


def copy(source: PatchSource, path: Path) -> None:
    path.write_bytes(b"")
    with path.open("r+b") as file:
        source.copy(PATCH, file)


def urls(source: PatchSource, downloader: Recorder, path: Path) -> list[str]:
    assert list(source.read().patches) == [PATCH]
    copy(source, path)
    assert path.read_bytes() == b"content"
    return downloader.urls


def test_archives_are_beside_the_list(tmp_path: Path) -> None:
    downloader = Recorder()
    source = make_source(None, "https://mirror.example.com/a/list.json", None, downloader)
    assert urls(source, downloader, tmp_path / "a") == [
        "https://mirror.example.com/a/list.json",
        f"https://mirror.example.com/a/{PATCH.filename}",
    ]


def test_a_server_has_archives_in_one_place(tmp_path: Path) -> None:
    downloader = Recorder()
    (tmp_path / "list.json").write_bytes(LIST)
    source = make_source("https://server.example.com:8080/", str(tmp_path / "list.json"), None, downloader)
    assert urls(source, downloader, tmp_path / "a") == [f"https://server.example.com:8080/v1/patches/{PATCH.filename}"]


@pytest.mark.parametrize("with_list", [True, False])
def test_a_folder_needs_no_list(tmp_path: Path, with_list: bool) -> None:
    downloader = Recorder()
    (tmp_path / PATCH.filename).write_bytes(PATCH.filename.encode())
    source = make_source(None, "https://server.example.com/list" if with_list else None, str(tmp_path), downloader)
    assert list(source.read().patches) == [PATCH]
    copy(source, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == PATCH.filename.encode()
    assert downloader.urls == (["https://server.example.com/list"] if with_list else [])


def test_a_list_in_a_folder_names_its_archives(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_bytes(LIST)
    (tmp_path / PATCH.filename).write_bytes(b"content")
    (tmp_path / name_of("64.1")).write_bytes(b"not listed")
    source = make_source(None, str(tmp_path / "list.json"), None, Recorder())
    assert list(source.read().patches) == [PATCH]


def test_a_link_is_copied_as_file_or_refused(tmp_path: Path) -> None:
    (tmp_path / PATCH.filename).symlink_to("/dev/zero")
    with pytest.raises(OSError, match="not a regular file"):
        copy(make_source(None, None, str(tmp_path), Recorder()), tmp_path / "copy")


def test_a_source_needs_a_list_or_a_folder() -> None:
    with pytest.raises(PatchListError, match="a list of patches is needed"):
        make_source("https://server.example.com", None, None, Recorder())


def test_an_invalid_list_is_named_without_credentials() -> None:
    source = make_source(None, "https://me:secret@mirror.example.com/list", None, Recorder(b"text"))
    with pytest.raises(PatchListError, match=r"cannot use the list https://\*\*\*@mirror\.example\.com/list: "):
        source.read()


# --- the age of a list


@pytest.mark.parametrize(
    ("modified", "expected"),
    [
        ("Fri, 31 Jan 2031 00:00:00 GMT", NOW),
        ("Thu, 30 Jan 2031 19:00:00 -0500", NOW),
        ("Fri, 31 Jan 2031 00:00:00 -0000", NOW),
        ("yesterday", None),
        ("Fri, 99 Jan 2031 00:00:00 GMT", None),
        ("", None),
        (None, None),
    ],
)
def test_a_url_has_the_time_of_its_server(modified: str | None, expected: dt.datetime | None) -> None:
    downloader = Recorder()
    downloader.modified = modified
    assert make_source(None, "https://mirror.example.com/list", None, downloader).read().modified == expected


def test_a_list_in_a_file_has_its_time(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_bytes(LIST)
    os.utime(path, (0, NOW.timestamp()))
    assert make_source(None, str(path), None, Recorder()).read().modified == NOW
    assert make_source(None, None, str(tmp_path), Recorder()).read().modified is None


def test_urls_and_paths() -> None:
    assert is_url("https://example.com/") and is_url("http://example.com/")
    assert not is_url("/srv/list") and not is_url("ftp://example.com/") and not is_url("httpsx")
    assert as_path("~/list") == Path.home() / "list"
