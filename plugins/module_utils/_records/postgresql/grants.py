# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Grants of seats in a database. One transaction reads, plans and stores, so no seat is granted twice."""

from __future__ import annotations

import collections.abc as c
import contextlib
import dataclasses

from ..._time import format_time, parse_time
from . import schema
from .address import DatabaseAddress
from .connection import READ_SECONDS, Database, session
from .keys import host_key, host_of


@dataclasses.dataclass(frozen=True)
class DatabaseLedger:
    """The grants, within the transaction that has the lock."""

    database: Database

    def write(self, grants: c.Mapping[str, str]) -> None:
        """Replace all grants: times by host."""
        self.database.execute("DELETE FROM livepatch.seat_grant")
        rows = sorted((host_key(host), parse_time(time)) for host, time in grants.items())
        self.database.execute(
            "INSERT INTO livepatch.seat_grant (host, granted_at) SELECT * FROM unnest(%s::text[], %s::timestamptz[])",
            ([host for host, _time in rows], [time for _host, time in rows]),
        )


@contextlib.contextmanager
def lock_ledger(address: DatabaseAddress) -> c.Iterator[DatabaseLedger]:
    """Let other plans on this store wait until the end of the transaction. Raises `LivepatchError`."""
    with session(address, seconds=READ_SECONDS) as database:
        schema.prepare(database, address)
        with database.transaction():
            database.execute("SELECT pg_advisory_xact_lock(%s)", (schema.GRANTS_LOCK,))
            yield DatabaseLedger(database)


def import_grants(address: DatabaseAddress, grants: c.Mapping[str, str], *, keep: bool = True) -> int:
    """Add grants, times by host, and return the number of new ones. Without `keep`, everything is undone."""
    rows = sorted((host_key(host), parse_time(time)) for host, time in grants.items())
    with session(address, seconds=READ_SECONDS) as database, database.transaction(force_rollback=not keep):
        schema.prepare(database, address)
        database.execute("SELECT pg_advisory_xact_lock(%s)", (schema.GRANTS_LOCK,))
        done = database.execute(
            "INSERT INTO livepatch.seat_grant AS known (host, granted_at)"
            " SELECT * FROM unnest(%s::text[], %s::timestamptz[])"
            " ON CONFLICT (host) DO UPDATE SET granted_at = excluded.granted_at"
            " WHERE known.granted_at < excluded.granted_at",
            ([host for host, _time in rows], [time for _host, time in rows]),
        )
        return int(done.rowcount)


def read_grants(address: DatabaseAddress) -> dict[str, str]:
    """Return the grants: times (RFC 3339, UTC) by host. Raises `LivepatchError`."""
    with session(address) as database:
        schema.check(database, address)
        rows = database.execute("SELECT host, granted_at FROM livepatch.seat_grant")
        return {host_of(key): format_time(time, exact=True) for key, time in rows}
