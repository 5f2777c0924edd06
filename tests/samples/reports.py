# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Reports for tests, made from records, and hostile texts of hosts."""

from __future__ import annotations

import dataclasses
import datetime

from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.rules import Finding, Rule
from ansible_collections.kernelops.livepatch.plugins.module_utils._fleet.waivers import Waiver, Waivers
from ansible_collections.kernelops.livepatch.plugins.module_utils._record import STATES, Reason, Record, State
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.document import (
    Document,
    FailedAttempt,
    Problem,
    Recorded,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spans import Kind, Span
from ansible_collections.kernelops.livepatch.plugins.module_utils._records.spool import Spool, split_document
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.history import (
    History,
    NoticeCoverage,
    PublishedNotice,
    build_history,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._report.report import Report, assemble
from tests.samples.records import make_record

GENERATED_AT = "2026-01-12T00:00:00Z"

HOSTILE = (
    "\x1b[2J\x1b]0;title\x07",
    "line one\nline two\r\n\x0b\u2028\u2029",
    "\u202egnp.exe\u2066\u200b\ufeff",
    "\x00\x7f\x9b31m",
    "\ud800",
    "{{ lookup('pipe', 'id') }}{% raw %}",
    "<script>alert(1)</script><!-- &amp; -->",
    "a | b |\n| c | d |",
    "`code` **bold** _em_ ~~gone~~ [link](javascript:alert(1)) ![image](https://evil.example/x)",
    "https://evil.example www.evil.example me@evil.example @everyone #1",
    "\\| \\` \\",
    '"},{"state": "protected"}',
    "漢字かな" * 30,
    "x" * 10_000,
)


def recorded(record: Record) -> Recorded:
    """Return a record as a folder store returns it."""
    return Recorded(record, split_document(record))


def text_of(found: Recorded) -> str:
    """Return the text of a record as reports have it."""
    spool = Spool()
    writer = spool.writer()
    place = writer.append(found.text)
    writer.flush()
    return spool.document(place)


def a_report(*documents: Document, hosts: list[str] | None = None) -> Report:
    """Return the report of documents."""
    return assemble(documents, hosts, GENERATED_AT, Spool())


RULES = (
    Rule("not_protected", "error", "host", "x", "the host is not protected", "look at it"),
    Rule("upgrade_soon", "warning", "host", "x", "{days_until_upgrade} days are left", None),
    Rule("cloned", "info", "fleet", "x", "the host is a clone", "give it an identity"),
    Rule("seats_exceeded", "error", "fleet", "x", "there are more hosts than seats", None),
)


def a_judged_report(findings: list[tuple[str | None, Finding]], *documents: Document) -> Report:
    """Return the report of documents with `RULES` and these findings about hosts or the fleet."""
    return dataclasses.replace(a_report(*documents), rules=RULES).with_findings(findings)


def a_waived_report(text: str = "rebuilt every night") -> Report:
    """Return a report with three failures of a rule, one of which is waived, and a waived finding of the fleet.

    The text is the reason of the waivers. One of them has expired, and one expires in a week.
    """
    today = datetime.date(2026, 1, 12)
    entries = [
        Waiver(text, "build team", datetime.date(2026, 3, 1), rule="not_protected", group="build"),
        Waiver("more seats are ordered", "purchasing", datetime.date(2026, 1, 19), rule="seats_exceeded"),
        Waiver("was tested", "web team", datetime.date(2026, 1, 11), host="web2"),
    ]
    report = a_judged_report(
        [
            ("build1", ("not_protected", "it is disabled")),
            ("build3", ("not_protected", "it is unreachable")),
            ("web2", ("not_protected", "it is disabled")),
            (None, ("seats_exceeded", "4 of 3 seats")),
        ],
        recorded(make_record("web1")),
        recorded(make_record("web2", "disabled")),
        recorded(make_record("build1", "disabled")),
        FailedAttempt("build3", "2026-01-11T00:00:00Z", []),
    )
    return report.with_waivers(Waivers(entries, today, {"build": ["build1", "build3"]}))


def grouped(record: Record, groups: dict[str, str]) -> Record:
    """Return a record with groups, as with the option `group_by`."""
    return {**record, "system": {**record["system"], "groups": groups}}


def a_grouped_report() -> Report:
    """Return a report by group of the inventory and by region. One host has no group, one no region and no answer."""
    groups: dict[str, tuple[State, dict[str, str]]] = {
        "web1": ("protected", {"group": "production", "region": "eu"}),
        "web2": ("protected", {"group": "production", "region": "eu"}),
        "web3": ("disabled", {"group": "production", "region": "us"}),
        "build1": ("ineligible", {"group": "staging"}),
        "other": ("protected", {}),
    }
    at = "2026-01-11T22:00:00Z"
    documents = [
        recorded(grouped(make_record(host, state, collected_at=at), own)) for host, (state, own) in groups.items()
    ]
    gone = FailedAttempt("db1", "2026-01-11T00:00:00Z", [], groups={"group": "staging", "region": "us"})
    return dataclasses.replace(a_report(*documents, gone), group_keys=("group", "region"))


def a_report_with_every_state() -> Report:
    """Return a report with hosts in every state, findings of rules, and a problem."""
    records = [make_record(f"{state}-{number}", state) for state in STATES[1:] for number in (2, 10)]
    records.append(
        make_record(
            "web1",
            "upgrade_required",
            system__kernel__full="4.15.0-30.32~16.04.1-generic",
            patch__version=None,
            patch__upgrade_required_by="2026-01-02",
            patch__fixes=[{"cve": "CVE-2025-0001", "patched": False}, {"cve": "CVE-2019-14895", "patched": True}],
        )
    )
    reasons: list[Reason] = [{"id": "x", "message": "connection refused", "remedy": "start sshd"}]
    return a_judged_report(
        [("web1", ("not_protected", "it is not")), (None, ("seats_exceeded", "30 of 20 seats"))],
        *map(recorded, records),
        FailedAttempt("protected-2", "2026-01-11T00:00:00Z", reasons),
        Problem("invalid_json", "/srv/records/web9.json", "this file is cut off", "web9"),
    )


def hostile_record(text: str) -> Record:
    """Return a record with the text in its name and in every value that a host controls."""
    return make_record(
        f"evil{text}",
        "failed",
        system__kernel__full=text,
        system__kernel__release=text,
        client__version=text,
        patch__version=text,
        patch__support=text,
        patch__upgrade_required_by=text,
        client__last_check=text,
        assessment__reasons=[{"id": "apply_failed", "message": text, "remedy": text}],
    )


def a_history(days: int = 40) -> History:
    """Return the history of two hosts: the second one was closed two days late, and is open now."""
    begin, length = 20_454, 24 * 3600 * 1_000_000  # 2026-01-01

    def at(day: float) -> int:
        return int((begin + day) * length)

    well, open_ = Kind("protected", patch="1.1"), Kind("stale", patch=None)
    spans = [
        ("web1", [Span(at(0), at(days), well)]),
        ("web2", [Span(at(0), at(11.5), open_), Span(at(12), at(days), well)]),
    ]
    notices = [
        PublishedNotice("LSN-1", at(10), ("CVE-2026-1001",)),
        PublishedNotice("LSN-2", at(20), ("CVE-2026-2001", "CVE-2026-2002")),
    ]
    concerned = frozenset({"LSN-1", "LSN-2"})
    standings = {well: NoticeCoverage(concerned, frozenset({"LSN-1"})), open_: NoticeCoverage(concerned, frozenset())}
    return build_history(spans, at(days), notices, standings.__getitem__)
