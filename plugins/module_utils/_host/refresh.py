# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The output of a refresh: its failure, the tasks that block the transition, the logs of kernel and client.

The sections are those of ``patch.sh``. No conclusions are drawn here.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import re

from .client_failures import ClientFailure, recognise
from .client_status import plain_text
from .sections import Sections

_TASK = re.compile(r"(?P<pid>[0-9]{1,7}) (?P<tid>[0-9]{1,7}) (?P<name>.{0,64})")
_TASK_LIMIT = 20
_LINE_LIMIT = 300


@dataclasses.dataclass(frozen=True, slots=True)
class BlockingTask:
    """A thread that has not moved to the new patch; `name` is its ``comm``."""

    pid: int
    tid: int
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class RefreshOutput:
    """The sections that ``patch.sh`` adds to the facts of a host.

    `failure` is why the client did not refresh; `timed_out` is True if its refresh was ended at the deadline.
    `removed_locks` are the crash locks that were removed. `blocking_tasks` are the first 20 threads that block the
    transition. The lines of the logs hold no secrets.
    """

    failure: ClientFailure | None = None
    timed_out: bool = False
    removed_locks: tuple[str, ...] = ()
    blocking_tasks: tuple[BlockingTask, ...] = ()
    kernel_log: tuple[str, ...] = ()
    journal: tuple[str, ...] = ()


def read_refresh_output(sections: Sections) -> RefreshOutput:
    """Parse the sections of ``patch.sh``. Never raises, whatever the host sent."""
    return RefreshOutput(
        failure=_failure(sections),
        timed_out="refresh" in sections and sections["refresh"].status == "timeout",
        removed_locks=tuple(
            name.removeprefix("removed ")
            for name, section in sections.items()
            if name.startswith("removed ") and section.status == "ok" and section.exit_code == 0
        ),
        blocking_tasks=tuple(_blocking_tasks(sections)),
        kernel_log=_lines(sections, "kernel_log"),
        journal=_lines(sections, "journal"),
    )


def _failure(sections: Sections) -> ClientFailure | None:
    section = sections.get("refresh")
    if section is None or section.status == "timeout" or (section.status == "ok" and section.exit_code == 0):
        return None
    if section.status != "ok":
        return ClientFailure("interrupted")
    return recognise("client", section.errors or section.output)


def _blocking_tasks(sections: Sections) -> c.Iterator[BlockingTask]:
    section = sections.get("tasks")
    seen: set[int] = set()
    for line in section.output.split("\n") if section is not None else ():
        match = _TASK.fullmatch(line)
        if match is None or int(match["tid"]) in seen:
            continue
        seen.add(int(match["tid"]))
        yield BlockingTask(int(match["pid"]), int(match["tid"]), plain_text(match["name"]))
        if len(seen) == _TASK_LIMIT:
            return


def _lines(sections: Sections, name: str) -> tuple[str, ...]:
    section = sections.get(name)
    lines = section.output.split("\n") if section is not None else []
    return tuple(plain_text(line)[:_LINE_LIMIT] for line in lines if line.strip())[-20:]
