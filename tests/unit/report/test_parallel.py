# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Work that is shared among processes: all of it is done, and a failure of any process is reported."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._report import parallel
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.parallel import run_shared

# A first process that starts a worker, prints its id, and is then killed.
ORPHAN = f"""
import os, signal, sys, time
from {parallel.__name__} import run_shared
import {parallel.__name__} as parallel

parallel.processors = lambda: 2
receive, send = os.pipe()

def work(share):
    if share == "other":
        os.write(send, str(os.getpid()).encode())
        time.sleep(600)
    else:
        print(os.read(receive, 20).decode(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

run_shared(work, ["one", "other"])
"""


@pytest.fixture(autouse=True)
def processors(monkeypatch: pytest.MonkeyPatch) -> t.Callable[[int], None]:
    """Two processors, or as many as a test asks for."""

    def give(count: int) -> None:
        monkeypatch.setattr(parallel, "processors", lambda: count)

    give(2)
    return give


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_results_are_in_order(processors: t.Callable[[int], None], count: int) -> None:
    processors(count)
    assert run_shared(lambda share: share * share, range(20)) == [number * number for number in range(20)]


def test_processes_work_at_the_same_time() -> None:
    ours, theirs = os.pipe(), os.pipe()

    def meet(share: int) -> bytes:
        mine, other = (ours, theirs)[share], (theirs, ours)[share]
        os.write(other[1], b"x")
        return os.read(mine[0], 1)  # blocks unless the other process writes

    assert run_shared(meet, [0, 1]) == [b"x", b"x"]


def test_a_long_share_delays_no_other() -> None:
    receive, send = os.pipe()

    def work(share: int) -> bytes | None:
        if share > 1:
            os.write(send, bytes([share]))
        # The other process ends its share after this one has done all others.
        return b"".join(_read(receive) for _share in range(3)) if share == 1 else None

    assert run_shared(work, range(5))[1] == bytes([2, 3, 4])


def _read(pipe: int) -> bytes:
    ready, _write, _errors = select.select([pipe], [], [], 10)
    return os.read(pipe, 1) if ready else b""


def test_a_result_may_be_larger_than_a_pipe() -> None:
    assert run_shared(lambda size: "x" * size, [1, 5_000_000])[1] == "x" * 5_000_000


def test_one_processor_needs_one_process(processors: t.Callable[[int], None]) -> None:
    processors(1)
    assert set(run_shared(lambda _share: os.getpid(), range(3))) == {os.getpid()}


def test_no_work_has_no_results() -> None:
    assert run_shared(lambda share: share, []) == []


@pytest.mark.parametrize("failing", ["one", "other"])
def test_an_exception_of_any_process_is_raised(failing: str) -> None:
    def work(share: str) -> None:
        if share == failing:
            raise PermissionError(13, "no write access")

    with pytest.raises(PermissionError, match="no write access"):
        run_shared(work, ["one", "other"])


def test_an_error_of_the_collection_keeps_its_id() -> None:
    def work(share: str) -> None:
        if share == "other":
            raise LivepatchError("report_not_written", "the disk is full", "delete files")

    with pytest.raises(LivepatchError) as caught:
        run_shared(work, ["one", "other"])
    assert (caught.value.id, caught.value.remedy) == ("report_not_written", "delete files")


def test_an_unsendable_result_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    previous = signal.signal(signal.SIGTERM, lambda *_: None)  # as Ansible's workers do
    try:
        with pytest.raises(LivepatchError) as caught:
            run_shared(lambda share: _Unreadable() if share else None, [0, 1])
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert caught.value.id == "process_lost"


class _Unreadable:
    """Can be pickled, and cannot be read again."""

    def __reduce__(self) -> tuple[t.Any, ...]:
        return os.readlink, ("/no/such/link",)


def test_a_killed_process_is_reported() -> None:
    def work(share: str) -> None:
        if share == "other":
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(LivepatchError) as caught:
        run_shared(work, ["one", "other"])
    assert caught.value.id == "process_lost"


def test_a_worker_ends_with_the_first_process() -> None:
    # The worker holds the pipe of the output open, so this returns only when it has ended too.
    first = subprocess.run([sys.executable, "-c", ORPHAN], check=False, capture_output=True, text=True, timeout=60)
    assert first.returncode == -signal.SIGKILL, first.stderr
    assert int(first.stdout) > 0
