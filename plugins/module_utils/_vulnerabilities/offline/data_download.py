# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Download the vulnerability data of releases into a folder, for sites without internet access.

A file is downloaded only if the server has another one (ETag, else the time of its change). A download that was
interrupted continues where it ended, if the server still has the same file. A file is replaced when all of it is there.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime as dt
import json
import os
import urllib.parse
from pathlib import Path

from ..._errors import LivepatchError
from ..._io import has_content, lock_within, make_folder, open_at, open_lock, read_bounded, write_atomically
from ..._server.download import Downloader, FileVersion
from ..._text import mask_credentials
from ..._time import format_time
from ..kernel_source import CODENAMES
from .manifest import MANIFEST, DataFile, file_digest, is_file_name, manifest_text, read_manifest

PACKAGE_DATA_URL = "https://security-metadata.canonical.com/oval/"
NOTICES_URL = "https://security-metadata.canonical.com/osv/osv-all.tar.xz"

FILE_LIMIT = 1 << 30
"""Bytes of one file. The largest, the archive of all OSV documents, has about 50 MB."""

_FOLDER_MODE, _FILE_MODE = 0o755, 0o644  # the data is public
_PART = ".part"
_LOCK = ".lock"
_LOCK_SECONDS = 60
_STATE_LIMIT = 1 << 16
_READ_WRITE = os.O_RDWR | os.O_CREAT


@dataclasses.dataclass(frozen=True)
class DataDownload:
    """The outcome: all files of the folder by name, and the names of those that are new."""

    files: dict[str, DataFile]
    changed: list[str]


def data_urls(releases: c.Iterable[str], url: str, notices: str | None, *, fips: bool) -> dict[str, str]:
    """Return the URL of each file by its name. A release is a number or a codename. Raises `LivepatchError`."""
    codenames = {release: codename for codename, release in CODENAMES.items()}
    found: dict[str, str] = {}
    for release in releases:
        codename = codenames.get(release, release)
        if codename not in CODENAMES:
            known = ", ".join(CODENAMES.values())
            raise LivepatchError(
                "bad_option",
                f"the option releases contains {release!r:.64}, which is not a long-term release of Ubuntu",
                f"use releases such as 16.04 or xenial: {known}",
            )
        for realm in ("", "fips_", "fips-updates_") if fips else ("",):
            name = f"com.ubuntu.{realm}{codename}.pkg.json.xz"
            found[name] = f"{url.rstrip('/')}/{name}"
    if notices:
        name = urllib.parse.urlsplit(notices).path.rpartition("/")[2] or "notices"
        if not is_file_name(name) or name in found:
            raise LivepatchError(
                "bad_option",
                f"the option notices ends with {name!r:.80}, which cannot be the name of its file in the folder",
                "use a URL that ends with a name such as osv-all.tar.xz, of letters, digits, '.', '_' and '-'",
            )
        found[name] = notices
    return found


def download_data(
    folder: Path, urls: c.Mapping[str, str], downloader: Downloader, now: dt.datetime, *, check_mode: bool
) -> DataDownload:
    """Download what is new. Raises `LivepatchError` and `OSError`.

    The manifest is written after each file, so that it always describes the folder. Check mode only asks the server.
    """
    if check_mode:
        return _download_all(folder, urls, downloader, now, check_mode=True)
    make_folder(folder, _FOLDER_MODE)
    with open_lock(folder / _LOCK) as lock:
        if not lock_within(lock.fileno(), _LOCK_SECONDS):
            raise LivepatchError(
                "data_folder_locked",
                f"another run downloads vulnerability data to {folder}",
                "wait until it has ended, then run the task again",
            )
        return _download_all(folder, urls, downloader, now, check_mode=False)


def _download_all(
    folder: Path, urls: c.Mapping[str, str], downloader: Downloader, now: dt.datetime, *, check_mode: bool
) -> DataDownload:
    known = read_manifest(folder) or {}
    files: dict[str, DataFile] = {}
    changed = []
    for name, url in urls.items():
        present = _present(folder / name, known.get(name), url)
        version = FileVersion(present.etag, present.modified) if present else FileVersion()
        if check_mode:
            is_new, found = downloader.has_changed(url, version), present
        else:
            found, is_new = _download(folder / name, url, downloader, version, present)
        if is_new:
            changed.append(name)
        if found is not None:
            files[name] = dataclasses.replace(found, checked_at=format_time(now))
            if not check_mode:
                _write_manifest(folder, {**known, **files})
    return DataDownload({**known, **files}, changed)


def _present(path: Path, entry: DataFile | None, url: str) -> DataFile | None:
    """Return the entry of a file that is there, complete, and from this URL."""
    if entry is None or entry.url != mask_credentials(url):
        return None
    try:
        return entry if file_digest(path) == (entry.sha256, entry.size) else None
    except OSError:
        # It is missing or cannot be read: it is downloaded again.
        return None


def _download(
    path: Path, url: str, downloader: Downloader, version: FileVersion, present: DataFile | None
) -> tuple[DataFile, bool]:
    part, state = path.with_name(f".{path.name}{_PART}"), path.with_name(f".{path.name}{_PART}.json")
    with open_at(None, str(part), _READ_WRITE) as file:

        def begin(found: FileVersion) -> None:
            write_atomically(state, [json.dumps({"url": mask_credentials(url), "etag": found.etag})])

        found = downloader.download_newer(url, file, FILE_LIMIT, version, _etag_of_part(state, url), begin)
        # Not by the path: another user may write to the folder, and could replace the file by a link.
        os.fchmod(file.fileno(), _FILE_MODE)
    if found is None:
        part.unlink()
        state.unlink(missing_ok=True)
        if present is None:
            raise LivepatchError(
                "server",
                f"the server of {mask_credentials(url)} sent no file",
                "check the URL, then run the task again",
            )
        return present, False
    sha256, size = file_digest(part)
    part.replace(path)
    state.unlink(missing_ok=True)
    is_new = present is None or present.sha256 != sha256
    return DataFile(mask_credentials(url), sha256, size, "", found.etag, found.modified), is_new


def _etag_of_part(state: Path, url: str) -> str | None:
    """Return the ETag of the file of which a part is there."""
    try:
        details = json.loads(read_bounded(str(state), _STATE_LIMIT))
        return str(details["etag"]) if details["url"] == mask_credentials(url) and details["etag"] else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        # Missing or damaged: the part is discarded.
        return None


def _write_manifest(folder: Path, files: c.Mapping[str, DataFile]) -> None:
    text = manifest_text(files)
    if not has_content(folder / MANIFEST, [text]):
        write_atomically(folder / MANIFEST, [text])
