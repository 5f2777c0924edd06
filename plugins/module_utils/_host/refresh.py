# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""What a host tells of a patch on its way: what ``refresh`` said, which tasks hold it up, what the logs say.

The sections are those of ``patch.sh``. Nothing is concluded here.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import re

from . import client_failures
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
    """What came beside the probe. `refused` is why the client did not refresh, `removed` which locks are gone.

    `timed_out` says that the client was not done refreshing when its time was over.

    `tasks` hold the transition up, the first 20 of them. The lines of the logs hold no secrets.
    """

    refused: client_failures.ClientFailure | None
    timed_out: bool
    removed: tuple[str, ...]
    tasks: tuple[BlockingTask, ...]
    kernel_log: tuple[str, ...]
    journal: tuple[str, ...]


def read_refresh_output(sections: Sections) -> RefreshOutput:
    """Turn an answer of ``patch.sh`` into facts. Total: no answer makes it fail."""
    return RefreshOutput(
        refused=_refused(sections),
        timed_out="refresh" in sections and sections["refresh"].status == "timeout",
        removed=tuple(
            name.removeprefix("removed ")
            for name, section in sections.items()
            if name.startswith("removed ") and section.status == "ok" and section.exit_code == 0
        ),
        tasks=tuple(_tasks(sections)),
        kernel_log=_lines(sections, "kernel_log"),
        journal=_lines(sections, "journal"),
    )


def _refused(sections: Sections) -> client_failures.ClientFailure | None:
    section = sections.get("refresh")
    if section is None or section.status == "timeout" or (section.status == "ok" and section.exit_code == 0):
        return None
    if section.status != "ok":
        return client_failures.failure("interrupted")
    return client_failures.explain("client", section.errors or section.output)


def _tasks(sections: Sections) -> c.Iterator[BlockingTask]:
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
