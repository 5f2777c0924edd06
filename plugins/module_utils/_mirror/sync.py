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
from pathlib import Path

from .._verify.archive import parse_archive_name
from .._verify.trust import TrustAnchors
from .archive_sync import UNFINISHED, Settled, Settler, stray_fault, unfinished_name
from .index import Index, MirroredPatch, read_index, write_index
from .listing import ListedPatch, Selection
from .plan import MirrorPlan, Retention, make_plan
from .quarantine import Fault, Quarantine
from .source import PatchSource

_LOCK = ".lock"


class MirrorBusyError(Exception):
    """Another run is at work on the same mirror."""


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
    quarantined: list[Fault]
    failed: list[Fault]


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
        Settled(dataclasses.replace(before.patches[patch.filename], tier=patch.tier))
        if here
        else Settled(_expected(patch), fetched=True)
        for patch, here in zip(plan.wanted, at_hand, strict=True)
    ]
    settled += [Settled(patch) for patch in plan.kept]
    surplus, strays = _strays(task.folder, plan, before, listed)
    settled += [Settled(quarantined=stray_fault(name), news=True) for name in strays]
    after = Index({one.patch.filename: one.patch for one in settled if one.patch})
    changed = bool(surplus) or any(one.news or one.fetched for one in settled)
    return _outcome(before, after, settled, plan.pruned, changed=changed)


def _plan(task: MirrorTask, listed: list[ListedPatch], index: Index) -> MirrorPlan:
    return make_plan(listed, index, task.selection, task.retention, now=task.now, allow_downgrade=task.allow_downgrade)


def _settler(task: MirrorTask, index: Index) -> Settler:
    return Settler(task.folder, index, task.source, task.anchors, Quarantine(task.quarantine), task.now)


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


def _spared(plan: MirrorPlan, index: Index, settled: c.Iterable[Settled]) -> list[MirroredPatch]:
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
    before: Index, after: Index, settled: c.Collection[Settled], pruned: c.Iterable[str], *, changed: bool
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
            raise MirrorBusyError(f"another run is at work on {folder}") from error
        yield
