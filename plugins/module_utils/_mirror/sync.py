# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A mirror of patches: a folder in which every archive was verified, and that is complete when its index says so.

An archive is received under another name, verified, and renamed; the index is written when all archives are there, and
only then are files removed that it does not name any more. So a run that is ended at any point leaves nothing that
should not be served, and the next one goes on where it was.
"""

from __future__ import annotations

import collections.abc as c
import concurrent.futures
import contextlib
import dataclasses
import datetime as dt
import fcntl
import hashlib
import shutil
import threading
from pathlib import Path

from .._errors import LivepatchError
from .._io import read_bounded
from .._server.download import FatalServerError, ServerError, UnreachableServerError
from .._time import format_time
from .._verify.archive import parse_archive_name
from .._verify.patch_file import FILE_LIMIT, examine
from .._verify.trust import TrustAnchors
from .index import Index, MirroredPatch, read_index, write_index
from .listing import ListedPatch, Selection
from .plan import MirrorPlan, Retention, make_plan
from .quarantine import Quarantine, Quarantined
from .source import PatchSource

_LOCK = ".lock"


class MirrorBusyError(LivepatchError):
    """Another run works on the same mirror."""

    def __init__(self, folder: Path) -> None:
        super().__init__("busy", f"another run works on {folder}", "wait until the other run has finished")


@dataclasses.dataclass(frozen=True, slots=True)
class MirrorTask:
    """What is asked of a run: `now` is aware, `parallel` the number of archives that are worked on at a time."""

    folder: Path
    quarantine: Path
    source: PatchSource
    anchors: TrustAnchors
    selection: Selection
    retention: Retention
    allow_downgrade: bool
    parallel: int
    now: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did, or would do: names of archives, in their order.

    What is `quarantined` was brought, or found in the mirror, and must not be served; what `failed` could not be had.
    Of both, the mirror may still have the content that it had before.
    """

    changed: bool
    before: Index
    after: Index
    fetched: list[str]
    kept: list[str]
    pruned: list[str]
    quarantined: list[Quarantined]
    failed: list[Quarantined]


def run_mirror(task: MirrorTask) -> Outcome:
    """Bring the mirror to what the source has.

    Raises `MirrorBusyError`, `MirrorIndexError`, `DowngradeError`, `PatchListError`, `ServerError` (for the list) and
    `OSError` (for folders of one's own). What is wrong with single archives is in the outcome.
    """
    task.folder.mkdir(parents=True, exist_ok=True)
    with _alone(task.folder):
        before = read_index(task.folder)
        listed = task.source.patches()
        plan = _plan(task, listed, before)
        (task.folder / UNFINISHED).mkdir(mode=0o700, exist_ok=True)
        settler = _settler(task, before)
        # First these, since they are served until they are gone.
        surplus, strays = _strays(task.folder, plan, before, listed)
        for name in surplus:
            (task.folder / name).unlink()
        settled = [settler.settle_stray(name) for name in strays]
        with concurrent.futures.ThreadPoolExecutor(task.parallel) as pool:
            settled += pool.map(settler.settle_wanted, plan.wanted)
            settled += pool.map(settler.settle_kept, [*plan.kept, *_spared(plan, before, settled)])
        after = Index({one.patch.filename: one.patch for one in settled if one.patch})
        pruned = _put_index(task.folder, plan, before, after)
        _clear_unfinished(task.folder, plan)
    changed = bool(surplus) or any(one.news or one.fetched for one in settled)
    return _outcome(before, after, settled, pruned, changed=changed)


def predict_mirror(task: MirrorTask) -> Outcome:
    """What a run would do, as far as it can be known without bringing an archive. Raises what `run_mirror` raises."""
    before = read_index(task.folder)
    listed = task.source.patches()
    plan = _plan(task, listed, before)
    settler = _settler(task, before)
    with concurrent.futures.ThreadPoolExecutor(task.parallel) as pool:
        at_hand = list(pool.map(settler.is_at_hand, plan.wanted))
    settled = [
        SyncedArchive(dataclasses.replace(before.patches[patch.filename], tier=patch.tier))
        if here
        else SyncedArchive(_expected(patch), fetched=True)
        for patch, here in zip(plan.wanted, at_hand, strict=True)
    ]
    settled += [SyncedArchive(patch) for patch in plan.kept]
    surplus, strays = _strays(task.folder, plan, before, listed)
    settled += [SyncedArchive(quarantined=stray_fault(name), news=True) for name in strays]
    after = Index({one.patch.filename: one.patch for one in settled if one.patch})
    changed = bool(surplus) or any(one.news or one.fetched for one in settled)
    return _outcome(before, after, settled, plan.pruned, changed=changed)


def _plan(task: MirrorTask, listed: list[ListedPatch], index: Index) -> MirrorPlan:
    return make_plan(listed, index, task.selection, task.retention, now=task.now, allow_downgrade=task.allow_downgrade)


def _settler(task: MirrorTask, index: Index) -> ArchiveSync:
    return ArchiveSync(task.folder, index, task.source, task.anchors, Quarantine(task.quarantine), task.now)


def _expected(patch: ListedPatch) -> MirroredPatch:
    """The entry of an archive that was not looked at yet."""
    name = patch.name
    unknown = (None, None, None, None)
    return MirroredPatch(
        patch.filename, name.kernel, name.version, name.architecture, patch.tier, patch.sha256, 0, *unknown, ""
    )


def _strays(
    folder: Path, plan: MirrorPlan, index: Index, listed: c.Iterable[ListedPatch]
) -> tuple[list[str], list[str]]:
    """Archives in the folder that have no place there: those that are known and not wanted, and unknown ones."""
    known = {patch.filename for patch in listed} | set(index.leaving)
    placed = {patch.filename for patch in plan.wanted} | set(index.patches)
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    strays = [name for name in there if parse_archive_name(name) is not None and name not in placed]
    return [name for name in strays if name in known], [name for name in strays if name not in known]


def _spared(plan: MirrorPlan, index: Index, settled: c.Iterable[SyncedArchive]) -> list[MirroredPatch]:
    """What was to be pruned and stays, since of the patches that replace it one is not there."""
    there = {one.patch.filename for one in settled if one.patch}
    lacking = {patch.target for patch in plan.wanted if patch.filename not in there}
    return [index.patches[name] for name in plan.pruned if index.patches[name].listed.target in lacking]


def _put_index(folder: Path, plan: MirrorPlan, before: Index, after: Index) -> list[str]:
    """Write the index where it differs, and remove what it does not name any more. Returns the names of that."""
    pruned = [name for name in plan.pruned if name not in after.patches]
    leaving = tuple(name for name in pruned if (folder / name).exists())
    if dataclasses.replace(after, leaving=leaving).text() != before.text() or not before.patches:
        write_index(folder, dataclasses.replace(after, leaving=leaving))
    for name in leaving:
        (folder / name).unlink()
    if leaving:
        write_index(folder, after)
    return pruned


def _clear_unfinished(folder: Path, plan: MirrorPlan) -> None:
    """Keep what the next run can go on with."""
    wanted = {unfinished_name(patch) for patch in plan.wanted}
    for path in (folder / UNFINISHED).iterdir():
        if path.name not in wanted:
            path.unlink()
    with contextlib.suppress(OSError):
        (folder / UNFINISHED).rmdir()


def _outcome(
    before: Index, after: Index, settled: c.Collection[SyncedArchive], pruned: c.Iterable[str], *, changed: bool
) -> Outcome:
    fetched = sorted(one.patch.filename for one in settled if one.fetched and one.patch)
    quarantined = [one.quarantined for one in settled if one.quarantined]
    failed = [one.failed for one in settled if one.failed]
    return Outcome(
        changed=changed or before.text() != after.text(),
        before=before,
        after=after,
        fetched=fetched,
        kept=sorted(set(after.patches) - set(fetched)),
        pruned=sorted(pruned),
        quarantined=sorted(quarantined, key=lambda fault: fault.filename),
        failed=sorted(failed, key=lambda fault: fault.filename),
    )


@contextlib.contextmanager
def _alone(folder: Path) -> c.Iterator[None]:
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MirrorBusyError(folder) from error
        yield


UNFINISHED = ".unfinished"
"""Folder for archives on their way."""

CHANGED = ".changed"
"""How the name ends under which an archive of the mirror is set aside that is not what it was."""

_IN_VAIN = 3
"""Archives in a row for which the server could not be reached. Then the others are not waited for."""


@dataclasses.dataclass(frozen=True, slots=True)
class SyncedArchive:
    """How it stands with one archive, or would.

    `patch` is its entry of the index, if the mirror has it. `news` tells that a file was put into quarantine which was
    not there before.
    """

    patch: MirroredPatch | None = None
    fetched: bool = False
    quarantined: Quarantined | None = None
    failed: Quarantined | None = None
    news: bool = False


class ArchiveSync:
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
        self._way = _CircuitBreaker()

    def is_at_hand(self, patch: ListedPatch) -> bool:
        """Whether an archive is in the mirror and was verified."""
        held = self._index.patches.get(patch.filename)
        data = _content(self._folder / patch.filename)
        return held is not None and data is not None and held.sha256 == patch.sha256 == _sha256(data)

    def settle_wanted(self, patch: ListedPatch) -> SyncedArchive:
        """See to it that an archive of the source is in the mirror."""
        path = self._folder / patch.filename
        held = self._index.patches.get(patch.filename)
        data = _content(path)
        if data is None:
            return self._fetch(patch)
        actual = _sha256(data)
        verified = held is not None and held.sha256 == actual
        if held is not None and verified and actual == patch.sha256:
            return SyncedArchive(dataclasses.replace(held, tier=patch.tier))
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

    def settle_kept(self, held: MirroredPatch) -> SyncedArchive:
        """See to it that an archive which the source does not have is still what it was."""
        path = self._folder / held.filename
        data = _content(path)
        if data is None:
            missing = "it is gone from the mirror, and the source does not have it any more"
            return SyncedArchive(failed=Quarantined(held.filename, "missing", missing))
        return SyncedArchive(held) if _sha256(data) == held.sha256 else self._set_aside_changed(path, held.filename)

    def settle_stray(self, filename: str) -> SyncedArchive:
        """Take away an archive that neither the index nor the source names."""
        return self._set_aside(self._folder / filename, stray_fault(filename))

    def _fetch(self, patch: ListedPatch) -> SyncedArchive:
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
                return SyncedArchive(failed=Quarantined(patch.filename, "not_fetched", str(error)))
            except OSError as error:
                reason = f"it cannot be read: {error.strerror or error}"
                return SyncedArchive(failed=Quarantined(patch.filename, "not_fetched", reason))
            actual = _sha256(data)
            if actual == patch.sha256:
                return self._admit(patch, part, data)
            if not last:
                part.unlink()
        reason = f"its SHA-256 is {actual} and must be {patch.sha256}"
        return self._set_aside(part, Quarantined(patch.filename, "wrong_hash", reason), patch.sha256)

    def _bring(self, patch: ListedPatch, part: Path) -> None:
        self._way.check()
        try:
            self._source.bring(patch, part)
        except ServerError as error:
            self._way.failed(error)
            raise
        self._way.worked()

    def _admit(self, patch: ListedPatch, path: Path, data: bytes) -> SyncedArchive:
        """Verify a file that has the right hash, with this content, and put it in its place."""
        found = examine(data, patch.filename, self._anchors, now=self._now, kernel=None)
        if not found.valid:
            return self._set_aside(path, Quarantined(patch.filename, found.verdict, found.reason), patch.sha256)
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
            fetched_at=format_time(self._now),
        )
        return SyncedArchive(entry, fetched=True)

    def _set_aside_changed(self, path: Path, filename: str) -> SyncedArchive:
        # Under a name of its own, so that what is fetched in its place does not replace it.
        fault = Quarantined(f"{filename}{CHANGED}", "changed", f"{filename} in the mirror is not what was verified")
        return self._set_aside(path, fault)

    def _set_aside(self, path: Path, fault: Quarantined, listed_sha256: str | None = None) -> SyncedArchive:
        return SyncedArchive(quarantined=fault, news=self._quarantine.take(path, fault, listed_sha256))


def unfinished_name(patch: ListedPatch) -> str:
    """Under which name an archive is on its way: another one for every content that is listed under its name."""
    return hashlib.sha256(f"{patch.filename} {patch.sha256}".encode()).hexdigest()


def stray_fault(filename: str) -> Quarantined:
    """What is said of an archive that is in the folder and that nothing accounts for."""
    return Quarantined(filename, "unknown", "neither the index of the mirror nor the source names it")


class _CircuitBreaker:
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
