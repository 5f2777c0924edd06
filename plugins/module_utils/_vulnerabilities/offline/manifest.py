# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The manifest of a folder of vulnerability data: where each file comes from, its digest, and when it was current.

The folder can be copied to a site without internet access. The digests show a damaged or incomplete copy there, and the
times show how old the data is.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime as dt
import hashlib
import json
import re
import typing as t
from pathlib import Path

from ..._errors import LivepatchError
from ..._io import open_regular, read_bounded
from ..._time import parse_time

MANIFEST = "vulnerability-data.manifest"
"""Name of the manifest. It has no suffix of a document, because it is none."""

SCHEMA = "kernelops.livepatch/vulnerability-data/1"

_LIMIT = 1 << 20
_FILES_LIMIT = 1000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PIECE = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class DataFile:
    """A file of the folder. `checked_at` is when the server last confirmed that it is current (RFC 3339, UTC).

    `etag` and `modified` are those of the server, for the next request.
    """

    url: str
    sha256: str
    size: int
    checked_at: str
    etag: str | None = None
    modified: str | None = None


def read_manifest(folder: Path) -> dict[str, DataFile] | None:
    """Return the files that the manifest of a folder has; ``None`` without a manifest. Raises `LivepatchError`."""
    try:
        document = json.loads(read_bounded(str(folder / MANIFEST), _LIMIT))
        if document["schema"] != SCHEMA or len(document["files"]) > _FILES_LIMIT:
            raise ValueError("it is of another version")
        files = {name: _entry(name, entry) for name, entry in document["files"].items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise unusable(folder, f"the manifest {MANIFEST} cannot be read: {error}") from error
    return files


def is_file_name(name: str) -> bool:
    """Return True for a name that a file of the folder can have."""
    return _NAME.fullmatch(name) is not None and name != MANIFEST


def _entry(name: str, value: dict[str, t.Any]) -> DataFile:
    entry = DataFile(**value)
    texts: list[object] = [entry.url, entry.sha256, entry.checked_at, entry.etag or "", entry.modified or ""]
    size: object = entry.size
    if (
        not _NAME.fullmatch(name)
        or not all(isinstance(text, str) for text in texts)
        or not isinstance(size, int)
        or not _SHA256.fullmatch(entry.sha256)
        or parse_time(entry.checked_at) is None
    ):
        raise ValueError(f"the entry {name!r:.80} is not valid")
    return entry


def manifest_text(files: c.Mapping[str, DataFile]) -> str:
    """Return the text of a manifest."""
    entries = {name: dataclasses.asdict(files[name]) for name in sorted(files)}
    return json.dumps({"schema": SCHEMA, "files": entries}, indent=2) + "\n"


def verify_files(folder: Path, files: c.Mapping[str, DataFile]) -> None:
    """Raise `LivepatchError` unless the folder has all files of its manifest, unchanged."""
    for name, entry in files.items():
        try:
            found = file_digest(folder / name)
        except OSError as error:
            raise unusable(folder, f"{name} cannot be read: {error.strerror or error}") from error
        if found != (entry.sha256, entry.size):
            raise unusable(folder, f"{name} is not the file of the manifest: it is damaged or was replaced")


def file_digest(path: Path) -> tuple[str, int]:
    """Return the SHA-256 and the size of a file. Raises `OSError`."""
    found, size = hashlib.sha256(), 0
    with open_regular(str(path)) as file:
        while piece := file.read(_PIECE):
            found.update(piece)
            size += len(piece)
    return found.hexdigest(), size


def oldest_check(files: c.Iterable[DataFile]) -> dt.datetime | None:
    """Return when the file that was not checked for the longest time was current."""
    times = (parse_time(each.checked_at) for each in files)
    return min((time for time in times if time is not None), default=None)


def unusable(folder: Path, why: str) -> LivepatchError:
    """Return the error for a folder that cannot be used."""
    return LivepatchError(
        "vulnerability_data_unusable",
        f"the vulnerability data in {folder} cannot be used: {why}",
        "copy the folder again from the machine that downloads the data, or download it there again: "
        "ansible-playbook kernelops.livepatch.vulnerability_data",
    )
