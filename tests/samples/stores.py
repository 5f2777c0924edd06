# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Fixtures of stores: a folder, and a database of a real PostgreSQL server."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql import schema
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import (
    DatabaseAddress,
    StorePlace,
)
from tests.samples.postgresql import NOT_INSTALLED, PostgresServer

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "store.md"


@dataclasses.dataclass(frozen=True)
class DatabaseRoles:
    """A database with a schema, as the roles of the guide use it."""

    owner: DatabaseAddress
    writer: DatabaseAddress
    reader: DatabaseAddress


@pytest.fixture(scope="session")
def server() -> t.Iterator[PostgresServer]:
    """A server for all tests of this process."""
    if NOT_INSTALLED is not None:
        pytest.skip(NOT_INSTALLED)
    with PostgresServer.run() as started:
        yield started


@pytest.fixture
def spool_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all spools."""
    folder = tmp_path / "spool"
    monkeypatch.setenv("LIVEPATCH_SPOOL_DIR", str(folder))
    return folder


@pytest.fixture
def database(server: PostgresServer, spool_folder: Path) -> DatabaseAddress:
    """An empty database."""
    return DatabaseAddress(server.empty_database())


@pytest.fixture
def roles(server: PostgresServer, database: DatabaseAddress) -> t.Iterator[DatabaseRoles]:
    """A database with the schema, and the roles that the guide creates."""
    [statements] = re.findall(r"```sql\n(CREATE ROLE.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    schema.migrate(database)
    server.sql(statements, database.url)
    name = database.url.partition("@/")[2].partition("?")[0]
    writer, reader = (DatabaseAddress(server.address(name, role)) for role in ("livepatch_writer", "livepatch_reader"))
    yield DatabaseRoles(database, writer, reader)
    server.sql("DROP OWNED BY livepatch_writer, livepatch_reader", database.url)
    server.sql("DROP ROLE livepatch_writer, livepatch_reader")


@pytest.fixture(params=["folder", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> StorePlace:
    """An empty store of each kind."""
    if request.param == "folder":
        return tmp_path / "records"
    return t.cast("DatabaseAddress", request.getfixturevalue("database"))
