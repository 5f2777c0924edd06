# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of the plan of a mirror run."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.index import Index
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.listing import (
    ListedPatch,
    Selection,
    patch_version_key,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.plan import (
    DowngradeError,
    Retention,
    make_plan,
)
from tests.samples.mirror import KERNEL, NOW, index_of, listed, mirrored, name_of


def plan(
    source: list[ListedPatch], index: Index, *, downgrade: bool = False, **retention: int
) -> tuple[list[str], list[str], list[str]]:
    """Return the versions to add, to keep and to prune."""
    made = make_plan(source, index, Selection(), Retention(**retention), now=NOW, allow_downgrade=downgrade)
    versions = {name_of(version): version for version in ("9.1", "64.1", "65.1", "65.2", "65.9", "66.1", "66")}
    return (
        [patch.name.version for patch in made.wanted],
        [patch.version for patch in made.kept],
        [versions[name] for name in made.pruned],
    )


@pytest.mark.parametrize(
    ("source", "held", "options", "expected"),
    [
        (["65.1"], [], {}, (["65.1"], [], [])),
        (["65.1"], ["64.1"], {}, (["65.1"], ["64.1"], [])),
        (["65.1", "9.1"], ["9.1"], {"versions": 1}, (["65.1"], [], ["9.1"])),
        (["65.2"], ["65.1", "64.1"], {"versions": 2}, (["65.2"], ["65.1", "64.1"], [])),
        (["65.9"], ["65.1", "65.2"], {"versions": 1}, (["65.9"], ["65.1", "65.2"], [])),
        (["66.1"], ["65.1", "65.2"], {"versions": 1}, (["66.1"], [], ["65.1", "65.2"])),
        (["65.1"], ["65.1", "64.1"], {"days": 5}, (["65.1"], [], ["64.1"])),
        (["65.1"], ["65.1", "64.1"], {"days": 10}, (["65.1"], ["64.1"], [])),
        (["65.1"], ["66.1", "65.1"], {"downgrade": True}, (["65.1"], [], ["66.1"])),
        ([], ["66.1"], {}, ([], ["66.1"], [])),
        (["66"], ["66.1"], {"downgrade": True}, (["66"], [], ["66.1"])),
    ],
)
def test_a_plan_adds_keeps_and_prunes(
    source: list[str], held: list[str], options: dict[str, t.Any], expected: tuple[list[str], list[str], list[str]]
) -> None:
    index = index_of(*(mirrored(version, days=7) for version in held))
    assert plan([listed(version) for version in source], index, **options) == expected


@pytest.mark.parametrize(("source", "held"), [("65.1", "66.1"), ("9.1", "65.1"), ("65.1", "65.2")])
def test_a_downgrade_is_refused_per_kernel(source: str, held: str) -> None:
    other = "5.15.0-107.117-generic"
    index = index_of(mirrored(held), mirrored("1.1", other))
    with pytest.raises(DowngradeError) as refused:
        plan([listed(source), listed("2.1", other)], index)
    assert refused.value.found == [f"{source} at the source and {held} in the mirror, for {KERNEL} amd64"]


def test_architectures_are_separate() -> None:
    source = [listed("64.1", architecture="arm64")]
    made = make_plan(source, index_of(mirrored("65.1")), Selection(), Retention(1), now=NOW, allow_downgrade=False)
    assert (len(made.wanted), len(made.kept), made.pruned) == (1, 1, ())


@settings(max_examples=200, deadline=None)
@given(
    st.sets(st.sampled_from(["9.1", "64.1", "65.1", "65.2", "66.1"])),
    st.sets(st.sampled_from(["9.1", "64.1", "65.1", "65.2", "66.1"])),
    st.integers(1, 3),
    st.booleans(),
)
def test_a_plan_keeps_the_newest_version(source: set[str], held: set[str], versions: int, downgrade: bool) -> None:
    index = index_of(*map(mirrored, held))
    try:
        wanted, kept, pruned = plan(list(map(listed, source)), index, downgrade=downgrade, versions=versions)
    except DowngradeError:
        assert not downgrade
        return
    assert not set(wanted) & set(kept)
    assert not (set(wanted) | set(kept)) & set(pruned)
    assert set(pruned) <= held
    majors = {version.partition(".")[0] for version in (*wanted, *kept)}
    assert len(majors) <= versions
    assert not majors & {version.partition(".")[0] for version in pruned} or downgrade, "minor versions are not signed"
    newest = max(source | held, key=patch_version_key, default=None)
    assert newest is None or newest in {*wanted, *kept} or (downgrade and newest not in source)
