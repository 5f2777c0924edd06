# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""One archive of a mirror: whether it is there, how it gets there, and where it goes when something is wrong."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import shutil
import threading
from pathlib import Path

from .._io import read_bounded
from .._server.download import FatalServerError, UnreachableServerError
from .._server.kernel_support import ServerError
from .._verify.patch_file import FILE_LIMIT, examine
from .._verify.trust import TrustAnchors
from .index import Index, MirroredPatch
from .listing import ListedPatch
from .quarantine import Fault, Quarantine
from .source import PatchSource

UNFINISHED = ".unfinished"
"""Folder for archives on their way."""

CHANGED = ".changed"
"""How the name ends under which an archive of the mirror is set aside that is not what it was."""

_IN_VAIN = 3
"""Archives in a row for which the server could not be reached. Then the others are not waited for."""


@dataclasses.dataclass(frozen=True, slots=True)
class Settled:
    """How it stands with one archive, or would.

    `patch` is its entry of the index, if the mirror has it. `news` tells that a file was put into quarantine which was
    not there before.
    """

    patch: MirroredPatch | None = None
    fetched: bool = False
    quarantined: Fault | None = None
    failed: Fault | None = None
    news: bool = False


class Settler:
    """Settles archives, several at a time. Its methods raise `OSError` for the mirror's own folders only."""

    def __init__(
        self,
        folder: Path,
        index: Index,
        source: PatchSource,
        anchors: TrustAnchors,
        quarantine: Quarantine,
        now: dt.datetime,
    ) -> None:
        self._folder = folder
        self._index = index
        self._source = source
        self._anchors = anchors
        self._quarantine = quarantine
        self._now = now
        self._way = _Way()

    def is_at_hand(self, patch: ListedPatch) -> bool:
        """Whether an archive is in the mirror and was verified."""
        held = self._index.patches.get(patch.filename)
        data = _content(self._folder / patch.filename)
        return held is not None and data is not None and held.sha256 == patch.sha256 == _sha256(data)

    def settle_wanted(self, patch: ListedPatch) -> Settled:
        """See to it that an archive of the source is in the mirror."""
        path = self._folder / patch.filename
        held = self._index.patches.get(patch.filename)
        data = _content(path)
        if data is None:
            return self._fetch(patch)
        actual = _sha256(data)
        verified = held is not None and held.sha256 == actual
        if held is not None and verified and actual == patch.sha256:
            return Settled(dataclasses.replace(held, tier=patch.tier))
        if actual == patch.sha256:
            # A run that was ended had brought it, or somebody has put it there.
            return self._admit(patch, path, data)
        if verified:
            settled = self._fetch(patch)
            # What was good before is served on.
            return settled if settled.patch else dataclasses.replace(settled, patch=held)
        aside = self._set_aside_changed(path, patch.filename)
        settled = self._fetch(patch)
        return (
            settled if settled.quarantined else dataclasses.replace(settled, quarantined=aside.quarantined, news=True)
        )

    def settle_kept(self, held: MirroredPatch) -> Settled:
        """See to it that an archive which the source does not have is still what it was."""
        path = self._folder / held.filename
        data = _content(path)
        if data is None:
            missing = "it is gone from the mirror, and the source does not have it any more"
            return Settled(failed=Fault(held.filename, "missing", missing))
        return Settled(held) if _sha256(data) == held.sha256 else self._set_aside_changed(path, held.filename)

    def settle_stray(self, filename: str) -> Settled:
        """Take away an archive that neither the index nor the source names."""
        return self._set_aside(self._folder / filename, stray_fault(filename))

    def _fetch(self, patch: ListedPatch) -> Settled:
        part = self._folder / UNFINISHED / unfinished_name(patch)
        suspect = self._quarantine.holds(patch.filename, patch.sha256)
        actual = None
        # What a run before has left may be of another file, and a way may spoil what it carries once.
        for last in (False, True):
            try:
                if suspect is None:
                    self._bring(patch, part)
                else:
                    shutil.copyfile(suspect, part)
                data = read_bounded(str(part), FILE_LIMIT)
            except ServerError as error:
                return Settled(failed=Fault(patch.filename, "not_fetched", str(error)))
            except OSError as error:
                reason = f"it cannot be read: {error.strerror or error}"
                return Settled(failed=Fault(patch.filename, "not_fetched", reason))
            actual = _sha256(data)
            if actual == patch.sha256:
                return self._admit(patch, part, data)
            if not last:
                part.unlink()
        reason = f"its SHA-256 is {actual} and must be {patch.sha256}"
        return self._set_aside(part, Fault(patch.filename, "wrong_hash", reason), patch.sha256)

    def _bring(self, patch: ListedPatch, part: Path) -> None:
        self._way.check()
        try:
            self._source.bring(patch, part)
        except ServerError as error:
            self._way.failed(error)
            raise
        self._way.worked()

    def _admit(self, patch: ListedPatch, path: Path, data: bytes) -> Settled:
        """Verify a file that has the right hash, with this content, and put it in its place."""
        found = examine(data, patch.filename, self._anchors, now=self._now, kernel=None)
        if not found.valid:
            return self._set_aside(path, Fault(patch.filename, found.verdict, found.reason), patch.sha256)
        path.replace(self._folder / patch.filename)
        self._quarantine.release(patch.filename)
        entry = MirroredPatch(
            filename=patch.filename,
            kernel=patch.name.kernel,
            version=patch.name.version,
            architecture=patch.name.architecture,
            tier=patch.tier,
            sha256=patch.sha256,
            size=len(data),
            build_id=found.build_id,
            srcversion=found.srcversion,
            signer=found.signer,
            key_id=found.key_id,
            fetched_at=self._now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        return Settled(entry, fetched=True)

    def _set_aside_changed(self, path: Path, filename: str) -> Settled:
        # Under a name of its own, so that what is fetched in its place does not replace it.
        fault = Fault(f"{filename}{CHANGED}", "changed", f"{filename} in the mirror is not what was verified")
        return self._set_aside(path, fault)

    def _set_aside(self, path: Path, fault: Fault, listed_sha256: str | None = None) -> Settled:
        return Settled(quarantined=fault, news=self._quarantine.take(path, fault, listed_sha256))


def unfinished_name(patch: ListedPatch) -> str:
    """Under which name an archive is on its way: another one for every content that is listed under its name."""
    return hashlib.sha256(f"{patch.filename} {patch.sha256}".encode()).hexdigest()


def stray_fault(filename: str) -> Fault:
    """What is said of an archive that is in the folder and that nothing accounts for."""
    return Fault(filename, "unknown", "neither the index of the mirror nor the source names it")


class _Way:
    """The way to the server, which all archives share: once it is lost, nobody has to find out again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_vain = 0
        self._lost: str | None = None

    def check(self) -> None:
        """Raises `ServerError` when it is lost."""
        if self._lost is not None:
            raise ServerError(f"it was not tried, after: {self._lost}")

    def worked(self) -> None:
        self._in_vain = 0

    def failed(self, error: ServerError) -> None:
        with self._lock:
            if isinstance(error, UnreachableServerError):
                self._in_vain += 1
            if self._in_vain >= _IN_VAIN or isinstance(error, FatalServerError):
                self._lost = self._lost or str(error)


def _content(path: Path) -> bytes | None:
    """The content of a file, ``None`` where there is none. Raises `OSError` for what is no file, or too large."""
    try:
        return read_bounded(str(path), FILE_LIMIT)
    except FileNotFoundError:
        return None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
