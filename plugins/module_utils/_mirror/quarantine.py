# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The quarantine of a mirror: a folder for archives that must not be served, each with a file that gives the reason."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

from .._verify.patch_file import FILE_LIMIT
from .folder import Folder, open_folder

REASON = ".reason.json"
"""Suffix of the file with the reason."""

_REASON_LIMIT = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class ArchiveFault:
    """The fault of an archive.

    `verdict` is one of `PatchFile`, or ``wrong_hash``, ``changed``, ``unknown``, ``missing`` or ``not_fetched``.
    `reason` is a sentence.
    """

    filename: str
    verdict: str
    reason: str


class Quarantine:
    """The folder. Only its owner can read it, so that no web server serves it.

    Methods raise `OSError`, and `UnsafeFolderError` if another user could write to the folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self) -> None:
        """Check that the folder can be used, if it exists."""
        with open_folder(self._path):
            pass

    def add(self, source: Folder, name: str, fault: ArchiveFault, listed_sha256: str | None) -> bool:
        """Move a file here, in place of an earlier one of its name. Return True if file or reason are new."""
        data = source.read(name, FILE_LIMIT)
        details = {
            **dataclasses.asdict(fault),
            "sha256": hashlib.sha256(data or b"").hexdigest(),
            "listed_sha256": listed_sha256,
        }
        text = (json.dumps(details, indent=1) + "\n").encode()
        reason = f"{fault.filename}{REASON}"
        with open_folder(self._path, create=True, mode=0o700) as folder:
            is_new = folder.read(reason, _REASON_LIMIT) != text
            # The reason first, so that a run that is killed between the two leaves no file without one.
            folder.write(reason, text, 0o600)
            source.move(name, folder, fault.filename, 0o600)
        return is_new

    def find(self, filename: str, sha256: str) -> bytes | None:
        """Return the file of this name if it has this hash, so that it can be examined without a download."""
        with open_folder(self._path) as folder:
            try:
                data = folder.read(filename, FILE_LIMIT)
            except OSError:
                return None
        return data if data is not None and hashlib.sha256(data).hexdigest() == sha256 else None

    def remove(self, filename: str) -> None:
        """Remove a file and its reason, because the mirror has a good one now."""
        with open_folder(self._path) as folder:
            for name in {filename, f"{filename}{REASON}"} & set(folder.names()):
                folder.remove(name)
