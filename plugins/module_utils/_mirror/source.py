# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The source of a mirror: a server or a folder with archives, with or without a list."""

from __future__ import annotations

import datetime as dt
import email.utils
import shutil
import typing as t
import urllib.parse
from pathlib import Path

from .._io import expand_user, open_regular, read_bounded
from .._server.download import Downloader
from .._text import mask_credentials
from .._verify.patch_file import FILE_LIMIT
from .listing import LIST_LIMIT, ListedPatch, PatchList, PatchListError, list_folder, read_list


class PatchSource(t.Protocol):
    """A source of archives. Methods raise `LivepatchError` and `OSError`."""

    def read(self) -> PatchList:
        """Return the archives of the source."""

    def copy(self, patch: ListedPatch, file: t.BinaryIO) -> None:
        """Write an archive to a file that is open for reading and writing. It may be continued at its end."""


class WebSource:
    """Archives below a URL, and a list of them at another URL or in a file."""

    def __init__(self, downloader: Downloader, list_at: str, archives_at: str) -> None:
        self._downloader = downloader
        self._list_at = list_at
        self._archives_at = archives_at

    def read(self) -> PatchList:
        """Return the archives that the list names."""
        return _read_list_at(self._list_at, self._downloader)

    def copy(self, patch: ListedPatch, file: t.BinaryIO) -> None:
        """Download the missing part of an archive."""
        self._downloader.download(f"{self._archives_at}/{urllib.parse.quote(patch.filename)}", file, FILE_LIMIT)


class FolderSource:
    """Archives in a folder, all or those that a list names."""

    def __init__(self, folder: Path, list_at: str | None, downloader: Downloader) -> None:
        self._folder = folder
        self._list_at = list_at
        self._downloader = downloader

    def read(self) -> PatchList:
        """Return the archives that the list names, or those of the folder with their hashes."""
        if self._list_at is None:
            return PatchList(list_folder(self._folder), None)
        return _read_list_at(self._list_at, self._downloader)

    def copy(self, patch: ListedPatch, file: t.BinaryIO) -> None:
        """Copy an archive."""
        file.seek(0)
        file.truncate()
        with open_regular(str(self._folder / patch.filename)) as source:
            shutil.copyfileobj(source, file)


def is_url(place: str) -> bool:
    """Return True for a URL, False for a path."""
    return place.startswith(("https://", "http://"))


def as_path(place: str) -> Path:
    """Return the path of a place that is not a URL, with ``~`` expanded as in Ansible's options of type path."""
    return expand_user(place)


def make_source(server: str | None, list_at: str | None, folder: str | None, downloader: Downloader) -> PatchSource:
    """Return the source that the options name. Raises `PatchListError` without a list or a folder.

    Archives come from `folder`, or from the `server` (below ``/v1/patches/``), else from the folder of the list.
    """
    if folder is not None:
        return FolderSource(Path(folder), list_at, downloader)
    if list_at is None:
        raise PatchListError("a list of patches is needed, unless they come from a folder")
    if server is not None:
        return WebSource(downloader, list_at, f"{server.rstrip('/')}/v1/patches")
    if is_url(list_at):
        return WebSource(downloader, list_at, urllib.parse.urljoin(list_at, ".").rstrip("/"))
    return FolderSource(Path(list_at).parent, list_at, downloader)


def _read_list_at(place: str, downloader: Downloader) -> PatchList:
    if is_url(place):
        data, modified = downloader.read_dated(place, LIST_LIMIT)
        time = _parse_http_date(modified)
    else:
        data = read_bounded(place, LIST_LIMIT)
        time = dt.datetime.fromtimestamp(Path(place).stat().st_mtime, dt.timezone.utc)
    try:
        return PatchList(read_list(data), time)
    except PatchListError as error:
        shown = mask_credentials(place) if is_url(place) else place
        raise PatchListError(f"cannot use the list {shown}: {error}") from None


def _parse_http_date(text: str | None) -> dt.datetime | None:
    """Parse ``Last-Modified`` (RFC 9110, section 5.6.7); ``None`` for any other text."""
    try:
        moment = email.utils.parsedate_to_datetime(text or "")
    except (TypeError, ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.timezone.utc)
