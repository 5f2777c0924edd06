# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""One interface of the histories: an SQLite file, or a database."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import typing as t
from pathlib import Path

from .postgresql.address import DatabaseAddress, StorePlace
from .postgresql.history import DatabaseHistory
from .spans import CveCounts, CvePeriod, Sighting, Span


class HistoryStore(t.Protocol):
    """Spans of hosts, and open vulnerabilities of the fleet. Every method raises `LivepatchError`."""

    def add_sightings(self, sightings: c.Iterable[Sighting], forget_before: int | None = None) -> bool:
        """Add sightings, and drop spans that ended before a time. Return True if anything has changed."""

    def add_counts(self, counts: CveCounts, open_cves: c.Mapping[str, str], forget_before: int | None = None) -> bool:
        """Add the vulnerabilities of one report, given with their priorities. Return True if anything is new."""

    def read_spans(self) -> list[tuple[str, list[Span]]]:
        """Read the spans of each host in order."""

    def read_counts(self) -> tuple[list[CveCounts], list[CvePeriod]]:
        """Read the counts in order of time, and the vulnerabilities."""

    def restrict_access(self) -> bool:
        """Remove the access of other users. Return False if they have access, and this user may not change that."""


@dataclasses.dataclass(frozen=True)
class FileHistory:
    """A history in an SQLite file. A controller whose Python has no SQLite must still report: it is imported late."""

    path: Path

    def add_sightings(self, sightings: c.Iterable[Sighting], forget_before: int | None = None) -> bool:
        """Add sightings. A missing file is created."""
        from . import history_db

        return history_db.add_sightings(self.path, sightings, forget_before)

    def add_counts(self, counts: CveCounts, open_cves: c.Mapping[str, str], forget_before: int | None = None) -> bool:
        """Add the vulnerabilities of one report."""
        from . import cve_history

        return cve_history.add_counts(self.path, counts, open_cves, forget_before)

    def read_spans(self) -> list[tuple[str, list[Span]]]:
        """Read the spans. A missing file has none."""
        from . import history_db

        return history_db.read_spans(self.path)

    def read_counts(self) -> tuple[list[CveCounts], list[CvePeriod]]:
        """Read the counts and the vulnerabilities."""
        from . import cve_history

        return cve_history.read_counts(self.path)

    def restrict_access(self) -> bool:
        """Remove the access of users who may not write to the folder of the file."""
        from . import history_db

        return history_db.restrict_access(self.path)


def open_history(place: StorePlace) -> HistoryStore:
    """Return the history of a file or of a database."""
    return DatabaseHistory(place) if isinstance(place, DatabaseAddress) else FileHistory(place)
