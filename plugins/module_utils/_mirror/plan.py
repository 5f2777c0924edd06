# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What a mirror must do: what the source has, what the mirror has, and what it may keep, made into steps."""

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
    """What the mirror lets go: of each kernel and architecture all but the newest `versions`; and what the source has
    not any more, once it has been here for so many `days`. ``None`` for nothing."""

    versions: int | None = None
    days: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class MirrorPlan:
    """`wanted` must be in the mirror, from the source; `kept` are the others that stay; `pruned` go."""

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
    """Plan a run at an (aware) moment. Raises `DowngradeError`.

    Going back means that the newest patch of a source for a kernel is older than the newest of the mirror. When that is
    allowed, the mirror lets go of what is newer.
    """
    listed = {patch.filename: patch for patch in source if selection.holds(patch)}
    held = {name: patch.listed for name, patch in index.patches.items()}
    gone = _newer_than_source(listed.values(), held.values())
    if gone and not allow_downgrade:
        raise DowngradeError([_as_text(listed.values(), patch) for patch in gone])
    pruned = {patch.filename for patch in gone}
    pruned |= {name for name in held if name not in listed and _too_old(index.patches[name], retention, now)}
    staying = [patch for name, patch in {**held, **listed}.items() if name not in pruned]
    pruned |= {patch.filename for patch in _surplus(staying, retention.versions)}
    return MirrorPlan(
        wanted=tuple(patch for name, patch in sorted(listed.items()) if name not in pruned),
        kept=tuple(patch for name, patch in index.patches.items() if name not in pruned and name not in listed),
        pruned=tuple(sorted(name for name in pruned if name in held)),
    )


def _newer_than_source(listed: c.Collection[ListedPatch], held: c.Iterable[ListedPatch]) -> list[ListedPatch]:
    newest = _newest(listed)
    return [patch for patch in held if patch.target in newest and patch.order > newest[patch.target].order]


def _newest(patches: c.Iterable[ListedPatch]) -> dict[tuple[str, str], ListedPatch]:
    newest: dict[tuple[str, str], ListedPatch] = {}
    for patch in patches:
        if patch.target not in newest or newest[patch.target].order < patch.order:
            newest[patch.target] = patch
    return newest


def _as_text(listed: c.Collection[ListedPatch], patch: ListedPatch) -> str:
    newest = _newest(listed)[patch.target]
    return f"{newest.name.version} at the source and {patch.name.version} in the mirror, for {' '.join(patch.target)}"


def _too_old(patch: MirroredPatch, retention: Retention, now: dt.datetime) -> bool:
    return retention.days is not None and now - patch.since > dt.timedelta(days=retention.days)


def _surplus(patches: c.Iterable[ListedPatch], versions: int | None) -> list[ListedPatch]:
    if versions is None:
        return []
    by_target: dict[tuple[str, str], list[ListedPatch]] = {}
    for patch in patches:
        by_target.setdefault(patch.target, []).append(patch)
    return [
        patch
        for group in by_target.values()
        for patch in sorted(group, key=lambda patch: (patch.order, patch.filename), reverse=True)[versions:]
    ]
