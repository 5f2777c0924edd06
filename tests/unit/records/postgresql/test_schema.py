# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The schema of a store: migrations, versions that cannot be used, and the rights of roles."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._errors import LivepatchError
from ansible_collections.kernelops.livepatch.plugins.module_utils._records import store
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql import records, schema
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import DatabaseAddress
from tests.samples.postgresql import PostgresServer
from tests.samples.records import make_record
from tests.samples.stores import DatabaseRoles


def error_of(address: DatabaseAddress) -> LivepatchError:
    with pytest.raises(LivepatchError) as caught:
        records.put(address, [make_record("web1")], [], None)
    return caught.value


def versions(server: PostgresServer, address: DatabaseAddress) -> list[int]:
    rows = server.sql("SELECT version FROM livepatch.schema_version ORDER BY version", address.url)
    return [version for (version,) in rows]


def test_a_store_is_upgraded_from_its_version(
    server: PostgresServer, database: DatabaseAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert schema.migrate(database) == 0
    records.put(database, [make_record("web1")], [], None)
    later = (*schema.MIGRATIONS, ("ALTER TABLE livepatch.record ADD COLUMN added integer NOT NULL DEFAULT 7",))
    monkeypatch.setattr(schema, "MIGRATIONS", later)
    assert error_of_reader(database).id == "database_not_prepared"
    assert schema.migrate(database) == len(later) - 1
    assert versions(server, database) == list(range(1, len(later) + 1))
    assert server.sql("SELECT host, added FROM livepatch.record", database.url) == [("web1", 7)]


def error_of_reader(address: DatabaseAddress) -> LivepatchError:
    with pytest.raises(LivepatchError) as caught:
        records.find(address)
    return caught.value


def test_a_failed_upgrade_changes_nothing(
    server: PostgresServer, database: DatabaseAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema.migrate(database)
    before = versions(server, database)
    monkeypatch.setattr(
        schema, "MIGRATIONS", (*schema.MIGRATIONS, ("CREATE TABLE livepatch.a (b integer)", "NO STATEMENT"))
    )
    assert error_of(database).id == "database_refused"
    assert versions(server, database) == before
    assert server.sql("SELECT to_regclass('livepatch.a')", database.url) == [(None,)]


def test_controllers_upgrade_one_after_the_other(server: PostgresServer, database: DatabaseAddress) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _number: schema.migrate(database), range(4)))
    assert versions(server, database) == list(range(1, len(schema.MIGRATIONS) + 1))


def test_check_mode_creates_nothing(server: PostgresServer, database: DatabaseAddress) -> None:
    assert schema.migrate(database, keep=False) == 0
    assert server.sql("SELECT to_regnamespace('livepatch')", database.url) == [(None,)]


def test_a_later_schema_is_refused(server: PostgresServer, database: DatabaseAddress) -> None:
    schema.migrate(database)
    server.sql("INSERT INTO livepatch.schema_version (version) VALUES (99)", database.url)
    for error in (error_of(database), error_of_reader(database)):
        assert error.id == "database_newer"
        assert "schema 99" in error.message


def test_the_roles_of_the_guide_store_and_read(server: PostgresServer, roles: DatabaseRoles) -> None:
    assert records.put(roles.writer, [make_record("web1")], [], None) == (1, 0)
    store.open_store(roles.reader).put(make_record("web2"))
    assert [found.key for found in records.find(roles.reader)] == ["web1"]
    assert error_of(roles.reader).id == "database_refused"
    server.sql("DROP SCHEMA livepatch CASCADE", roles.owner.url)
    assert error_of(roles.writer).id == "database_not_prepared"


def test_the_roles_of_the_guide_may_do_nothing_else(server: PostgresServer, roles: DatabaseRoles) -> None:
    records.put(roles.writer, [make_record("web1")], [], None)
    query = (
        "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'livepatch'::regnamespace AND relkind IN ('r', 'v')"
    )
    found = server.sql(query, roles.owner.url)
    tables = [name for name, kind in found if kind == "r"]
    assert {"record", "span", "run", "seat_grant", "schema_version"} <= set(tables)
    changes = [
        statement.format(table)
        for table in tables
        for statement in ("DELETE FROM livepatch.{}", "INSERT INTO livepatch.{} DEFAULT VALUES")
    ]
    design = [f"ALTER TABLE livepatch.{table} ADD COLUMN added integer" for table in tables]
    design += [f"DROP TABLE livepatch.{table} CASCADE" for table in tables]
    design += [f"TRUNCATE livepatch.{table} CASCADE" for table in tables]
    design += ["CREATE TABLE livepatch.other (a integer)", "DROP VIEW livepatch.host", "DROP SCHEMA livepatch CASCADE"]
    for role, statements in ((roles.reader, changes + design), (roles.writer, design)):
        with psycopg.connect(role.url, autocommit=True) as connection:
            for statement in statements:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement.encode())
    assert server.sql("SELECT host FROM livepatch.record", roles.reader.url) == [("web1",)]
    assert server.sql(query, roles.owner.url) == found
