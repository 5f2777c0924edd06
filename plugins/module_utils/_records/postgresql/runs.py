# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Runs that stored records: who, when, on which hosts."""

from __future__ import annotations

import dataclasses
import datetime

from .connection import Database


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """A run of Ansible. `by` is its user and controller, `limit` the value of ``--limit``."""

    id: str
    started_at: datetime.datetime
    by: str
    limit: str | None = None


def add_run(database: Database, run: Run | None) -> None:
    """Store a run, once."""
    if run is not None:
        database.execute(
            "INSERT INTO livepatch.run (id, started_at, run_by, host_limit) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT (id) DO NOTHING",
            (run.id, run.started_at, run.by, run.limit),
        )


def forget_runs(database: Database, before: datetime.datetime) -> int:
    """Remove the runs that started before a time. Return their number."""
    return int(database.execute("DELETE FROM livepatch.run WHERE started_at < %s", (before,)).rowcount)
