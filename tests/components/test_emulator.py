# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The end of an emulator: the next one can use its disk at once."""

from __future__ import annotations

import fcntl
import sys
from pathlib import Path

import pytest

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
