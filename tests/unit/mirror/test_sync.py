# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Tests of mirror runs: faults of archives and of the server, and an interruption at any step."""

from __future__ import annotations

import dataclasses
import os
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror import sync
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.folder import open_folder
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.index import Index
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.index import read_index as read_index_of
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.listing import (
    ListedPatch,
    PatchList,
    Selection,
    list_folder,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.plan import Retention
from ansible_collections.kernelops.livepatch.plugins.module_utils._mirror.source import FolderSource
from ansible_collections.kernelops.livepatch.plugins.module_utils._server.download import (
    Downloader,
    DownloadOptions,
    FatalServerError,
    ServerError,
    UnreachableServerError,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._verify import trust
from tests.lab.live_patches import signing
from tests.samples.mirror import KERNEL, NOW, name_of

VENDOR = signing.make_signer("Vendor")
ANCHORS = trust.TrustAnchors([trust.read_certificate(VENDOR.der)])


def read_index(folder: Path) -> Index:
    with open_folder(folder) as opened:
        return read_index_of(opened)


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
        retention=Retention(versions=2),
        allow_downgrade=False,
        parallel=1,
        now=NOW,
    )


def is_step(name: object, *others: object) -> bool:
    """Return True for a file of the mirror: they are named relative to an open folder."""
    searched = others and isinstance(others[-1], int) and others[-1] & os.O_PATH
    return isinstance(name, str) and not name.startswith("/") and not searched


def run_until(step: int, asked: sync.MirrorTask) -> bool:
    """Run in a process that exits without cleanup at this step. Return True if the run has that many steps.

    A step is an audit event of the interpreter that changes a file or searches for one.
    """
    pid = os.fork()
    if pid == 0:
        left = step

        def count(event: str, arguments: tuple[t.Any, ...]) -> None:
            nonlocal left
            if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod") and is_step(*arguments):
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
        index = read_index(folder)
        assert set(index.patches) <= set(served(folder)), f"step {steps}: the index names what is not there"
        outcome = sync.run_mirror(task(folder, source))
        assert served(folder) == after, f"step {steps}"
        assert set(read_index(folder).patches) == set(after)
        assert read_index(folder).leaving == ()
        assert {fault.filename for fault in outcome.quarantined} >= set(bad)
        assert {path.name for path in (folder / ".quarantine").glob("*.bz2")} == {*bad, *stray}
        assert not (folder / ".unfinished").exists()
        assert not sync.run_mirror(task(folder, source)).changed
        if not ended:
            break
        steps += 1
    assert steps > 20, "the steps are really counted"


class FaultySource(FolderSource):
    """A folder whose archives fail with one error each, in this order, and then are copied."""

    def __init__(self, folder: Path, *errors: ServerError | None) -> None:
        super().__init__(folder, None, Downloader(DownloadOptions()))
        self.errors = list(errors)
        self.asked = 0

    def copy(self, patch: ListedPatch, file: t.BinaryIO) -> None:
        self.asked += 1
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        super().copy(patch, file)


VERSIONS = ("61.1", "62.1", "63.1", "64.1", "65.1")
UNREACHABLE, REFUSED = UnreachableServerError("no route"), ServerError("404")


@pytest.mark.parametrize(
    ("errors", "asked", "fetched"),
    [
        ([], 5, 5),
        ([UNREACHABLE, UNREACHABLE], 5, 3),
        ([UNREACHABLE] * 3, 3, 0),
        ([UNREACHABLE, UNREACHABLE, None, UNREACHABLE, UNREACHABLE], 5, 1),
        ([REFUSED] * 4, 5, 1),
        ([None, FatalServerError("the certificate is not trusted")], 2, 1),
    ],
)
def test_an_unreachable_server_is_not_asked_again(
    tmp_path: Path, errors: list[ServerError | None], asked: int, fetched: int
) -> None:
    source = FaultySource(fill(tmp_path / "source", archives(*VERSIONS)), *errors)
    options = dataclasses.replace(task(tmp_path / "mirror", tmp_path), source=source, retention=Retention())
    outcome = sync.run_mirror(options)
    assert (source.asked, len(outcome.fetched)) == (asked, fetched)
    assert {fault.verdict for fault in outcome.failed} <= {"not_fetched"}
    assert len(outcome.failed) == len(VERSIONS) - fetched


def test_a_prediction_changes_nothing(tmp_path: Path) -> None:
    source = fill(tmp_path / "source", archives("65.1", "66.1"))
    folder = tmp_path / "mirror"
    predicted = sync.predict_mirror(task(folder, source))
    assert not folder.exists()
    done = sync.run_mirror(task(folder, source))
    assert (predicted.changed, predicted.fetched) == (done.changed, done.fetched) == (True, sorted(served(folder)))
    assert not sync.predict_mirror(task(folder, source)).changed


def test_a_second_run_is_refused(tmp_path: Path) -> None:
    source = fill(tmp_path / "source", archives("65.1"))

    class Nested(FolderSource):
        def read(self) -> PatchList:
            with pytest.raises(sync.MirrorBusyError) as caught:
                sync.run_mirror(task(tmp_path / "mirror", source))
            assert caught.value.id == "busy"
            return super().read()

    nested = Nested(source, None, Downloader(DownloadOptions()))
    outcome = sync.run_mirror(dataclasses.replace(task(tmp_path / "mirror", source), source=nested))
    assert outcome.fetched == [name_of("65.1")]


def test_a_changed_archive_is_quarantined_and_replaced(tmp_path: Path) -> None:
    source, folder = fill(tmp_path / "source", archives("65.1")), tmp_path / "mirror"
    sync.run_mirror(task(folder, source))
    (folder / name_of("65.1")).write_bytes(b"changed")
    outcome = sync.run_mirror(task(folder, source))
    assert [(fault.filename, fault.verdict) for fault in outcome.quarantined] == [
        (f"{name_of('65.1')}.changed", "changed")
    ]
    assert served(folder) == archives("65.1")


def test_a_missing_archive_of_the_mirror_fails(tmp_path: Path) -> None:
    source, folder = fill(tmp_path / "source", archives("65.1", "66.1")), tmp_path / "mirror"
    sync.run_mirror(task(folder, source))
    (folder / name_of("65.1")).unlink()
    (source / name_of("65.1")).unlink()
    outcome = sync.run_mirror(task(folder, source))
    assert [(fault.filename, fault.verdict) for fault in outcome.failed] == [(name_of("65.1"), "missing")]
    assert set(read_index(folder).patches) == {name_of("66.1")}


def test_an_archive_stays_until_it_is_replaced(tmp_path: Path) -> None:
    source, folder = fill(tmp_path / "source", archives("64.1", "65.1")), tmp_path / "mirror"
    sync.run_mirror(task(folder, source))
    fill(source, archives("66.1", "67.1"))
    faulty = FaultySource(source, REFUSED)
    outcome = sync.run_mirror(dataclasses.replace(task(folder, source), source=faulty))
    assert outcome.pruned == []
    assert set(served(folder)) == {name_of(version) for version in ("64.1", "65.1", "67.1")}
    assert len(list_folder(folder)) == 3
