# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The credential of a store in AWX: a real server with nothing but the environment of a job."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql import records
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import DatabaseAddress
from tests.samples.awx import inject, objects, the_play
from tests.samples.records import make_record
from tests.samples.stores import DatabaseRoles


@pytest.mark.parametrize("sslmode", ["", "verify-full", "require", "disable"])
def test_a_job_uses_the_store_of_its_credential(
    roles: DatabaseRoles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sslmode: str
) -> None:
    [kind] = [each for _module, each in objects() if each["name"] == "Livepatch store in PostgreSQL"]
    database, _query, folder = roles.writer.url.partition("@/")[2].partition("?host=")
    inputs = {"host": folder, "database": database, "user": "livepatch_writer", "password": "any", "sslmode": sslmode}
    environment, _variables = inject(kind, inputs, tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    address = DatabaseAddress(the_play()["vars"]["awx_store"])
    assert records.put(address, [make_record("web1")], [], None) == (1, 0)
    assert [found.key for found in records.find(roles.reader)] == ["web1"]
