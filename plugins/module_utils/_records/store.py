# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""One interface of the stores: a folder of records, or a database."""

from __future__ import annotations

import collections.abc as c
import itertools
import typing as t
from pathlib import Path

from .._record import Reason, Record
from . import folder_store
from .document import Document, Problem
from .postgresql import records
from .postgresql.address import DatabaseAddress, StorePlace
from .postgresql.records import StoredHost
from .postgresql.runs import Run
from .postgresql.store import PostgresStore
from .reader import RecordReader

Stored: t.TypeAlias = folder_store.Found | StoredHost
"""A file of a folder, a host of a database, or the reason why a folder or database cannot be read."""


class RecordStore(t.Protocol):
    """The last record and the last failed attempt of each host. Every writer raises `LivepatchError`."""

    def put(self, record: Record) -> str | None:
        """Store the last record of a host. Return the path of its file, if it has one."""

    def note_attempt(
        self, host: str, attempted_at: str, reasons: list[Reason], groups: t.Mapping[str, str] | None = None
    ) -> None:
        """Store a failed attempt at a time (RFC 3339, UTC), with the groups of the host. Its last record stays."""

    def set_aside(self, host: str) -> None:
        """Hide the record of a host, without any space on the disk. Raises `OSError`."""

    def last_record(self, host: str) -> Record | None:
        """Return the stored record of a host; None without one that can be read."""

    def find(self) -> c.Sequence[Stored]:
        """Return what `read` reads. Nothing raises."""


def open_store(place: StorePlace, run: Run | None = None) -> RecordStore:
    """Return the store of a place. `run` is the run that stores documents."""
    if isinstance(place, DatabaseAddress):
        return PostgresStore(place, run)
    return folder_store.FolderStore(place)


def load(places: t.Sequence[StorePlace]) -> c.Iterator[Document]:
    """Read stores: records, failed attempts, and a problem for each document or store that cannot be used."""
    return read(find(places))


def find(places: t.Sequence[StorePlace]) -> list[Stored]:
    """Find what to read in these stores. Nothing raises."""
    return [found for place in places for found in open_store(place).find()]


def read(found: t.Iterable[Stored]) -> c.Iterator[Document]:
    """Read what `find` returned. Raises `LivepatchError` for a database that is lost in between."""
    reader = RecordReader()
    for address, group in itertools.groupby(found, key=lambda each: getattr(each, "address", None)):
        if address is None:
            for each in t.cast("t.Iterable[folder_store.Found]", group):
                yield each if isinstance(each, Problem) else reader.read(*each)
        else:
            hosts = t.cast("list[StoredHost]", list(group))
            yield from records.read(address, hosts[0].key, hosts[-1].key, reader)


def folders(places: t.Iterable[StorePlace]) -> list[Path]:
    """Return the folders among these places."""
    return [place for place in places if isinstance(place, Path)]
