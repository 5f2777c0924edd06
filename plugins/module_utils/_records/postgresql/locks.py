# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Locks of drain groups in a database: one row for each group that a run holds."""

from __future__ import annotations

import collections.abc as c
import contextlib
import dataclasses
import datetime
import shlex

from . import schema
from .address import DatabaseAddress
from .connection import Database, session
from .keys import host_key, host_of


@dataclasses.dataclass(frozen=True)
class GroupRow:
    """The row of a group, within a transaction that no other run can have for this group at the same time."""

    database: Database
    group: str

    def read(self) -> tuple[str, str, str, datetime.datetime, datetime.datetime] | None:
        """Return host, run, user, begin and end of the holder; None if the group is free."""
        row = self.database.execute(
            "SELECT host, run, held_by, since, until FROM livepatch.drain_group WHERE name = %s", (self.group,)
        ).fetchone()
        return None if row is None else (host_of(row[0]), *row[1:])

    def write(self, host: str, run: str, by: str, since: datetime.datetime, until: datetime.datetime) -> None:
        """Store the holder."""
        self.database.execute(
            "INSERT INTO livepatch.drain_group (name, host, run, held_by, since, until) VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (name) DO UPDATE SET host = excluded.host, run = excluded.run, held_by = excluded.held_by,"
            " since = excluded.since, until = excluded.until",
            (self.group, host_key(host), run, by, since, until),
        )

    def remove(self) -> None:
        """Release the group."""
        self.database.execute("DELETE FROM livepatch.drain_group WHERE name = %s", (self.group,))


@contextlib.contextmanager
def lock_row(address: DatabaseAddress, group: str) -> c.Iterator[GroupRow]:
    """Let other runs that use this group wait until the end of the transaction. Raises `LivepatchError`."""
    name = host_key(group)
    with session(address) as database:
        schema.prepare(database, address)
        with database.transaction():
            database.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", (name, schema.GROUPS_SEED))
            yield GroupRow(database, name)


def removal(address: DatabaseAddress, group: str) -> str:
    """Return the command that removes the lock of a group."""
    name = host_key(group).replace("'", "''")
    statement = f"DELETE FROM livepatch.drain_group WHERE name = '{name}'"  # noqa: S608  (shown to an operator)
    return f"psql {shlex.quote(str(address))} -c {shlex.quote(statement)}"
