# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Find vulnerability data in folders, files and at URLs, and compile it once.

Compiled data is stored in the cache folder under the digest of its source, so that it never outlives a change. Two runs
may compile the same data at the same time: the result is equal, and it is renamed into place.
"""

from __future__ import annotations

import collections.abc as c
import contextlib
import dataclasses
import datetime as dt
import hashlib
import json
import os
import re
import typing as t
import urllib.parse
from pathlib import Path

from .._errors import LivepatchError
from .._io import check_owned, expand_user, make_own_folder, open_regular, read_bounded, write_atomically
from .._server.download import Downloader
from .._tar import TarError, TarStream
from .._text import mask_credentials
from .._time import format_time
from .documents import PACKAGE_DATA, DocumentError, read_documents
from .index import FORMAT, IndexFormatError, VulnerabilityIndex, dump_index, index_packages, load_index
from .kernel_source import CODENAMES
from .notice_cache import cached_notices
from .notice_files import NoticeCollector, NoticeFiles, Unreadable
from .offline.manifest import read_manifest, verify_files
from .package_data import DataError, Packages, Vulnerability, add_osv, osv_vulnerability, read_release

_RELEASE_FILE = re.compile(r"com\.ubuntu\.(?P<realm>fips(?:-[a-z]+)?[_-])?(?P<codename>[a-z]+)\.pkg\.json(?:\..*)?")
_RELEASE_DATA_LIMIT = 1 << 30
_INDEX_LIMIT = 256 << 20
_KEPT_INDEXES = 64
_PIECE = 1 << 20
_CVE_MARK, _KERNEL_MARK = b'"UBUNTU-CVE-', b'"linux'
_FIPS_REALMS = ("fips-updates_", "fips_")
_ARCHIVES = (".tar", ".tar.xz", ".tar.gz", ".tar.bz2", ".tgz", ".zip")


class _Place(t.NamedTuple):
    """A file or folder, with the name that identifies the kind of data, and when it was current, if that is known."""

    name: str
    path: Path
    checked_at: str | None = None


@dataclasses.dataclass(frozen=True)
class VulnerabilityData:
    """Data of several sources. `sources` describes them, and `downloaded` is True if any of them is new."""

    indexes: list[VulnerabilityIndex]
    sources: list[dict[str, t.Any]]
    downloaded: bool


class DataFiles:
    """Opens vulnerability data. Methods raise `LivepatchError` and `OSError`. `now` is when downloads are current."""

    def __init__(self, cache: Path, downloader: Downloader, now: dt.datetime | None = None) -> None:
        self._cache = cache
        self._downloader = downloader
        self._now = None if now is None else format_time(now)
        self._downloaded = False

    def open(self, places: c.Sequence[str], releases: c.Collection[tuple[str, str]]) -> VulnerabilityData:
        """Return the data at these places, in their order.

        Of data by release, only that of `releases` is read: release and realm, as in `Packages`.
        """
        indexes, sources = [], []
        for place in places:
            for name, path, checked_at in self._find(place, releases):
                try:
                    index, digest = self._index(name, path)
                except (DataError, DocumentError, TarError) as error:
                    raise _unusable(f"{place} ({name})" if name not in place else place, str(error)) from error
                indexes.append(index)
                sources.append({**_described(name, digest, index), "checked_at": checked_at})
        return VulnerabilityData(indexes, sources, self._downloaded)

    def _find(self, place: str, releases: c.Collection[tuple[str, str]]) -> c.Iterator[_Place]:
        """Find files with the data of a release, then archives of documents, then the documents."""
        if place.startswith(("https://", "http://")):
            yield from self._download(place, releases)
            return
        path = expand_user(place)
        if not path.is_dir():
            yield _Place(path.name, path)
            return
        manifest = read_manifest(path) or {}
        verify_files(path, manifest)
        files = sorted(
            Path(folder, name) for folder, _folders, names in os.walk(path, onerror=_raise_error) for name in names
        )
        files = [file for file in files if not file.name.startswith(".")]
        documents = any(file.suffix.lower() == ".json" and PACKAGE_DATA not in file.name.lower() for file in files)
        archives = [file for file in files if file.name.lower().endswith(_ARCHIVES)]
        if not documents and not archives and not any(map(_release_of, (file.name for file in files))):
            raise _unusable(place, "it has neither data of a release nor OSV documents")
        checked = {name: entry.checked_at for name, entry in manifest.items()}
        for file in [*(file for file in files if _release_of(file.name) in releases), *archives]:
            yield _Place(file.name, file, checked.get(file.name) if file.parent == path else None)
        if documents:
            yield _Place(path.name, path)

    def _download(self, place: str, releases: c.Collection[tuple[str, str]]) -> c.Iterator[_Place]:
        urls = [place]
        if place.endswith("/"):
            names = {release: codename for codename, release in CODENAMES.items()}
            urls = [
                f"{place}com.ubuntu.{prefix}{names[release]}.pkg.json.xz"
                for release, realm in sorted(releases)
                if release in names
                for prefix in (_FIPS_REALMS if realm else ("",))
            ]
        for url in urls:
            path, changed = cached_notices(url, self._cache, self._downloader)
            self._downloaded |= changed
            yield _Place(urllib.parse.urlsplit(url).path.rpartition("/")[2], path, self._now)

    def _index(self, name: str, path: Path) -> tuple[VulnerabilityIndex, str]:
        """Return the index of a source, and its digest. It is compiled if the cache does not have it."""
        # Whoever can write to the cache could store an index without any vulnerability.
        if self._cache.exists():
            check_owned(self._cache.stat(), str(self._cache))
        digest = _digest(name, path)
        stored = self._cache / f"index-{FORMAT}-{digest}.json"
        try:
            return load_index(read_bounded(str(stored), _INDEX_LIMIT), digest), digest
        except (OSError, IndexFormatError):
            # Missing, damaged or of another version.
            index = _compile(name, path)
        make_own_folder(self._cache)
        write_atomically(stored, [dump_index(index, digest)])
        _remove_old(self._cache)
        return index, digest


def _remove_old(cache: Path) -> None:
    """Remove the oldest compiled data beyond `_KEPT_INDEXES`. Data that is needed again is compiled again."""
    found = []
    for path in cache.glob("index-*.json"):
        with contextlib.suppress(OSError):  # another run has removed it
            found.append((path.stat().st_mtime_ns, path))
    for _time, path in sorted(found)[:-_KEPT_INDEXES]:
        path.unlink(missing_ok=True)


def _compile(name: str, path: Path) -> VulnerabilityIndex:
    release = _release_of(name)
    if release is None:
        return _compile_documents(path)
    packages = Packages(*release)
    with open_regular(str(path)) as file:
        read_release(TarStream(file, unpacked=_RELEASE_DATA_LIMIT).rest(), packages)
    return VulnerabilityIndex([index_packages(packages)])


def _compile_documents(path: Path) -> VulnerabilityIndex:
    notices = NoticeCollector()
    packages: dict[tuple[str, str], Packages] = {}
    known: dict[str, Vulnerability] = {}
    unreadable = []
    for name, data in read_documents(path):
        notices.add(name, data)
        if _CVE_MARK not in data or _KERNEL_MARK not in data:
            continue
        try:
            document = json.loads(data)
            for each in document if isinstance(document, list) else [document]:
                cve = osv_vulnerability(each)
                details = add_osv(each, cve, packages) if cve else None
                if cve and details:
                    known[cve] = details
        except (ValueError, RecursionError) as error:
            unreadable.append(Unreadable(name, str(error)))
    for each in packages.values():
        # A document covers all releases: where it does not name a package, the package is not affected.
        each.vulnerabilities.update(known)
    found = notices.result()
    if not (path.is_dir() or packages or found.notices or found.unreadable or unreadable):
        raise DataError("it has neither a vulnerability of a kernel nor a notice")
    indexes = [index_packages(each) for _place, each in sorted(packages.items())]
    return VulnerabilityIndex(indexes, NoticeFiles(found.notices, [*found.unreadable, *unreadable]))


def _release_of(name: str) -> tuple[str, str] | None:
    """Return release and realm that the name of a file with package data shows; ``None`` for another name."""
    match = _RELEASE_FILE.fullmatch(name)
    release = CODENAMES.get(match["codename"]) if match else None
    return None if match is None or release is None else (release, "fips" if match["realm"] else "")


def _digest(name: str, path: Path) -> str:
    """Return the SHA-256 of a file or of a folder, with their names: these show the kind of data."""
    found = hashlib.sha256(name.encode("utf-8", "surrogateescape") + b"\0")
    files = [path]
    if path.is_dir():
        files = sorted(
            Path(folder, each)
            for folder, _folders, names in os.walk(path, onerror=_raise_error)
            for each in names
            if each.lower().endswith(".json") and PACKAGE_DATA not in each.lower()
        )
    for file in files:
        content = hashlib.sha256()
        with open_regular(str(file)) as source:
            while piece := source.read(_PIECE):
                content.update(piece)
        found.update(os.fsencode(file.relative_to(path)) + b"\0" + content.digest())
    return found.hexdigest()


def _described(name: str, digest: str, index: VulnerabilityIndex) -> dict[str, t.Any]:
    return {
        "name": name,
        "sha256": digest,
        "releases": sorted({each.release for each in index.packages}),
        "published": max((each.published for each in index.packages if each.published), default=None),
        "cves": len({cve for each in index.packages for cve in each.cves}),
        "notices": len(index.notices.notices),
        "newest_notice": max((format_time(each.published) for each in index.notices.notices), default=None),
    }


def _unusable(place: str, why: str) -> LivepatchError:
    return LivepatchError(
        "vulnerability_data_unusable",
        f"the vulnerability data in {mask_credentials(place)} cannot be used: {why}",
        "name Canonical's data of a release (com.ubuntu.xenial.pkg.json), or OSV documents in a folder or an archive",
    )


def _raise_error(error: OSError) -> t.NoReturn:
    raise error
