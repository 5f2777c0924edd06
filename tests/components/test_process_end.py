# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Killed processes have ended, whatever they did: no file of theirs changes or is locked any more."""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.integration.ansible_parent import kill_family
from tests.lab import emulator

pytestmark = pytest.mark.lab

# A process that locks a file, as an emulator locks its disk, and whose memory takes a moment to return.
LOCKING = """\
import fcntl, pathlib, signal, sys
disk = open(sys.argv[1], "w")
fcntl.lockf(disk, fcntl.LOCK_EX)
memory = b"x" * 500_000_000
pathlib.Path(sys.argv[2]).touch()
signal.pause()
"""

# A large process needs milliseconds for a fork, in which its child is not visible.
FORKING = """\
import os, time
memory = b"x" * 300_000_000
print("ready", flush=True)
while True:
    if os.fork() == 0:
        os.setsid()
        time.sleep(60)
    time.sleep(0.002)
"""


def test_the_disk_is_free_when_the_emulator_has_ended(tmp_path: Path) -> None:
    disk, ready = tmp_path / "disk", tmp_path / "ready"
    restarting = [*emulator.WITH_PARENT, "sh", "-c", 'while "$@"; do :; done', "sh"]
    emulated = [sys.executable, "-c", LOCKING, str(disk), str(ready)]
    process = emulator.start([*restarting, *emulator.WITH_PARENT, *emulated], tmp_path)
    while not ready.exists():
        assert process.poll() is None, emulator.logs(tmp_path)
    emulator.end(process)
    with disk.open("r+b") as free:
        fcntl.lockf(free, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("attempt", range(5))
def test_no_child_survives_that_was_forked_during_the_kill(attempt: int) -> None:
    name = uuid.uuid4().hex
    with subprocess.Popen([sys.executable, "-c", FORKING, name], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        while len(running(name)) < 10 + attempt:
            assert process.poll() is None
        kill_family(process.pid)
    assert running(name) == []


def running(argument: str) -> list[int]:
    """Return the processes with an argument that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        # An ended process has no arguments.
        with contextlib.suppress(OSError):
            if argument.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found
