# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Where a mirror has its archives from: a server or a folder, with or without a list."""

from __future__ import annotations

import shutil
import typing as t
import urllib.parse
from pathlib import Path

from .._io import open_regular, read_bounded
from .._server.download import Downloader
from .._verify.patch_file import FILE_LIMIT
from .listing import LIST_LIMIT, ListedPatch, PatchListError, list_folder, read_list


class PatchSource(t.Protocol):
    """A source of archives."""

    def patches(self) -> list[ListedPatch]:
        """What it has. Raises `PatchListError`, `ServerError` and `OSError`."""

    def bring(self, patch: ListedPatch, path: Path) -> None:
        """Write an archive to a file, or to its end what is missing there. Raises `ServerError` and `OSError`."""


class WebSource:
    """Archives below an address, and a list of them at another one or in a file."""

    def __init__(self, downloader: Downloader, list_at: str, archives_at: str) -> None:
        self._downloader = downloader
        self._list_at = list_at
        self._archives_at = archives_at

    def patches(self) -> list[ListedPatch]:
        """What the list names."""
        return _read_list_at(self._list_at, self._downloader)

    def bring(self, patch: ListedPatch, path: Path) -> None:
        """Fetch what is missing of an archive."""
        self._downloader.download(f"{self._archives_at}/{urllib.parse.quote(patch.filename)}", path, FILE_LIMIT)


class FolderSource:
    """Archives in a folder, and a list of them, or whatever is there."""

    def __init__(self, folder: Path, list_at: str | None, downloader: Downloader) -> None:
        self._folder = folder
        self._list_at = list_at
        self._downloader = downloader

    def patches(self) -> list[ListedPatch]:
        """What the list names, or the archives of the folder with their hashes."""
        return list_folder(self._folder) if self._list_at is None else _read_list_at(self._list_at, self._downloader)

    def bring(self, patch: ListedPatch, path: Path) -> None:
        """Copy an archive."""
        with open_regular(str(self._folder / patch.filename)) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)


def is_address(place: str) -> bool:
    """Whether this is a URL and no path."""
    return place.startswith(("https://", "http://"))


def as_path(place: str) -> Path:
    """A place that is no address, with ``~`` for the folder of the user, as in any path that Ansible is given."""
    return Path(place).expanduser()


def make_source(server: str | None, list_at: str | None, folder: str | None, downloader: Downloader) -> PatchSource:
    """The source that is meant. Raises `PatchListError` when that is none.

    Archives come from `folder`, or from the `server` (where it has them: ``/v1/patches/``), else from beside the list.
    """
    if folder is not None:
        return FolderSource(Path(folder), list_at, downloader)
    if list_at is None:
        raise PatchListError("a list of patches is needed, unless they come from a folder")
    if server is not None:
        return WebSource(downloader, list_at, f"{server.rstrip('/')}/v1/patches")
    if is_address(list_at):
        return WebSource(downloader, list_at, urllib.parse.urljoin(list_at, ".").rstrip("/"))
    return FolderSource(Path(list_at).parent, list_at, downloader)


def _read_list_at(place: str, downloader: Downloader) -> list[ListedPatch]:
    data = downloader.read(place, LIST_LIMIT) if is_address(place) else read_bounded(place, LIST_LIMIT)
    try:
        return read_list(data)
    except PatchListError as error:
        raise PatchListError(f"{place}: {error}") from error
