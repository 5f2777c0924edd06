# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The quarantine of a mirror: a folder for archives that must not be served, each with a file that gives the reason."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

from .._io import read_bounded
from .._verify.patch_file import FILE_LIMIT

REASON = ".reason.json"
"""Suffix of the file with the reason."""


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
    """The folder. Only its owner can read it, so that no web server serves it. Methods raise `OSError`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, path: Path, fault: ArchiveFault, listed_sha256: str | None) -> bool:
        """Move a file here, in place of an earlier one of its name. Return True if file or reason are new."""
        data = read_bounded(str(path), FILE_LIMIT)
        details = {
            **dataclasses.asdict(fault),
            "sha256": hashlib.sha256(data).hexdigest(),
            "listed_sha256": listed_sha256,
        }
        text = json.dumps(details, indent=1) + "\n"
        reason = self.folder / f"{fault.filename}{REASON}"
        is_new = not reason.exists() or reason.read_text(encoding="utf-8", errors="replace") != text
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The reason first, so that a run that is killed between the two leaves no file without one.
        reason.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        shutil.move(path, self.folder / fault.filename)
        return is_new

    def find(self, filename: str, sha256: str) -> Path | None:
        """Return the file of this name if it has this hash, so that it can be examined without a download."""
        path = self.folder / filename
        try:
            data = read_bounded(str(path), FILE_LIMIT)
        except OSError:
            return None
        return path if hashlib.sha256(data).hexdigest() == sha256 else None

    def remove(self, filename: str) -> None:
        """Remove a file and its reason, because the mirror has a good one now."""
        (self.folder / filename).unlink(missing_ok=True)
        (self.folder / f"{filename}{REASON}").unlink(missing_ok=True)
