# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The archives that an index names, as they are found in the folder, and a private cache of their verification.

The index is public and can have been copied from elsewhere, so an entry of it proves nothing. An archive counts as
verified only if it was verified with the same trusted keys before, and neither its file nor its entry has changed since
then. The cache names files by inode and time of the last change of it, which no user can choose, so a copied or forged
cache does not match.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime as dt
import hashlib
import json

from .._verify.patch_file import FILE_LIMIT, PatchFile, examine
from .._verify.trust import TrustAnchors
from .folder import Folder
from .index import Index, MirroredPatch
from .quarantine import ArchiveFault

VERIFIED = ".verified.json"
"""File with the cache. Only its owner can read it."""

_SCHEMA = "kernelops.livepatch/mirror-verification/1"
"""Change the number if archives must be verified by new rules."""

_LIMIT = 16 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class MirroredFile:
    """An archive of the index. `sha256` is that of its file, ``None`` without one.

    `fault` is set if the content is the one that the index names, and fails the verification.
    """

    patch: MirroredPatch
    sha256: str | None
    fault: ArchiveFault | None = None

    @property
    def verified(self) -> bool:
        """Return True if the file is the one that the index names, and was verified with the present trusted keys."""
        return self.sha256 == self.patch.sha256 and self.fault is None


class Verifier:
    """Verifies the archives of an index, each only once for the same trusted keys. Methods raise `OSError`."""

    def __init__(self, folder: Folder, anchors: TrustAnchors, now: dt.datetime) -> None:
        self._folder = folder
        self._anchors = anchors
        self._now = now
        self._known = self._read()

    def check(self, patch: MirroredPatch) -> MirroredFile:
        """Find the file of an entry, and verify it unless the cache shows that this was done."""
        data = self._folder.read(patch.filename, FILE_LIMIT)
        if data is None:
            return MirroredFile(patch, None)
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 != patch.sha256 or self._known.get(patch.filename) == self._digest(patch):
            return MirroredFile(patch, sha256)
        found = examine(data, patch.filename, self._anchors, now=self._now, kernel=None)
        if not found.valid:
            return MirroredFile(patch, sha256, ArchiveFault(patch.filename, found.verdict, found.reason))
        return MirroredFile(with_facts(patch, found, len(data)), sha256)

    def remember(self, index: Index) -> None:
        """Store that all archives of an index are verified, if this is new."""
        verified = {name: self._digest(patch) for name, patch in index.patches.items()}
        if verified != self._known:
            document = {"schema": _SCHEMA, "trust": self._anchors.digest, "verified": verified}
            self._folder.write(VERIFIED, (json.dumps(document, indent=1) + "\n").encode(), 0o600)

    def _digest(self, patch: MirroredPatch) -> str:
        identity = [dataclasses.asdict(patch), self._folder.identity(patch.filename)]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def _read(self) -> c.Mapping[str, str]:
        data = self._folder.read_private(VERIFIED, _LIMIT)
        try:
            document = json.loads(data or b"{}")
        except (ValueError, RecursionError):
            return {}
        if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
            return {}
        verified = document.get("verified")
        return verified if document.get("trust") == self._anchors.digest and isinstance(verified, dict) else {}


def with_facts(patch: MirroredPatch, found: PatchFile, size: int) -> MirroredPatch:
    """Return an entry with the facts of a verified archive."""
    return dataclasses.replace(
        patch,
        size=size,
        build_id=found.build_id,
        srcversion=found.srcversion,
        signer=found.signer,
        key_id=found.key_id,
    )
