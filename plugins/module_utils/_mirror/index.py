# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The index of a mirror, ``index.json``: the archives that it serves, with the results of their verification."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime as dt
import json
import re
import typing as t
from pathlib import Path

from .._errors import LivepatchError
from .._time import parse_time
from .._verify.archive import parse_archive_name
from .folder import Folder
from .listing import ListedPatch

SCHEMA = "kernelops.livepatch/mirror/1"
INDEX = "index.json"
_FAMILY = "kernelops.livepatch/mirror/"
_LIMIT = 64 << 20
_SHA256 = re.compile("[0-9a-f]{64}")


class MirrorIndexError(LivepatchError):
    """The index of a mirror cannot be read."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            "bad_index",
            f"cannot use the index {path}: {reason}. Without it, old patches and new ones cannot be distinguished",
            "restore the index, or remove it, so that the next run verifies all archives again",
        )


@dataclasses.dataclass(frozen=True, slots=True)
class MirroredPatch:
    """An archive of the mirror. `fetched_at` is RFC 3339, UTC; the other fields are those of `PatchFile`."""

    filename: str
    kernel: str
    version: str
    architecture: str
    tier: str | None
    sha256: str
    size: int
    build_id: str | None
    srcversion: str | None
    signer: str | None
    key_id: str | None
    fetched_at: str

    @property
    def fetched_time(self) -> dt.datetime:
        """`fetched_at` as an aware time. Raises `ValueError`."""
        moment = parse_time(self.fetched_at)
        if moment is None:
            raise ValueError(f"{self.filename} has no RFC 3339 time in fetched_at")
        return moment

    @property
    def listed(self) -> ListedPatch:
        """The archive in the form of a source's list."""
        name = parse_archive_name(self.filename)
        if name is None:
            raise ValueError(f"{self.filename} is not the name of an archive")
        return ListedPatch(self.filename, name, self.sha256, self.tier)


@dataclasses.dataclass(frozen=True, slots=True)
class Index:
    """The archives that the mirror serves, by file name. Those in `leaving` are served no more, and being removed."""

    patches: c.Mapping[str, MirroredPatch]
    leaving: tuple[str, ...] = ()

    def lines(self) -> str:
        """Return a line for each archive with its hash, for a diff."""
        return "".join(f"{name} {self.patches[name].sha256}\n" for name in sorted(self.patches))

    def text(self) -> str:
        """Return the content of the file. It is the same for the same patches."""
        patches = [dataclasses.asdict(self.patches[name]) for name in sorted(self.patches)]
        leaving = {"leaving": sorted(self.leaving)} if self.leaving else {}
        return json.dumps({"schema": SCHEMA, "patches": patches, **leaving}, indent=1) + "\n"


def read_index(folder: Folder) -> Index:
    """Read the index in a folder; without a file, return an empty one. Raises `MirrorIndexError` and `OSError`."""
    path = folder.path / INDEX
    data = folder.read(INDEX, _LIMIT)
    if data is None:
        return Index({})
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MirrorIndexError(path, str(error)) from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        if isinstance(schema, str) and schema.startswith(_FAMILY):
            raise MirrorIndexError(path, f"it has the schema {schema[:80]!a}, which this version does not support")
        raise MirrorIndexError(path, "it is not the index of a mirror")
    try:
        patches = [_patch(entry) for entry in document["patches"]]
        leaving = tuple(str(name) for name in document.get("leaving", ()) if parse_archive_name(str(name)))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MirrorIndexError(path, f"an entry is not valid: {error}") from error
    return Index({patch.filename: patch for patch in patches}, leaving)


def write_index(folder: Folder, index: Index) -> None:
    """Replace the index atomically. Raises `OSError`."""
    folder.write(INDEX, index.text().encode(), 0o644)


def _patch(entry: t.Any) -> MirroredPatch:
    patch = MirroredPatch(**entry)
    parsed = parse_archive_name(patch.filename)
    if parsed is None or (parsed.kernel, parsed.version, parsed.architecture) != (
        patch.kernel,
        patch.version,
        patch.architecture,
    ):
        raise ValueError(f"{str(patch.filename)[:80]!a} does not match its entry")
    if not _SHA256.fullmatch(patch.sha256) or not isinstance(patch.size, int):
        raise ValueError(f"{patch.filename} has no hash or no size")
    if parse_time(patch.fetched_at) is None:
        raise ValueError(f"{patch.filename} has no RFC 3339 time in fetched_at")
    return patch
