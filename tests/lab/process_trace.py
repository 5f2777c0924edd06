# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""A record of every process that a command starts, with its arguments and its environment.

The log of the doubles lists doubles only. This record also lists curl, nc, sh and short-lived processes. It is made by
``strace``, which stops only at ``execve``. It covers the processes in the sandboxes, so that a record of
``ansible-playbook`` covers the controller and every host of the lab.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

_CALL = re.compile(r"execve\((?P<path>\S+), \[(?P<argv>[^]]*)\], \[(?P<environment>[^]]*)\]")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_LONGEST = 4_000_000
"""The recorded bytes of a string: more than the kernel accepts for one argument."""


@dataclasses.dataclass(frozen=True)
class Execution:
    """One start of a program, or one attempt."""

    argv: tuple[str, ...]
    environment: tuple[str, ...]

    def __contains__(self, text: object) -> bool:
        """Return True if a text is in the arguments or in the environment."""
        return isinstance(text, str) and any(text in word for word in (*self.argv, *self.environment))


def recording(log: Path) -> list[str]:
    """Return the prefix of a command that records its processes in a log. Use a separate log for each command."""
    options = ["--trace=execve", "--seccomp-bpf", "--no-abbrev", "--strings-in-hex=all", f"--string-limit={_LONGEST}"]
    return ["strace", "--follow-forks", "--quiet=all", "--signal=none", *options, f"--output={log}"]


def executions(log: Path) -> list[Execution]:
    """Return the executions in a log, in the order of their starts."""
    found = []
    for line in log.read_text(encoding="ascii").splitlines():
        if "execve(" not in line:
            continue
        call = _CALL.search(line)
        if call is None and "<unfinished" in line:
            # The process was killed before the call was complete, so these arguments were never visible to others.
            continue
        if call is None:
            raise ValueError(f"strace wrote an unknown line: {line[:200]}")
        found.append(Execution(_strings(call["argv"]), _strings(call["environment"])))
    return found


def _strings(text: str) -> tuple[str, ...]:
    words = []
    for match in _STRING.finditer(text):
        if match[2]:
            raise ValueError("strace truncated a string")
        words.append(bytes.fromhex(match[1].replace("\\x", "")).decode(errors="replace"))
    return tuple(words)
