# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Every process that a command starts, with its arguments and its environment, as the kernel was asked to start it.

The log of the doubles knows the doubles only. This knows curl, nc and sh as well, and those that lived for a moment: it
is ``strace``, which stops at ``execve`` and at nothing else. What is recorded includes the sandboxes, so that recording
``ansible-playbook`` records the controller and every host of the lab at once.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

_CALL = re.compile(r"execve\((?P<path>\S+), \[(?P<argv>[^]]*)\], \[(?P<environment>[^]]*)\]")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_LONGEST = 4_000_000
"""Bytes of a string that are recorded: more than the kernel takes for one argument."""


@dataclasses.dataclass(frozen=True)
class Execution:
    """One program that was started, or that somebody tried to start."""

    argv: tuple[str, ...]
    environment: tuple[str, ...]

    def __contains__(self, text: object) -> bool:
        """Whether a text is in the arguments or in the environment."""
        return isinstance(text, str) and any(text in word for word in (*self.argv, *self.environment))


def recording(log: Path) -> list[str]:
    """The words to put before a command, so that a log gets all that it starts. One command a log."""
    what = ["--trace=execve", "--seccomp-bpf", "--no-abbrev", "--strings-in-hex=all", f"--string-limit={_LONGEST}"]
    return ["strace", "--follow-forks", "--quiet=all", "--signal=none", *what, f"--output={log}"]


def executions(log: Path) -> list[Execution]:
    """What a log holds, in the order of starts."""
    found = []
    for line in log.read_text(encoding="ascii").splitlines():
        if "execve(" not in line:
            continue
        call = _CALL.search(line)
        if call is None:
            raise ValueError(f"a line that strace has not written before: {line[:200]}")
        found.append(Execution(_strings(call["argv"]), _strings(call["environment"])))
    return found


def _strings(text: str) -> tuple[str, ...]:
    words = []
    for match in _STRING.finditer(text):
        if match[2]:
            raise ValueError("strace has cut a string")
        words.append(bytes.fromhex(match[1].replace("\\x", "")).decode(errors="replace"))
    return tuple(words)
