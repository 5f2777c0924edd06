# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Histories of fleets on the controller, each one SQLite file.

A writer locks the file before it reads it, and stores all its sightings in one transaction. Two writers therefore run
one after the other, a sighting of both is stored once, and a killed writer leaves the file unchanged.
The file has a journal only while it is written. It can be on a network file system that supports locks.
"""

from __future__ import annotations

import collections.abc as c
import contextlib
import itertools
import json
import os
import sqlite3
import typing as t
from pathlib import Path

from .._errors import LivepatchError
from .._io import make_folder, open_regular, restrict_to_writers
from .spans import Kind, Sighting, Span, add_to_table, parse_kind

_PATIENCE = 120.0  # seconds that a writer waits for another one
_APPLICATION = 0x6C705F68  # "lp_h", in the header of the file

# Each entry migrates the schema from one version to the next. PRAGMA user_version counts the migrations that are done,
# so an entry is never changed; new ones are appended.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE host (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
        # One row for each distinct set of facts: most hosts of a fleet have the same.
        "CREATE TABLE kind (id INTEGER PRIMARY KEY, facts TEXT NOT NULL UNIQUE)",
        """CREATE TABLE span (
            host INTEGER NOT NULL REFERENCES host (id),
            begin INTEGER NOT NULL,
            end INTEGER NOT NULL,
            kind INTEGER NOT NULL REFERENCES kind (id),
            PRIMARY KEY (host, begin)
        ) WITHOUT ROWID""",
    ),
    (
        "CREATE TABLE exposure (at INTEGER PRIMARY KEY, counts TEXT NOT NULL)",
        """CREATE TABLE cve (
            name TEXT PRIMARY KEY,
            priority TEXT NOT NULL,
            opened INTEGER NOT NULL,
            lost INTEGER NOT NULL,
            closed INTEGER
        ) WITHOUT ROWID""",
    ),
)


Row = t.TypeVar("Row")


class HistoryError(LivepatchError):
    """A history cannot be used."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__("history_unusable", message, remedy)


def add_sightings(path: Path, sightings: c.Iterable[Sighting], forget_before: int | None = None) -> bool:
    """Add sightings to a history. Return True if any of them is new.

    A missing file is created. Spans that ended before the time `forget_before` are dropped.
    Raises `HistoryError`.
    """
    with history_writer(path) as database:
        added = add_to_table(
            _SpansOfFile(database), (each for each in sightings if forget_before is None or each.at >= forget_before)
        )
        dropped = 0 if forget_before is None else _forget(database, forget_before)
        return added or dropped > 0


@contextlib.contextmanager
def history_writer(path: Path) -> c.Iterator[sqlite3.Connection]:
    """Open a history in a transaction, with its newest schema. A missing file is created. Raises `HistoryError`."""
    with _errors(path):
        make_folder(path.parent)
        with contextlib.suppress(FileExistsError):
            # Private, because every user who can read the file could lock it.
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        restrict_access(path)
        with contextlib.closing(_connect(path)) as database, _transaction(database):
            _migrate(database, path)
            yield database


def read_rows(path: Path, version: int, query: str, convert: c.Callable[..., Row]) -> list[Row]:
    """Return the converted rows of a query; none if the file is missing, or older than this version of the schema.

    `convert` raises `ValueError` for a damaged row. Raises `HistoryError`.
    """
    if not path.exists():
        return []
    with _errors(path), open_regular(str(path)), contextlib.closing(_connect(path)) as database:
        return [convert(*row) for row in database.execute(query)] if _version(database, path) >= version else []


def restrict_access(path: Path) -> bool:
    """Remove the access of users who may not write to the folder of a history. Raises `HistoryError`.

    Release 1 made the file readable for all users. The journal, which a killed writer leaves, has the same mode.
    Return False if other users have access, and this user may not change that.
    """
    with _errors(path):
        with open_regular(str(path)) as file:
            restricted = restrict_to_writers(file, path.parent)
        with contextlib.suppress(FileNotFoundError), open_regular(f"{path}-journal") as journal:
            restricted = restrict_to_writers(journal, path.parent) and restricted
    return restricted


def read_spans(path: Path) -> list[tuple[str, list[Span]]]:
    """Read a history: each host with its spans in order. A missing file has none. Raises `HistoryError`."""
    if not path.exists():
        return []
    with _errors(path), open_regular(str(path)), contextlib.closing(_connect(path)) as database:
        if _version(database, path) < 1:
            return []  # nothing was stored yet
        return _spans(database)


class _SpansOfFile:
    """The spans of a history, within a transaction."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._hosts: dict[str, int] = dict(database.execute("SELECT name, id FROM host"))
        self._kinds = {parse_kind(facts): number for facts, number in database.execute("SELECT facts, id FROM kind")}

    def last_spans(self) -> dict[str, Span]:
        """Return the last span of each host."""
        kinds = {number: kind for kind, number in self._kinds.items()}
        # SQLite takes the other columns from the row that has the maximum.
        rows = self._database.execute(
            "SELECT name, max(begin), end, kind FROM span JOIN host ON host.id = span.host GROUP BY host"
        )
        return {host: _span(begin, end, kinds[kind]) for host, begin, end, kind in rows}

    def spans_of(self, host: str) -> list[Span]:
        """Return the spans of a host in order."""
        kinds = {number: kind for kind, number in self._kinds.items()}
        query = "SELECT begin, end, kind FROM span WHERE host = ? ORDER BY begin"
        rows = self._database.execute(query, (self._hosts.get(host),))
        return [_span(begin, end, kinds[number]) for begin, end, number in rows]

    def replace(self, host: str, spans: c.Sequence[Span]) -> None:
        """Replace the spans of a host."""
        self._database.execute("DELETE FROM span WHERE host = ?", (self._hosts.get(host),))
        self.write([(host, span) for span in spans], {})

    def write(self, new: c.Sequence[tuple[str, Span]], ends: c.Mapping[tuple[str, int], int]) -> None:
        """Store new spans, and new ends of known spans."""
        self._database.executemany(
            "INSERT INTO span (host, begin, end, kind) VALUES (?, ?, ?, ?)",
            [(self._host(host), span.begin, span.end, self._number(span.kind)) for host, span in new],
        )
        self._database.executemany(
            "UPDATE span SET end = ? WHERE host = ? AND begin = ?",
            [(end, self._host(host), begin) for (host, begin), end in ends.items()],
        )

    def _host(self, name: str) -> int:
        return self._hosts.get(name) or self._new_host(name)

    def _new_host(self, name: str) -> int:
        number = _row_id(
            self._database.execute(
                "INSERT INTO host (name) VALUES (CAST(? AS TEXT))", (name.encode("utf-8", "surrogatepass"),)
            )
        )
        self._hosts[name] = number
        return number

    def _number(self, kind: Kind) -> int:
        number = self._kinds.get(kind)
        if number is None:
            number = _row_id(self._database.execute("INSERT INTO kind (facts) VALUES (?)", (json.dumps(kind),)))
            self._kinds[kind] = number
        return number


def _row_id(cursor: sqlite3.Cursor) -> int:
    return t.cast("int", cursor.lastrowid)


def _span(begin: object, end: object, kind: Kind) -> Span:
    """Return the span of a row. Raises `ValueError`."""
    if not isinstance(begin, int) or not isinstance(end, int):
        raise ValueError("the table span is damaged")
    return Span(begin, end, kind)


def _spans(database: sqlite3.Connection) -> list[tuple[str, list[Span]]]:
    kinds = {number: parse_kind(facts) for number, facts in database.execute("SELECT id, facts FROM kind")}
    rows = database.execute(
        "SELECT host.name, begin, end, kind FROM span JOIN host ON host.id = span.host ORDER BY name, begin"
    )
    return [
        (name, [_span(begin, end, kinds[kind]) for _name, begin, end, kind in of_host])
        for name, of_host in itertools.groupby(rows, key=lambda row: row[0])
    ]


def _forget(database: sqlite3.Connection, before: int) -> int:
    dropped = database.execute("DELETE FROM span WHERE end < ?", (before,)).rowcount
    if dropped:
        database.execute("DELETE FROM host WHERE id NOT IN (SELECT host FROM span)")
        database.execute("DELETE FROM kind WHERE id NOT IN (SELECT kind FROM span)")
    return dropped


def _connect(path: Path) -> sqlite3.Connection:
    # Transactions are started explicitly: the module would start one only after a writer has read.
    database = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
    # Host names are stored with any content, including text that is not valid Unicode.
    database.text_factory = lambda text: text.decode("utf-8", "surrogatepass")
    return database


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> c.Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _version(database: sqlite3.Connection, path: Path) -> int:
    version = int(database.execute("PRAGMA user_version").fetchone()[0])
    application = int(database.execute("PRAGMA application_id").fetchone()[0])
    empty = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if application != _APPLICATION and not empty:
        raise HistoryError(f"{path} is not a history: it is another database", "name another file for the history")
    if version > len(MIGRATIONS):
        raise HistoryError(
            f"the history {path} was written by a later version of this collection: it has schema {version}, and this "
            f"version knows schemas up to {len(MIGRATIONS)}",
            "upgrade kernelops.livepatch on this controller",
        )
    return version


def _migrate(database: sqlite3.Connection, path: Path) -> None:
    version = _version(database, path)
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            database.execute(statement)
    if version < len(MIGRATIONS):
        database.execute(f"PRAGMA application_id = {_APPLICATION}")
        database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


@contextlib.contextmanager
def _errors(path: Path) -> c.Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error, ValueError, KeyError) as error:
        raise HistoryError(
            f"the history {path} cannot be used: {error}",
            "give the user who runs Ansible write access to the file and its folder, and room on the disk; move a "
            "damaged file away, and the next run begins a new history",
        ) from error
