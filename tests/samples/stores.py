# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Fixtures of stores: a folder, and a database of a real PostgreSQL server."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import (
    DatabaseAddress,
    StorePlace,
)
from tests.samples.postgresql import NOT_INSTALLED, PostgresServer


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


@pytest.fixture(params=["folder", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> StorePlace:
    """An empty store of each kind."""
    if request.param == "folder":
        return tmp_path / "records"
    return t.cast("DatabaseAddress", request.getfixturevalue("database"))
