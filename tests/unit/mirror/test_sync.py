# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The mirror: its plans, and its consistency after an interruption at any step."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import sys
import typing as t
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror import index as mirror_index
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror import listing, sync
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror import plan as mirror_plan
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.listing import ListedPatch, Selection
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.source import FolderSource
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.download import Downloader, DownloadOptions
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import trust
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify.archive import parse_archive_name
from tests.lab.live_patches import signing

NOW = dt.datetime(2031, 1, 31, tzinfo=dt.timezone.utc)
KERNEL = "4.4.0-168.197-generic"
VENDOR = signing.make_signer("Vendor")
ANCHORS = trust.TrustAnchors([trust.read_certificate(VENDOR.der)])


def name_of(version: str, kernel: str = KERNEL, architecture: str = "amd64") -> str:
    return f"livepatch-{kernel}-{version}-{architecture}.tar.bz2"


def listed(version: str, kernel: str = KERNEL, tier: str | None = None, architecture: str = "amd64") -> ListedPatch:
    name = name_of(version, kernel, architecture)
    parsed = parse_archive_name(name)
    assert parsed is not None
    return ListedPatch(name, parsed, hashlib.sha256(name.encode()).hexdigest(), tier)


def mirrored(version: str, kernel: str = KERNEL, days: int = 0) -> mirror_index.MirroredPatch:
    patch = listed(version, kernel)
    fetched = (NOW - dt.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    facts = (None, patch.sha256, 1, None, None, "Vendor", "00", fetched)
    return mirror_index.MirroredPatch(patch.filename, kernel, version, "amd64", *facts)


def index_of(*patches: mirror_index.MirroredPatch) -> mirror_index.Index:
    return mirror_index.Index({patch.filename: patch for patch in patches})


def plan(
    source: list[ListedPatch], index: mirror_index.Index, *, downgrade: bool = False, **retention: int
) -> tuple[list[str], list[str], list[str]]:
    """Return the versions to add, to keep and to prune."""
    made = mirror_plan.make_plan(
        source, index, Selection(), mirror_plan.Retention(**retention), now=NOW, allow_downgrade=downgrade
    )
    versions = {name_of(version): version for version in ("9.1", "64.1", "65.1", "65.2", "66.1", "66")}
    return (
        [patch.name.version for patch in made.wanted],
        [patch.version for patch in made.kept],
        [versions[name] for name in made.pruned],
    )


# --- plans


@pytest.mark.parametrize(
    ("source", "held", "options", "expected"),
    [
        (["65.1"], [], {}, (["65.1"], [], [])),
        (["65.1"], ["64.1"], {}, (["65.1"], ["64.1"], [])),
        (["65.1", "9.1"], ["9.1"], {"versions": 1}, (["65.1"], [], ["9.1"])),
        (["65.2"], ["65.1", "64.1"], {"versions": 2}, (["65.2"], ["65.1"], ["64.1"])),
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
    with pytest.raises(mirror_plan.DowngradeError) as refused:
        plan([listed(source), listed("2.1", other)], index)
    assert refused.value.found == [f"{source} at the source and {held} in the mirror, for {KERNEL} amd64"]


def test_architectures_are_separate() -> None:
    source = [listed("64.1", architecture="arm64")]
    made = mirror_plan.make_plan(
        source, index_of(mirrored("65.1")), Selection(), mirror_plan.Retention(1), now=NOW, allow_downgrade=False
    )
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
    except mirror_plan.DowngradeError:
        assert not downgrade
        return
    assert not set(wanted) & set(kept)
    assert not (set(wanted) | set(kept)) & set(pruned)
    assert set(pruned) <= held
    assert len(wanted) + len(kept) <= versions
    newest = max(source | held, key=listing.patch_version_key, default=None)
    assert newest is None or newest in {*wanted, *kept} or (downgrade and newest not in source)


# --- selections and lists


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), True),
        (Selection(kernels=("4.4.0-168.197-generic",)), True),
        (Selection(kernels=("4.4.0-168-generic",)), True),
        (Selection(kernels=("5.*", "4.4*")), True),
        (Selection(kernels=("4.4",)), False),
        (Selection(kernels=()), False),
        (Selection(flavours=("generic",)), True),
        (Selection(flavours=("gen*",)), False),
        (Selection(architectures=("arm64", "amd64")), True),
        (Selection(tiers=("stable",)), False),
    ],
)
def test_a_selection_contains_the_named_patches(selection: Selection, expected: bool) -> None:
    assert selection.selects(listed("65.1")) is expected


def test_a_flavour_may_contain_dashes() -> None:
    patch = listed("9", "5.4.0-1021.21+fips2-aws-fips", "stable")
    assert Selection(flavours=("aws-fips",), tiers=("stable",), kernels=("5.4.0-1021-aws-fips",)).selects(patch)


def test_lists_may_be_yaml_json_or_index() -> None:
    patch = listed("65.1")
    entry = {"filename": patch.filename, "hash": patch.sha256.upper()}
    as_yaml = f"# carried\n- filename: {patch.filename}\n  hash: {patch.sha256}\n".encode()
    index = index_of(mirrored("65.1")).text().encode()
    for data in (as_yaml, json.dumps([entry]).encode(), index):
        assert listing.read_list(data) == [patch]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=60))
def test_no_list_crashes_the_parser(content: str | bytes) -> None:
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    try:
        assert listing.read_list(data) == []
    except listing.PatchListError as error:
        assert str(error)


# --- the index


def test_an_index_is_reproducible(tmp_path: Path) -> None:
    one, other = mirrored("65.1"), mirrored("66.1")
    assert index_of(one, other).text() == index_of(other, one).text()
    mirror_index.write_index(tmp_path, index_of(other, one))
    assert mirror_index.read_index(tmp_path) == index_of(one, other)
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]


@pytest.mark.parametrize(
    "change",
    [
        {"filename": "../../etc/passwd"},
        {"filename": name_of("99.1")},
        {"sha256": "0"},
        {"size": "1"},
        {"fetched_at": "yesterday"},
        {"fetched_at": "2031-01-01T00:00:00"},
        {"fetched_at": 7},
        {"another": 1},
    ],
)
def test_a_modified_index_is_refused(tmp_path: Path, change: dict[str, t.Any]) -> None:
    document = json.loads(index_of(mirrored("65.1")).text())
    document["patches"][0].update(change)
    (tmp_path / "index.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(mirror_index.MirrorIndexError, match=r"cannot use the index .*index\.json"):
        mirror_index.read_index(tmp_path)


# --- interrupted at any step


def archives(*versions: str) -> dict[str, bytes]:
    return dict(signing.patch_for(KERNEL, version, VENDOR) for version in versions)


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def task(folder: Path, source: Path) -> sync.MirrorTask:
    return sync.MirrorTask(
        folder=folder,
        quarantine=folder / ".quarantine",
        source=FolderSource(source, None, Downloader(DownloadOptions())),
        anchors=ANCHORS,
        selection=Selection(),
        retention=mirror_plan.Retention(versions=2),
        allow_downgrade=False,
        parallel=1,
        now=NOW,
    )


def run_until(step: int, asked: sync.MirrorTask) -> bool:
    """Run in a process that exits without cleanup at this step. Return True if the run has that many steps.

    A step is an audit event of the interpreter that changes a file or searches for one.
    """
    pid = os.fork()
    if pid == 0:
        left = step

        def count(event: str, arguments: tuple[t.Any, ...]) -> None:
            nonlocal left
            if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod") and any(
                str(asked.folder) in str(argument) for argument in arguments
            ):
                left -= 1
                if left == 0:
                    os._exit(9)

        sys.addaudithook(count)
        try:
            sync.run_mirror(asked)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


def served(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("livepatch-*")}


def test_a_killed_run_is_completed_later(tmp_path: Path) -> None:
    """The run adds, prunes and keeps an archive, refuses another one, and finds an unrelated file."""
    before, after = archives("64.1", "65.1"), archives("65.1", "66.1")
    bad = {name_of("1.1", "4.4.0-1.1-generic"): signing.archive({"meta": b""})}
    stray = {name_of("99.1", "4.4.0-2.2-generic"): b"whatever"}
    source = fill(tmp_path / "source", {**after, **bad})
    old = fill(tmp_path / "old", before)
    steps = 0
    while True:
        folder = tmp_path / f"mirror-{steps}"
        sync.run_mirror(task(folder, old))
        for name, content in stray.items():
            (folder / name).write_bytes(content)
        ended = run_until(steps + 1, task(folder, source))
        good = {**before, **after}
        for name, content in served(folder).items():
            assert content == good.get(name) or name in stray, f"step {steps}"
        index = mirror_index.read_index(folder)
        assert set(index.patches) <= set(served(folder)), f"step {steps}: the index names what is not there"
        outcome = sync.run_mirror(task(folder, source))
        assert served(folder) == after, f"step {steps}"
        assert set(mirror_index.read_index(folder).patches) == set(after)
        assert mirror_index.read_index(folder).leaving == ()
        assert {fault.filename for fault in outcome.quarantined} >= set(bad)
        assert {path.name for path in (folder / ".quarantine").glob("*.bz2")} == {*bad, *stray}
        assert not (folder / ".unfinished").exists()
        assert not sync.run_mirror(task(folder, source)).changed
        if not ended:
            break
        steps += 1
    assert steps > 20, "the steps are really counted"
