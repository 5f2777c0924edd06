# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The schema of a store in a database, and its migrations from one version to the next.

docs/guide/store.md describes the tables for queries.
"""

from __future__ import annotations

import typing as t

from ..._decisions import causes
from .address import DatabaseAddress
from .connection import Database, library, session

_LOCK = 0x6C7000
"""Key of the advisory lock of a migration. The locks of grants and of the history follow it."""
GRANTS_LOCK = _LOCK + 1
HISTORY_LOCK = _LOCK + 2
GROUPS_SEED = _LOCK + 3

# Each entry migrates the schema from one version to the next, so an entry is never changed; new ones are appended.
MIGRATIONS: t.Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE livepatch.run (
            id text PRIMARY KEY,
            started_at timestamptz NOT NULL,
            run_by text NOT NULL,
            host_limit text
        )""",
        """CREATE TABLE livepatch.record (
            host text COLLATE "C" PRIMARY KEY,
            collected_at timestamptz NOT NULL,
            state text NOT NULL,
            kernel text,
            release text,
            patch_version text,
            run text,
            document json NOT NULL
        )""",
        "CREATE INDEX record_state ON livepatch.record (state)",
        """CREATE TABLE livepatch.attempt (
            host text COLLATE "C" PRIMARY KEY,
            attempted_at timestamptz NOT NULL,
            cause text NOT NULL,
            run text,
            document json NOT NULL
        )""",
        'CREATE TABLE livepatch.seat_grant (host text COLLATE "C" PRIMARY KEY, granted_at timestamptz NOT NULL)',
        """CREATE TABLE livepatch.drain_group (
            name text COLLATE "C" PRIMARY KEY,
            host text NOT NULL,
            run text NOT NULL,
            held_by text NOT NULL,
            since timestamptz NOT NULL,
            until timestamptz NOT NULL
        )""",
        # One row for each distinct set of facts: most hosts of a fleet have the same.
        "CREATE TABLE livepatch.kind (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, facts text NOT NULL UNIQUE)",
        """CREATE TABLE livepatch.span (
            host text COLLATE "C" NOT NULL,
            first_seen timestamptz NOT NULL,
            last_seen timestamptz NOT NULL,
            kind integer NOT NULL REFERENCES livepatch.kind (id),
            PRIMARY KEY (host, first_seen)
        )""",
        "CREATE TABLE livepatch.exposure (at timestamptz PRIMARY KEY, counts json NOT NULL)",
        """CREATE TABLE livepatch.cve (
            name text COLLATE "C" PRIMARY KEY,
            priority text NOT NULL,
            opened timestamptz NOT NULL,
            lost integer NOT NULL,
            closed timestamptz
        )""",
        # The newest document of each host, as a report uses it. A record from the future, of a controller whose clock
        # was wrong, shows nothing.
        """CREATE VIEW livepatch.host AS
            SELECT coalesce(record.host, attempt.host) AS host,
                CASE WHEN (attempt.host IS NULL OR attempt.attempted_at < record.collected_at)
                    AND record.collected_at <= now() + interval '5 minutes'
                    THEN record.state ELSE 'no_answer' END AS state,
                record.collected_at, attempt.attempted_at, attempt.cause, record.state AS last_state,
                record.kernel, record.release, record.patch_version, record.document AS record
            FROM livepatch.record FULL JOIN livepatch.attempt USING (host)""",
    ),
)


def version_of(database: Database) -> int:
    """Return the version of the schema in a database, 0 without one."""
    # Not to_regclass, which uses a cache: another controller may have created the table during this transaction.
    [found] = database.execute(
        "SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = 'livepatch' AND tablename = 'schema_version'"
    ).fetchone()
    if not found:
        return 0
    [version] = database.execute("SELECT coalesce(max(version), 0) FROM livepatch.schema_version").fetchone()
    return int(version)


def check(database: Database, address: DatabaseAddress) -> None:
    """Raise `LivepatchError` for a schema that this version of the collection cannot use."""
    found = version_of(database)
    if found < len(MIGRATIONS):
        raise causes.STORE_NOT_PREPARED.error(store=address, found=found or "none", known=len(MIGRATIONS))
    _refuse_newer(found, address)


def prepare(database: Database, address: DatabaseAddress) -> int:
    """Create or upgrade the schema if the role may. Return the version that was found. Raises `LivepatchError`."""
    found = version_of(database)
    if found < len(MIGRATIONS):
        try:
            _migrate(database, address)
        except library().errors.InsufficientPrivilege as error:
            raise causes.STORE_NOT_PREPARED.error(
                "the role may not create it", store=address, found=found or "none", known=len(MIGRATIONS)
            ) from error
    _refuse_newer(found, address)
    return found


def migrate(address: DatabaseAddress, *, keep: bool = True) -> int:
    """Create or upgrade the schema. Return the version that was found. Raises `LivepatchError`.

    Without `keep`, everything is undone.
    """
    with session(address) as database, database.transaction(force_rollback=not keep):
        return prepare(database, address)


def _migrate(database: Database, address: DatabaseAddress) -> None:
    with database.transaction():
        # Another controller may migrate at the same time.
        database.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        found = version_of(database)
        _refuse_newer(found, address)
        if found == 0:
            database.execute("CREATE SCHEMA IF NOT EXISTS livepatch")
            database.execute(
                "CREATE TABLE livepatch.schema_version (version integer PRIMARY KEY, "
                "migrated_at timestamptz NOT NULL DEFAULT now())"
            )
        for version, statements in enumerate(MIGRATIONS[found:], found + 1):
            for statement in statements:
                database.execute(statement)
            database.execute("INSERT INTO livepatch.schema_version (version) VALUES (%s)", (version,))


def _refuse_newer(found: int, address: DatabaseAddress) -> None:
    if found > len(MIGRATIONS):
        raise causes.STORE_NEWER.error(store=address, found=found, known=len(MIGRATIONS))
