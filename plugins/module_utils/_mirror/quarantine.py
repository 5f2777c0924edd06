# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The folder for archives that must not be served: each with a file beside it that says why."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

from .._io import read_bounded
from .._verify.patch_file import FILE_LIMIT

REASON = ".reason.json"
"""How the name of the file with the reason ends."""


@dataclasses.dataclass(frozen=True, slots=True)
class Quarantined:
    """What is wrong with an archive: a verdict of `PatchFile`, ``wrong_hash`` or ``unknown``, and a sentence."""

    filename: str
    verdict: str
    reason: str


class Quarantine:
    """The folder. Only its owner can read it, so that no web server does. Methods raise `OSError`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, path: Path, fault: Quarantined, listed_sha256: str | None) -> bool:
        """Move a file here with its reason, in place of an earlier one of the name; tell whether that is news."""
        data = read_bounded(str(path), FILE_LIMIT)
        said = {
            **dataclasses.asdict(fault),
            "sha256": hashlib.sha256(data).hexdigest(),
            "listed_sha256": listed_sha256,
        }
        text = json.dumps(said, indent=1) + "\n"
        reason = self.folder / f"{fault.filename}{REASON}"
        news = not reason.exists() or reason.read_text(encoding="utf-8", errors="replace") != text
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The reason first: a file without one would say nothing, should this be ended between the two.
        reason.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        shutil.move(path, self.folder / fault.filename)
        return news

    def holds(self, filename: str, sha256: str) -> Path | None:
        """The file of this name, if it has just this content: it need not be fetched to be looked at again."""
        path = self.folder / filename
        try:
            data = read_bounded(str(path), FILE_LIMIT)
        except OSError:
            return None
        return path if hashlib.sha256(data).hexdigest() == sha256 else None

    def release(self, filename: str) -> None:
        """Forget a file and its reason, since a good one has come."""
        (self.folder / filename).unlink(missing_ok=True)
        (self.folder / f"{filename}{REASON}").unlink(missing_ok=True)
