# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The files of states: which report a new one is compared with."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._report.changes import state_files
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.changes.model import Snapshot
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.changes.snapshot import snapshot_of
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.changes.state_files import (
    Earlier,
    ReportSelection,
    StateFiles,
)
from tests.samples.changes import EARLIER, LATER, fresh, reported

FLEET = ReportSelection(None, named=True)
FIRST = snapshot_of(reported(fresh("web1", at=EARLIER), at=EARLIER))
SECOND = snapshot_of(reported(fresh("web1", at=LATER), at=LATER))
THIRD = snapshot_of(reported(fresh("web1", "failed", at=LATER), at="2026-01-13T06:00:00Z"))


def made(folder: Path, snapshot: Snapshot, selection: ReportSelection = FLEET) -> Earlier:
    """Make a report in a folder, and return the one that it is compared with."""
    files = StateFiles(folder, selection)
    earlier = files.find(snapshot)
    files.store(snapshot, earlier)
    return earlier


def test_a_report_is_compared_with_the_last_one(tmp_path: Path) -> None:
    assert made(tmp_path, FIRST) == Earlier(None)
    assert made(tmp_path, SECOND) == Earlier(FIRST)
    assert made(tmp_path, THIRD) == Earlier(SECOND)


def test_the_same_records_are_compared_with_the_same_report(tmp_path: Path) -> None:
    assert [made(tmp_path, each) for each in (FIRST, FIRST)] == [Earlier(None), Earlier(None, repeated=True)]
    made(tmp_path, SECOND)
    assert [made(tmp_path, SECOND), made(tmp_path, SECOND)] == [Earlier(FIRST, repeated=True)] * 2


def test_other_selections_are_never_compared(tmp_path: Path) -> None:
    made(tmp_path, FIRST)
    others = [ReportSelection(None, named=False), ReportSelection("web*", True), ReportSelection("db*", True)]
    assert [made(tmp_path, SECOND, other) for other in others] == [Earlier(None)] * 3
    assert [made(tmp_path, THIRD, other) for other in others] == [Earlier(SECOND)] * 3
    assert made(tmp_path, THIRD) == Earlier(FIRST)


def test_a_killed_run_loses_no_report(tmp_path: Path) -> None:
    made(tmp_path, FIRST)
    last = tmp_path / "states" / "named.json"
    last.rename(tmp_path / "states" / "named.before.json")
    assert made(tmp_path, SECOND) == Earlier(FIRST)
    assert made(tmp_path, THIRD) == Earlier(SECOND)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"schema": "x"}'])
def test_a_broken_file_is_named_and_replaced(tmp_path: Path, content: bytes) -> None:
    made(tmp_path, FIRST)
    path = tmp_path / "states" / "named.json"
    path.write_bytes(content)
    found = made(tmp_path, SECOND)
    assert found.snapshot is None
    assert str(found.problem).startswith(f"{path} cannot be used: ")
    assert made(tmp_path, THIRD) == Earlier(SECOND)


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "states").mkdir()
    (tmp_path / "states" / "named.json").mkdir()
    assert "cannot be used" in str(StateFiles(tmp_path, FLEET).find(FIRST).problem)


def test_limits_leave_a_bounded_number_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_files, "_MOST_SELECTIONS", 2)
    made(tmp_path, FIRST)
    for number in range(9):
        made(tmp_path, FIRST, ReportSelection(f"web{number}", named=True))
    assert len(list((tmp_path / "states").iterdir())) == 5
    assert made(tmp_path, SECOND) == Earlier(FIRST), "the states of the fleet stay"
