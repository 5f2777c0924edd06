# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A mirror of live patches: a folder of verified archives that is complete when its index is written.

An archive is received under another name, verified, and renamed. The index is written when all archives are in place,
and only then are files removed that it no longer names. So a run that is killed at any point leaves nothing that must
not be served, and the next run continues it.

All files of the mirror are accessed through its `Folder`, because other users may have had access to it.
"""

from __future__ import annotations

import collections.abc as c
import concurrent.futures
import contextlib
import dataclasses
import datetime as dt
import hashlib
import threading
import typing as t
from pathlib import Path

from .._errors import LivepatchError
from .._server.download import FatalServerError, ServerError, UnreachableServerError
from .._time import format_time
from .._verify.archive import parse_archive_name
from .._verify.patch_file import FILE_LIMIT, PatchFile, examine
from .._verify.trust import TrustAnchors
from .folder import Folder, open_folder
from .index import Index, MirroredPatch, read_index, write_index
from .listing import ListedPatch, PatchList, Selection
from .plan import MirrorPlan, Retention, make_plan
from .quarantine import ArchiveFault, Quarantine
from .source import PatchSource
from .verification import MirroredFile, Verifier, with_facts

_LOCK = ".lock"

UNFINISHED = ".unfinished"
"""Folder for archives that are being received."""

CHANGED = ".changed"
"""Suffix under which an archive of the mirror is quarantined that is no longer the one that was verified."""

_FAILURE_LIMIT = 3
"""Archives in a row for which the server was unreachable, before all others fail at once."""


class MirrorBusyError(LivepatchError):
    """Another run works on the same mirror."""

    def __init__(self, folder: Path) -> None:
        super().__init__("busy", f"another run works on {folder}", "wait until the other run has finished")


@dataclasses.dataclass(frozen=True, slots=True)
class MirrorTask:
    """The options of a run. `now` is aware; `parallel` is the number of archives that are processed at a time."""

    folder: Path
    quarantine: Path
    source: PatchSource
    anchors: TrustAnchors
    selection: Selection
    retention: Retention
    allow_downgrade: bool
    parallel: int
    now: dt.datetime
    max_list_age: dt.timedelta | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a run, or its prediction: names of archives, sorted.

    Archives that are `quarantined` were received, or found in the mirror, and must not be served. Those that `failed`
    could not be copied. For both, the mirror may still serve the content that it had before. `list_age` is ``None`` if
    the source gives no time for its list.
    """

    changed: bool
    before: Index
    after: Index
    fetched: list[str]
    kept: list[str]
    pruned: list[str]
    quarantined: list[ArchiveFault]
    failed: list[ArchiveFault]
    list_age: dt.timedelta | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class SyncedArchive:
    """The result for one archive, or its prediction.

    `patch` is its entry of the index, if the mirror has it. `newly_quarantined` is true for a file that was not in
    quarantine before.
    """

    patch: MirroredPatch | None = None
    fetched: bool = False
    quarantined: ArchiveFault | None = None
    failed: ArchiveFault | None = None
    newly_quarantined: bool = False


def run_mirror(task: MirrorTask) -> Outcome:
    """Copy the archives of the source into the mirror.

    Raises `LivepatchError` (`MirrorBusyError`, `MirrorIndexError`, `UnsafeFolderError`, `DowngradeError`, and
    `OldListError`, `PatchListError` and `ServerError` for the list), and `OSError` for the mirror's own folders. Faults
    of single archives are in the outcome.
    """
    with open_folder(task.folder, create=True) as folder, _locked(folder):
        folder.remove_temporary_files()
        quarantine = Quarantine(task.quarantine)
        quarantine.check()
        before = read_index(folder)
        verifier = Verifier(folder, task.anchors, task.now)
        with concurrent.futures.ThreadPoolExecutor(task.parallel) as pool:
            files = dict(zip(before.patches, pool.map(verifier.check, before.patches.values()), strict=True))
        listing = _read_list(task)
        listed = listing.patches
        plan = _plan(task, listed, _verified(files))
        with folder.subfolder(UNFINISHED) as unfinished:
            archives = ArchiveSync(task, folder, unfinished, files, quarantine)
            # First these, because they are served until they are removed.
            surplus, unknown = _unexpected(folder, plan, before, listed)
            for name in surplus:
                folder.remove(name)
            results = [archives.quarantine_unknown(name) for name in unknown]
            with concurrent.futures.ThreadPoolExecutor(task.parallel) as pool:
                results += pool.map(archives.sync_wanted, plan.wanted)
                kept = [patch.filename for patch in (*plan.kept, *_not_replaced(plan, before, results))]
                results += pool.map(archives.check_kept, [*kept, *_unproven(files, plan)])
            results = archives.refuse_renamed(results)
            after = Index({result.patch.filename: result.patch for result in results if result.patch})
            pruned = _commit(folder, plan, before, after)
            verifier.remember(after)
            _remove_unfinished(unfinished, plan)
        folder.remove_subfolder(UNFINISHED)
    outcome = _outcome(before, after, results, pruned, changed=bool(surplus))
    return dataclasses.replace(outcome, list_age=listing.age(task.now))


def predict_mirror(task: MirrorTask) -> Outcome:
    """Predict the outcome of a run, as far as this is possible without a download. Raises as `run_mirror`."""
    with open_folder(task.folder) as folder:
        Quarantine(task.quarantine).check()
        before = read_index(folder)
        verifier = Verifier(folder, task.anchors, task.now)
        with concurrent.futures.ThreadPoolExecutor(task.parallel) as pool:
            files = dict(zip(before.patches, pool.map(verifier.check, before.patches.values()), strict=True))
        listing = _read_list(task)
        listed = listing.patches
        plan = _plan(task, listed, _verified(files))
        surplus, unknown = _unexpected(folder, plan, before, listed)
    results = [_predicted(patch, files.get(patch.filename)) for patch in plan.wanted]
    results += [SyncedArchive(patch) for patch in plan.kept]
    results += [
        SyncedArchive(quarantined=fault, newly_quarantined=True) if fault else SyncedArchive(failed=_missing(name))
        for name in _unproven(files, plan)
        for fault in [_fault(files[name])]
    ]
    results += [SyncedArchive(quarantined=unknown_archive(name), newly_quarantined=True) for name in unknown]
    after = Index({result.patch.filename: result.patch for result in results if result.patch})
    outcome = _outcome(before, after, results, plan.pruned, changed=bool(surplus))
    return dataclasses.replace(outcome, list_age=listing.age(task.now))


def _read_list(task: MirrorTask) -> PatchList:
    listing = task.source.read()
    listing.check_age(task.now, task.max_list_age)
    return listing


def _plan(task: MirrorTask, listed: c.Iterable[ListedPatch], index: Index) -> MirrorPlan:
    return make_plan(listed, index, task.selection, task.retention, now=task.now, allow_downgrade=task.allow_downgrade)


def _verified(files: c.Mapping[str, MirroredFile]) -> Index:
    """Return the index of the archives that are verified: only these decide what is pruned or is a downgrade."""
    return Index({name: file.patch for name, file in files.items() if file.verified})


def _unproven(files: c.Mapping[str, MirroredFile], plan: MirrorPlan) -> list[str]:
    """Return the archives of the index that are not verified, and that the source does not replace."""
    wanted = {patch.filename for patch in plan.wanted}
    return [name for name, file in files.items() if not file.verified and name not in wanted]


def _fault(file: MirroredFile) -> ArchiveFault | None:
    """Return the reason to quarantine the file of an entry that is not verified, ``None`` without a file."""
    if file.fault is not None or file.sha256 is None:
        return file.fault
    name = file.patch.filename
    return _changed(name)


def _changed(filename: str) -> ArchiveFault:
    # Under another name, so that a file that is fetched to replace it does not replace it in quarantine too.
    reason = f"{filename} in the mirror is not the file that was verified"
    return ArchiveFault(f"{filename}{CHANGED}", "changed", reason)


def _missing(filename: str) -> ArchiveFault:
    return ArchiveFault(filename, "missing", "it is missing in the mirror, and the source no longer has it")


def _predicted(patch: ListedPatch, file: MirroredFile | None) -> SyncedArchive:
    if file is not None and file.verified and file.sha256 == patch.sha256:
        return SyncedArchive(dataclasses.replace(file.patch, tier=patch.tier))
    return SyncedArchive(_expected(patch), fetched=True)


def _expected(patch: ListedPatch) -> MirroredPatch:
    """Return the entry of an archive that has not been verified yet."""
    name = patch.name
    unknown = (None, None, None, None)
    return MirroredPatch(
        patch.filename, name.kernel, name.version, name.architecture, patch.tier, patch.sha256, 0, *unknown, ""
    )


def _unexpected(
    folder: Folder, plan: MirrorPlan, index: Index, listed: c.Iterable[ListedPatch]
) -> tuple[list[str], list[str]]:
    """Return archives in the folder that do not belong there: those that are known and not wanted, and unknown ones."""
    known = {patch.filename for patch in listed} | set(index.leaving)
    expected = {patch.filename for patch in plan.wanted} | set(index.patches)
    unexpected = [name for name in folder.names() if parse_archive_name(name) is not None and name not in expected]
    return [name for name in unexpected if name in known], [name for name in unexpected if name not in known]


def _not_replaced(plan: MirrorPlan, index: Index, results: c.Iterable[SyncedArchive]) -> list[MirroredPatch]:
    """Return archives that were to be pruned and stay, because one of those that replace them is not in the mirror."""
    present = {result.patch.filename for result in results if result.patch}
    incomplete = {patch.target for patch in plan.wanted if patch.filename not in present}
    return [index.patches[name] for name in plan.pruned if index.patches[name].listed.target in incomplete]


def _commit(folder: Folder, plan: MirrorPlan, before: Index, after: Index) -> list[str]:
    """Write the index if it has changed, remove the files that it no longer names, and return their names."""
    pruned = [name for name in plan.pruned if name not in after.patches]
    present = set(folder.names())
    leaving = tuple(name for name in pruned if name in present)
    # An index must not name archives that a power failure removes.
    folder.flush()
    if dataclasses.replace(after, leaving=leaving).text() != before.text() or not before.patches:
        write_index(folder, dataclasses.replace(after, leaving=leaving))
    for name in leaving:
        folder.remove(name)
    if leaving:
        write_index(folder, after)
    return pruned


def _remove_unfinished(unfinished: Folder, plan: MirrorPlan) -> None:
    """Remove unfinished archives, except those that the next run can continue."""
    wanted = {unfinished_name(patch) for patch in plan.wanted}
    for name in unfinished.names():
        if name not in wanted or unfinished.is_empty(name):
            unfinished.remove(name)


def _outcome(
    before: Index, after: Index, results: c.Collection[SyncedArchive], pruned: c.Iterable[str], *, changed: bool
) -> Outcome:
    fetched = sorted(result.patch.filename for result in results if result.fetched and result.patch)
    quarantined = [result.quarantined for result in results if result.quarantined]
    failed = [result.failed for result in results if result.failed]
    changed = changed or any(result.newly_quarantined or result.fetched for result in results)
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
def _locked(folder: Folder) -> c.Iterator[None]:
    with folder.locked(_LOCK, seconds=0) as is_locked:
        if not is_locked:
            raise MirrorBusyError(folder.path)
        yield


class ArchiveSync:
    """Copies and checks archives, several at a time. Methods raise `OSError` for the mirror's own folders only."""

    def __init__(
        self,
        task: MirrorTask,
        folder: Folder,
        unfinished: Folder,
        files: c.Mapping[str, MirroredFile],
        quarantine: Quarantine,
    ) -> None:
        self._task = task
        self._folder = folder
        self._unfinished = unfinished
        self._files = files
        self._quarantine = quarantine
        self._breaker = _CircuitBreaker()

    def sync_wanted(self, patch: ListedPatch) -> SyncedArchive:
        """Make sure that an archive of the source is in the mirror."""
        file = self._files.get(patch.filename)
        if file is not None and file.verified:
            if file.sha256 == patch.sha256:
                return SyncedArchive(dataclasses.replace(file.patch, tier=patch.tier))
            result = self._fetch(patch, replaces=file.patch)
            # Until the new content is good, the old one is served.
            return result if result.patch else dataclasses.replace(result, patch=file.patch)
        data = self._folder.read(patch.filename, FILE_LIMIT)
        if data is None:
            return self._fetch(patch)
        if _sha256(data) == patch.sha256:
            # A run that was killed has received it, or an operator has put it there.
            return self._admit(patch, self._folder, patch.filename, data)
        changed = self._quarantine_changed(patch.filename, file.fault if file else None)
        result = self._fetch(patch)
        if result.quarantined:
            return result
        return dataclasses.replace(result, quarantined=changed.quarantined, newly_quarantined=True)

    def check_kept(self, filename: str) -> SyncedArchive:
        """Keep an archive which the source does not have if it is verified. Otherwise, quarantine it."""
        file = self._files[filename]
        if file.verified:
            return SyncedArchive(file.patch)
        fault = _fault(file)
        if fault is None:
            return SyncedArchive(failed=_missing(filename))
        return self._quarantine_file(self._folder, filename, fault)

    def refuse_renamed(self, results: c.Iterable[SyncedArchive]) -> list[SyncedArchive]:
        """Quarantine archives whose module is also in the mirror under an older version: they are old under a new name.

        Otherwise, a client would replace a newer patch of the same major version by it.
        """
        results = list(results)
        oldest: dict[tuple[str, str, str | None], MirroredPatch] = {}
        for patch in sorted((each.patch for each in results if each.patch), key=lambda each: each.listed.version_key):
            oldest.setdefault((patch.kernel, patch.architecture, patch.build_id), patch)
        return [self._refuse(result, oldest) for result in results]

    def _refuse(
        self, result: SyncedArchive, oldest: c.Mapping[tuple[str, str, str | None], MirroredPatch]
    ) -> SyncedArchive:
        patch = result.patch
        if patch is None or patch.build_id is None:
            return result
        older = oldest[patch.kernel, patch.architecture, patch.build_id]
        if older.listed.version_key == patch.listed.version_key:
            return result
        reason = f"its module has the build ID of {older.filename}, so it is an older patch under a new name"
        fault = ArchiveFault(patch.filename, "other_build", reason)
        return self._quarantine_file(self._folder, patch.filename, fault, patch.sha256)

    def quarantine_unknown(self, filename: str) -> SyncedArchive:
        """Quarantine an archive that neither the index nor the source names."""
        return self._quarantine_file(self._folder, filename, unknown_archive(filename))

    def _fetch(self, patch: ListedPatch, *, replaces: MirroredPatch | None = None) -> SyncedArchive:
        part = unfinished_name(patch)
        suspect = self._quarantine.find(patch.filename, patch.sha256)
        actual = None
        # Twice: the part of an earlier run can be of another file, and a transfer can damage a file once.
        for last in (False, True):
            try:
                data = self._receive(patch, part, suspect)
            except ServerError as error:
                return SyncedArchive(failed=ArchiveFault(patch.filename, "not_fetched", str(error)))
            except OSError as error:
                reason = f"it cannot be read: {error.strerror or error}"
                return SyncedArchive(failed=ArchiveFault(patch.filename, "not_fetched", reason))
            actual = _sha256(data)
            if actual == patch.sha256:
                return self._admit(patch, self._unfinished, part, data, replaces)
            if not last:
                self._unfinished.remove(part)
        reason = f"its SHA-256 is {actual} and must be {patch.sha256}"
        fault = ArchiveFault(patch.filename, "wrong_hash", reason)
        return self._quarantine_file(self._unfinished, part, fault, patch.sha256)

    def _receive(self, patch: ListedPatch, part: str, suspect: bytes | None) -> bytes:
        """Complete an unfinished file, from the source or with the content of a file in quarantine. Return it all."""
        with self._unfinished.open_unfinished(part) as file:
            if suspect is None:
                self._copy(patch, file)
            else:
                file.truncate(0)
                file.write(suspect)
        data = self._unfinished.read(part, FILE_LIMIT)
        return data or b""

    def _copy(self, patch: ListedPatch, file: t.BinaryIO) -> None:
        self._breaker.check()
        try:
            self._task.source.copy(patch, file)
        except ServerError as error:
            self._breaker.record_failure(error)
            raise
        self._breaker.record_success()

    def _admit(
        self, patch: ListedPatch, folder: Folder, name: str, data: bytes, replaces: MirroredPatch | None = None
    ) -> SyncedArchive:
        """Verify a file with the right hash and this content, and move it to its place."""
        found = examine(data, patch.filename, self._task.anchors, now=self._task.now, kernel=None)
        fault = None if found.valid else ArchiveFault(patch.filename, found.verdict, found.reason)
        if fault is None and replaces is not None and not self._task.allow_downgrade:
            fault = _other_build(found, replaces)
        if fault is not None:
            return self._quarantine_file(folder, name, fault, patch.sha256)
        folder.move(name, self._folder, patch.filename)
        self._quarantine.remove(patch.filename)
        entry = dataclasses.replace(_expected(patch), fetched_at=format_time(self._task.now))
        return SyncedArchive(with_facts(entry, found, len(data)), fetched=True)

    def _quarantine_changed(self, filename: str, fault: ArchiveFault | None) -> SyncedArchive:
        changed = _changed(filename)
        if fault is not None:
            changed = dataclasses.replace(fault, filename=changed.filename)
        return self._quarantine_file(self._folder, filename, changed)

    def _quarantine_file(
        self, folder: Folder, name: str, fault: ArchiveFault, listed_sha256: str | None = None
    ) -> SyncedArchive:
        is_new = self._quarantine.add(folder, name, fault, listed_sha256)
        return SyncedArchive(quarantined=fault, newly_quarantined=is_new)


def _other_build(found: PatchFile, replaces: MirroredPatch) -> ArchiveFault | None:
    """Return the fault of an archive that has the name of one in the mirror, and another module.

    A signature proves the major version only. So the module can be an older one of the same major version.
    """
    if found.build_id is not None and found.build_id == replaces.build_id:
        return None
    reason = (
        f"the mirror has another module under this name (build ID {replaces.build_id}), and this one (build ID "
        f"{found.build_id}) can be older; if this is intended, set allow_downgrade"
    )
    return ArchiveFault(replaces.filename, "other_build", reason)


def unfinished_name(patch: ListedPatch) -> str:
    """Return the name of the unfinished file of an archive, another one for every content listed under its name."""
    return hashlib.sha256(f"{patch.filename} {patch.sha256}".encode()).hexdigest()


def unknown_archive(filename: str) -> ArchiveFault:
    """Return the fault of an archive in the folder that is not expected there."""
    return ArchiveFault(filename, "unknown", "neither the index of the mirror nor the source names it")


class _CircuitBreaker:
    """A circuit breaker for the server, shared by all archives: after three unreachable downloads the others fail."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._open_reason: str | None = None

    def check(self) -> None:
        """Raise `ServerError` if the server must not be asked any more."""
        if self._open_reason is not None:
            raise ServerError(f"it was not tried, after: {self._open_reason}")

    def record_success(self) -> None:
        self._failures = 0

    def record_failure(self, error: ServerError) -> None:
        with self._lock:
            if isinstance(error, UnreachableServerError):
                self._failures += 1
            if self._failures >= _FAILURE_LIMIT or isinstance(error, FatalServerError):
                self._open_reason = self._open_reason or str(error)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
