# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The plan of a mirror run: which archives to copy, keep and prune."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime as dt

from .._errors import LivepatchError
from .index import Index, MirroredPatch
from .listing import ListedPatch, Selection


class DowngradeError(LivepatchError):
    """The source has only older patches than the mirror, and a downgrade is not allowed.

    `found` gives for each kernel and architecture the versions of the source and of the mirror.
    """

    def __init__(self, found: list[str]) -> None:
        self.found = found
        super().__init__(
            "downgrade_refused",
            f"the source has only older patches than the mirror: {'; '.join(found)}. Nothing was changed",
            "find out why the source has older patches; if this is intended, set allow_downgrade",
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Retention:
    """Which archives are pruned: of each kernel and architecture all but
    those of the newest `versions` major versions; and archives that the
    source no longer has, `days` after they were copied. ``None`` prunes none."""

    versions: int | None = None
    days: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class MirrorPlan:
    """`wanted` must be in the mirror, from the source; `kept` are the others that stay; `pruned` are removed."""

    wanted: tuple[ListedPatch, ...]
    kept: tuple[MirroredPatch, ...]
    pruned: tuple[str, ...]


def make_plan(
    source: c.Iterable[ListedPatch],
    index: Index,
    selection: Selection,
    retention: Retention,
    *,
    now: dt.datetime,
    allow_downgrade: bool,
) -> MirrorPlan:
    """Plan a run at an (aware) time. Raises `DowngradeError`.

    A downgrade is a source whose newest patch for a kernel is older than the newest of the mirror. If it is allowed,
    newer archives of the mirror are pruned.
    """
    listed = {patch.filename: patch for patch in source if selection.selects(patch)}
    mirrored = {name: patch.listed for name, patch in index.patches.items()}
    newer = _newer_than_source(listed.values(), mirrored.values())
    if newer and not allow_downgrade:
        raise DowngradeError([_describe(listed.values(), patch) for patch in newer])
    pruned = {patch.filename for patch in newer}
    pruned |= {name for name in mirrored if name not in listed and _expired(index.patches[name], retention, now)}
    remaining = [patch for name, patch in {**mirrored, **listed}.items() if name not in pruned]
    pruned |= {patch.filename for patch in _surplus(remaining, retention.versions)}
    return MirrorPlan(
        wanted=tuple(patch for name, patch in sorted(listed.items()) if name not in pruned),
        kept=tuple(patch for name, patch in index.patches.items() if name not in pruned and name not in listed),
        pruned=tuple(sorted(name for name in pruned if name in mirrored)),
    )


def _newer_than_source(listed: c.Collection[ListedPatch], mirrored: c.Iterable[ListedPatch]) -> list[ListedPatch]:
    newest = _newest(listed)
    return [
        patch for patch in mirrored if patch.target in newest and patch.version_key > newest[patch.target].version_key
    ]


def _newest(patches: c.Iterable[ListedPatch]) -> dict[tuple[str, str], ListedPatch]:
    newest: dict[tuple[str, str], ListedPatch] = {}
    for patch in patches:
        if patch.target not in newest or newest[patch.target].version_key < patch.version_key:
            newest[patch.target] = patch
    return newest


def _describe(listed: c.Collection[ListedPatch], patch: ListedPatch) -> str:
    newest = _newest(listed)[patch.target]
    return f"{newest.name.version} at the source and {patch.name.version} in the mirror, for {' '.join(patch.target)}"


def _expired(patch: MirroredPatch, retention: Retention, now: dt.datetime) -> bool:
    return retention.days is not None and now - patch.fetched_time > dt.timedelta(days=retention.days)


def _surplus(patches: c.Iterable[ListedPatch], versions: int | None) -> list[ListedPatch]:
    """Return the patches of each target behind its newest `versions` major versions.

    Only the major version is signed. So a patch is never surplus because another one claims a newer minor version.
    """
    if versions is None:
        return []
    patches = list(patches)
    majors: dict[tuple[str, str], set[int]] = {}
    for patch in patches:
        majors.setdefault(patch.target, set()).add(patch.version_key[0])
    kept = {target: set(sorted(found)[-versions:]) for target, found in majors.items()}
    return [patch for patch in patches if patch.version_key[0] not in kept[patch.target]]
