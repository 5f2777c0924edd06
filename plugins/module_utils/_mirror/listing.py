# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Lists of patches: a file that names archives with their hashes, or a folder of archives.

A file is in the form that the downloader of an on-premises server reads (``- filename: livepatch-….tar.bz2`` and
``hash:``, the SHA-256), or the index of a mirror. An entry can also have a ``tier``.
"""

from __future__ import annotations

import collections.abc as c
import contextlib
import dataclasses
import datetime as dt
import fnmatch
import hashlib
import json
import re
import typing as t
from pathlib import Path

from .._config_file import read_document
from .._errors import LivepatchError
from .._io import read_bounded
from .._kernel_name import parse_kernel_name
from .._verify.archive import ArchiveName, parse_archive_name
from .._verify.patch_file import FILE_LIMIT

LIST_LIMIT = 8 << 20
"""Bytes of a list: about 50,000 patches."""

_YAML_DEPTH = 16
_HOUR = dt.timedelta(hours=1)
_CLOCK_SKEW = dt.timedelta(minutes=5)
"""Difference of two clocks that is not a fault."""

_SHA256 = re.compile("[0-9a-f]{64}")
_TIER = re.compile("[a-z][a-z0-9_-]{0,31}")


class PatchListError(LivepatchError):
    """A list of patches cannot be used."""

    def __init__(self, message: str) -> None:
        super().__init__("bad_list", message, "correct the list, or specify another one")


@dataclasses.dataclass(frozen=True, slots=True)
class ListedPatch:
    """An archive of a source. `tier` is ``None`` where it is unknown."""

    filename: str
    name: ArchiveName
    sha256: str
    tier: str | None = None

    @property
    def target(self) -> tuple[str, str]:
        """Kernel and architecture of the patch."""
        return self.name.kernel, self.name.architecture

    @property
    def version_key(self) -> tuple[int, ...]:
        """A key by which patches of one target sort by version."""
        return patch_version_key(self.name.version)


class OldListError(LivepatchError):
    """A list of patches is older than allowed, or its age is unknown. `age` is ``None`` then."""

    def __init__(self, age: dt.timedelta | None, limit: dt.timedelta) -> None:
        hours = limit / _HOUR
        found = (
            "its age is unknown, because its source gives no time for it, or one in the future"
            if age is None
            else f"it is {age / _HOUR:.1f} hours old"
        )
        super().__init__(
            "list_too_old",
            f"the list of patches cannot be used: {found}, and max_list_age is {hours:.0f} hours. Nothing was changed",
            "find out why the source does not renew its list, or increase max_list_age",
        )


@dataclasses.dataclass(frozen=True, slots=True)
class PatchList:
    """The archives of a source. `modified` is the (aware) time of its list, ``None`` if it is unknown.

    Only the source gives this time, and it is not signed.
    """

    patches: c.Sequence[ListedPatch]
    modified: dt.datetime | None

    def age(self, now: dt.datetime) -> dt.timedelta | None:
        """Return the age of the list; ``None`` if it is unknown, also for a time in the future."""
        if self.modified is None or self.modified > now + _CLOCK_SKEW:
            return None
        return max(now - self.modified, dt.timedelta())

    def check_age(self, now: dt.datetime, limit: dt.timedelta | None) -> None:
        """Raise `OldListError` if the list is older than the limit, or its age is unknown."""
        age = self.age(now)
        if limit is not None and (age is None or age > limit):
            raise OldListError(age, limit)


@dataclasses.dataclass(frozen=True, slots=True)
class Selection:
    """Selected patches: for each field any of the values, or all where it is ``None``.

    `kernels` are shell patterns (``4.4.0-*``) for the full name of the kernel or its release.
    """

    kernels: tuple[str, ...] | None = None
    flavours: tuple[str, ...] | None = None
    architectures: tuple[str, ...] | None = None
    tiers: tuple[str, ...] | None = None

    def selects(self, patch: ListedPatch) -> bool:
        """Return True if the patch is selected. A selection by tier excludes patches of an unknown tier."""
        kernel = parse_kernel_name(patch.name.kernel)
        names, flavour = ([str(kernel), kernel.release], kernel.flavour) if kernel else ([], None)
        return (
            (self.kernels is None or any(fnmatch.fnmatchcase(name, each) for name in names for each in self.kernels))
            and (self.flavours is None or flavour in self.flavours)
            and (self.architectures is None or patch.name.architecture in self.architectures)
            and (self.tiers is None or patch.tier in self.tiers)
        )


def patch_version_key(version: str) -> tuple[int, ...]:
    """Return a key by which versions of patches (``65.1``) sort. Zeros at the end make no difference."""
    parts = [int(part) for part in version.split(".")]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def read_list(data: bytes) -> list[ListedPatch]:
    """Read a list in YAML or JSON. Raises `PatchListError` if any part of it is invalid."""
    document = _load(data)
    if isinstance(document, dict):
        document = document.get("patches")
    if not isinstance(document, list):
        raise PatchListError("this is not a list of patches: it must be a list of filename and hash")
    listed: dict[str, ListedPatch] = {}
    for index, entry in enumerate(document):
        patch = _listed(entry, index)
        if listed.setdefault(patch.filename, patch) != patch:
            raise PatchListError(f"entry {index}: {patch.filename} is listed above with another hash or tier")
    return list(listed.values())


def list_folder(folder: Path) -> list[ListedPatch]:
    """Return the archives in a folder, by their names, with their hashes. Raises `OSError`."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    return [
        ListedPatch(name, parsed, hashlib.sha256(read_bounded(str(folder / name), FILE_LIMIT)).hexdigest())
        for name in names
        if (parsed := parse_archive_name(name)) is not None
    ]


def _load(data: bytes) -> object:
    try:
        text = data.decode("utf-8")
        if text.lstrip()[:1] in ("[", "{"):
            with contextlib.suppress(ValueError):
                document: object = json.loads(text)
                return document
        return read_document(text, _YAML_DEPTH)
    except (ValueError, RecursionError) as error:
        raise PatchListError(f"this is not a list of patches: {error}") from error


def _listed(entry: object, index: int) -> ListedPatch:
    if not isinstance(entry, c.Mapping):
        raise PatchListError(f"entry {index}: expected filename and hash, found {type(entry).__name__}")
    filename, tier = entry.get("filename"), entry.get("tier")
    sha256 = entry.get("hash", entry.get("sha256"))
    parsed = parse_archive_name(filename) if isinstance(filename, str) else None
    if not isinstance(filename, str) or parsed is None:
        raise PatchListError(f"entry {index}: {_shown(filename)} is not the name of an archive")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256.lower()):
        raise PatchListError(f"entry {index}: {filename} has no SHA-256 of 64 hexadecimal digits, but {_shown(sha256)}")
    if tier is not None and not (isinstance(tier, str) and _TIER.fullmatch(tier)):
        raise PatchListError(f"entry {index}: {filename} has {_shown(tier)} as tier, which is not a valid name")
    return ListedPatch(filename, parsed, sha256.lower(), tier)


def _shown(value: t.Any) -> str:
    return ascii(value)[:100] if isinstance(value, (str, int, float, type(None))) else f"a {type(value).__name__}"
