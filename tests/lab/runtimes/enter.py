# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Run a command in the namespaces of a machine that a process started: ``enter.py PROCESS_ID COMMAND...``.

The process that runs systemd is another one after each reboot, so it is looked up for each command.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path


def find_init(starter: int) -> int:
    """Return the process ID of the machine's systemd. Raises `LookupError` while there is none."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name, parent, _group = _identify(path)
            if name == "systemd" and _identify(path.with_name(parent))[2] == str(starter):
                return int(path.name)
    raise LookupError("systemd does not run")


def enter(starter: int, command: list[str]) -> list[str]:
    """Return the command line that runs a command in the machine. Raises `LookupError` while it is down."""
    namespaces = ("-m", "-u", "-i", "-n", "-p", "-C")
    return ["nsenter", "-t", str(find_init(starter)), *namespaces, "--", *command]


def _identify(process: Path) -> tuple[str, str, str]:
    """Return the name of a process, the process ID of its parent, and its process group. Raises `OSError`."""
    name, _bracket, rest = (process / "stat").read_text(errors="replace").rpartition(")")
    _state, parent, group, *_others = rest.split()
    return name.partition("(")[2], parent, group


if __name__ == "__main__":
    try:
        line = enter(int(sys.argv[1]), sys.argv[2:])
    except LookupError as error:
        sys.exit(str(error))
    os.execvp(line[0], line)  # noqa: S606  (the words of a command, without a shell)
