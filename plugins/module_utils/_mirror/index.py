# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The index of a mirror, ``index.json``: what it serves, each archive with what was found when it was verified."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime as dt
import json
import os
import re
import typing as t
from pathlib import Path

from .._errors import LivepatchError
from .._io import read_bounded
from .._time import parse_time
from .._verify.archive import parse_archive_name
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
            f"cannot use the index {path}: {reason}. Without it, the mirror cannot tell old patches from new ones",
            "restore the index, or remove it, so that the next run verifies all archives again",
        )


@dataclasses.dataclass(frozen=True, slots=True)
class MirroredPatch:
    """An archive of the mirror. `fetched_at` is RFC 3339, UTC; the other facts are those of `PatchFile`."""

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
    def since(self) -> dt.datetime:
        """`fetched_at` as an aware moment."""
        moment = parse_time(self.fetched_at)
        if moment is None:
            raise ValueError(f"{self.filename} has no time with a zone")
        return moment

    @property
    def listed(self) -> ListedPatch:
        """The same as a source would list it."""
        name = parse_archive_name(self.filename)
        if name is None:
            raise ValueError(f"{self.filename} is no name of an archive")
        return ListedPatch(self.filename, name, self.sha256, self.tier)


@dataclasses.dataclass(frozen=True, slots=True)
class Index:
    """What the mirror serves, by file name, and files that are to be removed, which nobody serves any more."""

    patches: c.Mapping[str, MirroredPatch]
    leaving: tuple[str, ...] = ()

    def names(self) -> str:
        """What it serves for a reader: a line for each archive with its hash."""
        return "".join(f"{name} {self.patches[name].sha256}\n" for name in sorted(self.patches))

    def text(self) -> str:
        """The content of the file, the same for the same patches."""
        patches = [dataclasses.asdict(self.patches[name]) for name in sorted(self.patches)]
        leaving = {"leaving": sorted(self.leaving)} if self.leaving else {}
        return json.dumps({"schema": SCHEMA, "patches": patches, **leaving}, indent=1) + "\n"


def read_index(folder: Path) -> Index:
    """The index in a folder, or an empty one where there is none. Raises `MirrorIndexError` and `OSError`."""
    path = folder / INDEX
    try:
        document = json.loads(read_bounded(str(path), _LIMIT))
    except FileNotFoundError:
        return Index({})
    except (ValueError, RecursionError) as error:
        raise MirrorIndexError(path, str(error)) from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        if isinstance(schema, str) and schema.startswith(_FAMILY):
            raise MirrorIndexError(path, f"it has the schema {schema[:80]!a}, which this version does not know")
        raise MirrorIndexError(path, "it is no index of a mirror")
    try:
        patches = [_patch(entry) for entry in document["patches"]]
        leaving = tuple(str(name) for name in document.get("leaving", ()) if parse_archive_name(str(name)))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MirrorIndexError(path, f"an entry is not as it must be: {error}") from error
    return Index({patch.filename: patch for patch in patches}, leaving)


def write_index(folder: Path, index: Index) -> None:
    """Put the index in its place, whole or not at all. Raises `OSError`."""
    unfinished = folder / f".{INDEX}"
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(index.text())
        file.flush()
        # Whoever reads it must find it whole, also after a loss of power.
        os.fsync(file.fileno())
    unfinished.replace(folder / INDEX)


def _patch(entry: t.Any) -> MirroredPatch:
    patch = MirroredPatch(**entry)
    parsed = parse_archive_name(patch.filename)
    if parsed is None or (parsed.kernel, parsed.version, parsed.architecture) != (
        patch.kernel,
        patch.version,
        patch.architecture,
    ):
        raise ValueError(f"{str(patch.filename)[:80]!a} is not what its entry says")
    if not _SHA256.fullmatch(patch.sha256) or not isinstance(patch.size, int):
        raise ValueError(f"{patch.filename} has no hash or no size")
    if parse_time(patch.fetched_at) is None:
        raise ValueError(f"{patch.filename} has no time with a zone")
    return patch
