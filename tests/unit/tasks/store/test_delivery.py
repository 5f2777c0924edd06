# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Records that wait are sent before a report or a plan, with a warning."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.address import DatabaseAddress
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.postgresql.store import PostgresStore
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.commands import Task
from ansible_collections.kernelops.livepatch.plugins.module_utils._tasks.store.delivery import send_waiting
from tests.samples.records import make_record
from tests.samples.replay import Replay


def send(*places: t.Any) -> tuple[int, list[str]]:
    def task() -> Task[dict[str, t.Any]]:
        return {"waiting": (yield from send_waiting(places))}

    replay = Replay(lambda _command: pytest.fail("no host is contacted"))
    return replay.run(task())["waiting"], replay.warnings


def test_what_is_sent_is_counted(database: DatabaseAddress) -> None:
    for name in ("web1", "web2"):
        PostgresStore(database).spool.keep_record(make_record(name))
    waiting, [warning] = send(Path("records"), database)
    assert waiting == 0
    assert warning.startswith("Records that waited in ")
    assert warning.endswith(" now: 2.")
    assert send(database) == (0, [])


def test_what_waits_is_counted_with_the_reason(tmp_path: Path, spool_folder: Path) -> None:
    down = DatabaseAddress(f"postgresql://anna@/livepatch?host={tmp_path}")
    PostgresStore(down).put(make_record("web1"))
    waiting, [warning] = send(down)
    assert waiting == 1
    assert "for the next run: 1. The store " in warning
    assert "cannot be reached" in warning
