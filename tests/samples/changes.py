# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Pairs of reports for tests: an earlier one and a later one."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spool import Spool
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.changes.comparison import compare
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.changes.model import Changes
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.changes.snapshot import snapshot_of
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import Report, assemble
from tests.samples.records import make_record
from tests.samples.reports import recorded

EARLIER, LATER = "2026-01-11T06:00:00Z", "2026-01-12T06:00:00Z"


def fresh(host: str, state: t.Any = "protected", at: str = LATER, **values: t.Any) -> t.Any:
    """Return a record that was collected at the time of a report."""
    return recorded(make_record(host, state, collected_at=at, **values))


def reported(*documents: t.Any, at: str = LATER, hosts: list[str] | None = None) -> Report:
    """Return the report of documents at a time."""
    return assemble(documents, hosts, at, Spool())


def compared(before: Report, now: Report) -> Changes:
    """Return what changed between two reports."""
    return compare(snapshot_of(before), snapshot_of(now), now)


def a_changed_report() -> Report:
    """Return a report since whose predecessor one host failed, one was fixed, one is new, and one is gone."""
    before = reported(fresh("web1", at=EARLIER), fresh("web2", "failed", EARLIER), fresh("old", at=EARLIER), at=EARLIER)
    now = reported(
        fresh("web1", "failed"),
        fresh("web2", patch__version="66.1"),
        fresh("new", "disabled", assessment__reasons=[_ENABLE]),
    )
    return dataclasses.replace(now, changes=compared(before, now))


_ENABLE = {
    "id": "not_enabled",
    "message": "The client is not enabled.",
    "remedy": "enable the client: ansible-playbook kernelops.livepatch.enable --limit new -e livepatch_policy=current; "
    "pass livepatch_token by Ansible Vault or an environment variable",
}
