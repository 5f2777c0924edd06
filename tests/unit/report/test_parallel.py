# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Work in two processes: both shares are done, and what goes wrong in the other process is known here."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._report import parallel
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.formats.registry import FORMATS, halves
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.parallel import LostProcessError, in_two


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_processors", lambda: 2)


def test_each_process_does_a_share() -> None:
    mine, theirs = in_two(lambda share: (share, os.getpid()), "one", "other")
    assert (mine[0], theirs[0]) == ("one", "other")
    assert mine[1] == os.getpid() != theirs[1]


def test_both_work_at_the_same_time(tmp_path: Path) -> None:
    def meet(share: int) -> bool:
        (tmp_path / str(share)).touch()
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if (tmp_path / str(1 - share)).exists():
                return True
            time.sleep(0.01)
        return False

    assert in_two(meet, 0, 1) == (True, True)


def test_more_comes_back_than_a_pipe_holds() -> None:
    assert in_two(lambda size: "x" * size, 1, 5_000_000)[1] == "x" * 5_000_000


def test_with_one_processor_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_processors", lambda: 1)
    assert in_two(lambda _share: os.getpid(), "one", "other") == (os.getpid(), os.getpid())


def test_what_the_other_raises_is_raised_here() -> None:
    def work(share: str) -> None:
        if share == "other":
            raise PermissionError(13, "no write access")

    with pytest.raises(PermissionError, match="no write access"):
        in_two(work, "one", "other")


def test_a_process_that_is_killed_is_named() -> None:
    def work(share: str) -> None:
        if share == "other":
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(LostProcessError, match="-9"):
        in_two(work, "one", "other")


def test_where_this_process_fails_the_other_is_ended(tmp_path: Path) -> None:
    started = tmp_path / "started"

    def work(share: str) -> None:
        if share == "other":
            started.write_text(str(os.getpid()))
            time.sleep(600)
        until = time.monotonic() + 60
        while not (started.exists() and started.read_text()) and time.monotonic() < until:
            time.sleep(0.01)
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        in_two(work, "one", "other")
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_formats_are_shared_out_by_how_long_they_take() -> None:
    one, other = halves(FORMATS)
    assert sorted([*one, *other]) == sorted(FORMATS)
    efforts = [sum(FORMATS[name].effort for name in half) for half in (one, other)]
    assert abs(efforts[0] - efforts[1]) <= min(layout.effort for layout in FORMATS.values())
    assert halves(["html"]) == (["html"], [])
    assert halves([]) == ([], [])
