# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The files that a report leaves for the next one: its states, and those of the report before.

Reports of different selections of hosts are never compared. Each selection has its own two files in the folder
``states`` of the report. The second file is needed when the same records are reported again: the comparison is then the
same one again.
"""

from __future__ import annotations

import contextlib
import hashlib
import typing as t
from pathlib import Path

from ... import _io
from .model import Snapshot
from .snapshot import SnapshotError, from_text, to_text

FOLDER = "states"

_MOST_BYTES = 256 << 20
_MOST_SELECTIONS = 50
_BEFORE = ".before"


class ReportSelection(t.NamedTuple):
    """The choice of the hosts of a report: those of a limit, those that a run names, or all that have a record."""

    limit: str | None
    named: bool

    @property
    def file_name(self) -> str:
        """Return the name of its file of states."""
        kind = "named" if self.named else "recorded"
        if self.limit is None:
            return f"{kind}.json"
        digest = hashlib.sha256(self.limit.encode(errors="backslashreplace")).hexdigest()
        return f"{kind}-{digest[:16]}.json"


class Earlier(t.NamedTuple):
    """The report to compare with, None if there is none; `repeated` if the last report is the same as the new one.

    `problem` states why the last report cannot be used.
    """

    snapshot: Snapshot | None
    repeated: bool = False
    problem: str | None = None


class StateFiles:
    """The files of one selection, in the folder of a report."""

    def __init__(self, report_folder: Path, selection: ReportSelection) -> None:
        self._last = report_folder / FOLDER / selection.file_name
        self._before = self._last.with_suffix(f"{_BEFORE}.json")

    def find(self, now: Snapshot) -> Earlier:
        """Return the report with which a new one is compared."""
        try:
            last = _read(self._last)
            if last is None:
                # A run that was killed after it had moved the file.
                return Earlier(_read(self._before))
            if last.is_same(now):
                return Earlier(_read(self._before), repeated=True)
            return Earlier(last)
        except (OSError, SnapshotError) as error:
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            return Earlier(None, problem=f"{self._last} cannot be used: {reason}")

    def store(self, now: Snapshot, earlier: Earlier) -> None:
        """Keep a report for the next one. `earlier` is what `find` returned for it. Raises `OSError`."""
        if earlier.repeated:
            return
        if earlier.problem is None:
            with contextlib.suppress(FileNotFoundError):
                self._last.replace(self._before)
        _io.write_atomically(self._last, to_text(now))
        self._remove_oldest()

    def _remove_oldest(self) -> None:
        """Limit the number of files: a limit can be another one in every run."""
        found = [(path.stat().st_mtime, path) for path in self._last.parent.glob("*-*.json")]
        for _time, path in sorted(found)[: -2 * _MOST_SELECTIONS]:
            path.unlink(missing_ok=True)


def _read(path: Path) -> Snapshot | None:
    try:
        content = _io.read_bounded(str(path), _MOST_BYTES)
    except FileNotFoundError:
        return None
    try:
        return from_text(content.decode())
    except UnicodeDecodeError as error:
        raise SnapshotError("it is not UTF-8") from error
